// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace gantry::harness {

/// Says on standard output that the case needs what is not there, so that it counts neither as
/// passed nor, where tests/may_not_run.txt lists it, as failed. The case then returns.
void say_not_run(const std::string& reason);

}  // namespace gantry::harness

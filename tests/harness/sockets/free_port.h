// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>

namespace gantry::harness {

/// A port that nobody has at the moment, below those that the system gives to connections. This
/// process keeps it until it ends, also while the port's daemon is down: no other test of this
/// network namespace is given it.
Result<std::uint16_t> free_port();

}  // namespace gantry::harness

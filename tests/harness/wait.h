// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>

namespace gantry::harness {

/// Asks `predicate` again and again until it is true; false when `limit` passed first. For
/// conditions of other processes, which nothing can signal.
bool wait_until(std::chrono::milliseconds limit, const std::function<bool()>& predicate);

}  // namespace gantry::harness

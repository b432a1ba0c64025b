// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace gantry::internal {

/// Prints the broken condition and its place to standard error, then aborts.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line) noexcept;

}  // namespace gantry::internal

/// Stops the process when `condition` is false, in every build. For our own bugs only: bytes from
/// disk, network or a configuration are never asserted, they are errors.
#define GANTRY_ASSERT(condition)                                                  \
    do {                                                                          \
        if (!(condition)) [[unlikely]] {                                          \
            ::gantry::internal::assertion_failed(#condition, __FILE__, __LINE__); \
        }                                                                         \
    } while (false)

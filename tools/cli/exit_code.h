// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

namespace gantry::cli {

/// Exit code of a command line that is not understood.
inline constexpr int kExitUsage = 2;

/// Exit code of a command that failed: 3 not found, 4 unreachable, timed out or unknown, 5 denied,
/// 6 conflict, 1 all others.
constexpr int exit_code(Errc code) noexcept {
    switch (code) {
        case Errc::kNotFound:
            return 3;
        case Errc::kGone:
        case Errc::kTimeout:
        case Errc::kUnknown:
            return 4;
        case Errc::kDenied:
            return 5;
        case Errc::kConflict:
            return 6;
        default:
            return 1;
    }
}

}  // namespace gantry::cli

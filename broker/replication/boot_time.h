// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"

#include <ctime>

namespace gantry::broker {

/// Now by CLOCK_BOOTTIME, which goes on while the machine sleeps and which nobody sets: the clock of
/// leases. Not to be mixed with times of Clock::steady().
inline SteadyTime boot_now() noexcept {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return SteadyTime(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

}  // namespace gantry::broker

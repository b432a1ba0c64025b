// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"

#include <chrono>
#include <ctime>

namespace gantry::broker {

/// A clock whose steady() also counts the time that the machine was suspended: a lease goes on
/// running out meanwhile. Its times do not mix with those of SystemClock. Threads: any.
class BootClock final : public Clock {
public:
    WallMs wall_ms() const noexcept override { return SystemClock().wall_ms(); }

    SteadyTime steady() const noexcept override {
        timespec now{};
        ::clock_gettime(CLOCK_BOOTTIME, &now);
        return SteadyTime(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
    }
};

}  // namespace gantry::broker

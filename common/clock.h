// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

namespace gantry {

/// Milliseconds since 1970-01-01 UTC, as stored in messages. Steps with the system clock.
using WallMs = std::int64_t;

/// A point of the clock that never steps; for deadlines and durations.
using SteadyTime = std::chrono::steady_clock::time_point;

/// Where time comes from, so that tests can turn it. Threads: any.
class Clock {
public:
    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    virtual ~Clock() = default;
    virtual WallMs wall_ms() const noexcept = 0;
    virtual SteadyTime steady() const noexcept = 0;
};

/// The operating system's clocks.
class SystemClock final : public Clock {
public:
    WallMs wall_ms() const noexcept override {
        return std::chrono::duration_cast<std::chrono::milliseconds>(
                   std::chrono::system_clock::now().time_since_epoch())
            .count();
    }

    SteadyTime steady() const noexcept override { return std::chrono::steady_clock::now(); }
};

}  // namespace gantry

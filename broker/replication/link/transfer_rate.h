// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"

#include <chrono>
#include <cstdint>

namespace gantry::broker {

/// How fast log bytes go over a link, for people to look at: those of the last second that is over,
/// or of as long as look() was not called.
///
/// Threads   one.
class TransferRate {
public:
    explicit TransferRate(SteadyTime now) noexcept : since_(now) {}

    void add(std::uint64_t bytes) noexcept { bytes_ += bytes; }

    /// To be called about twice a second.
    void look(SteadyTime now) noexcept {
        const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(now - since_);
        if (passed < std::chrono::seconds(1)) {
            return;
        }
        per_second_ =
            static_cast<std::int64_t>(bytes_ * 1'000 / static_cast<std::uint64_t>(passed.count()));
        bytes_ = 0;
        since_ = now;
    }

    std::int64_t per_second() const noexcept { return per_second_; }

private:
    SteadyTime since_;
    std::uint64_t bytes_ = 0;
    std::int64_t per_second_ = 0;
};

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace gantry::sync {

/// How much may be under way to a broker: what fills the line to it, and not so much that it lies
/// in buffers until its time is over. Answers tell: as long as they come hardly later than the
/// fastest did the line is not full, and the window doubles in a round trip; then it grows slowly,
/// for the line may have become longer; when they come late it shrinks by a quarter, once for each
/// such time. So about three quarters of a second's worth waits in front of the line, however fast
/// and long that is.
///
///   size  least .. 256 KiB (first) .. most, or bandwidth x (round trip + 0.5 to 1 s)
///
/// Threads   one.
class FlightWindow {
public:
    using Duration = std::chrono::steady_clock::duration;

    /// `most` bytes; answers that take a quarter of `timeout` are late, unless none is faster.
    FlightWindow(std::int64_t most, Duration timeout) : most_(most), late_(timeout / 4) {}

    std::int64_t size() const noexcept { return size_; }

    /// Whether another frame may follow so many bytes that are under way.
    bool has_room(std::int64_t flying) const noexcept { return flying < size_; }

    /// Of a frame at most: several fill the window.
    std::int64_t frame_bytes() const noexcept { return std::max(kFrameLeast, size_ / 8); }

    /// A frame of `bytes` was answered `took` after it was sent.
    void answered(SteadyTime now, Duration took, std::int64_t bytes) noexcept {
        fastest_ = fastest_ == Duration::zero() ? took : std::min(fastest_, took);
        if (took >= std::max(std::min(fastest_ + kQueueMost, late_), fastest_ + kQueueLeast)) {
            shrink(now, took);
        } else {
            const bool is_full = took >= fastest_ + kQueueLeast;
            size_ = std::min(most_, size_ + (is_full ? bytes / 8 : bytes));
        }
    }

    /// A frame was not answered.
    void failed() noexcept { size_ = std::max(kLeast, size_ / 2); }

private:
    static constexpr std::int64_t kLeast = std::int64_t{64} << 10U;
    static constexpr std::int64_t kFirst = std::int64_t{256} << 10U;
    static constexpr std::int64_t kFrameLeast = std::int64_t{16} << 10U;
    static constexpr std::chrono::milliseconds kQueueLeast{500};
    static constexpr std::chrono::milliseconds kQueueMost{1'000};

    void shrink(SteadyTime now, Duration took) noexcept {
        if (now - shrunk_at_ < took) {
            return;  // it was sent before the window shrank
        }
        shrunk_at_ = now;
        if (size_ == kLeast) {  // the line itself has become slower, not what waits for it
            fastest_ = took;
        }
        size_ = std::max(kLeast, size_ - size_ / 4);
    }

    const std::int64_t most_;
    const Duration late_;
    std::int64_t size_ = kFirst;
    Duration fastest_{};
    SteadyTime shrunk_at_{};
};

}  // namespace gantry::sync

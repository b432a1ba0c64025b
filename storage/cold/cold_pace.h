// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"

#include <chrono>
#include <cstdint>

namespace gantry::storage {

/// Bytes that may flow now, refilled at a rate. What is taken may exceed what is there: the bucket
/// is then in debt and closed until the debt is paid, so that one large piece never waits forever.
///
/// Units     bytes per second. Threads: one at a time.
class TokenBucket {
public:
    /// 0: always open. Debt stays.
    void set_rate(std::uint64_t bytes_per_second) noexcept { rate_ = bytes_per_second; }

    std::uint64_t rate() const noexcept { return rate_; }

    /// Whether something may be taken.
    bool is_open(SteadyTime now) noexcept;
    /// Takes what flowed, open or not.
    void take(std::uint64_t bytes, SteadyTime now) noexcept;
    /// When it opens, if nothing more is taken; not after `now` when it is open.
    SteadyTime opens_at(SteadyTime now) noexcept;

private:
    void refill(SteadyTime now) noexcept;

    std::uint64_t rate_ = 0;
    double level_ = 0;
    SteadyTime filled_at_{};
};

/// How fast cold reads may go in total, from the disk and to the readers: a fixed rate, or one
/// found by watching what they cost. Every kWindow the rate drops to a part of what was achieved
/// when loops answered late, had to wait much for a processor, or syncs took much longer than they
/// do without cold reads; otherwise it grows.
///
///   rate   |\      |\          late: rate = 0.7 x achieved
///          |  \  / |  \  /     else: rate = 1.1 x rate + 8 MiB/s
///          |    \/ |    \/
///
/// Units     bytes per second. Threads: one at a time.
class ColdPace {
public:
    static constexpr std::chrono::milliseconds kWindow{100};
    /// A loop that gets to its work later than that is late.
    static constexpr std::chrono::microseconds kLagMax{5'000};
    /// A loop may wait for a processor one part in so many of the time.
    static constexpr int kWaitShare = 8;
    /// Syncs may take that many times as long as without cold reads.
    static constexpr double kFlushFactor = 2;
    /// Slower cold reads take so little of a processor that others are to blame when it is short.
    static constexpr std::uint64_t kCrowdedRateMin = std::uint64_t{384} << 20U;
    static constexpr std::uint64_t kRateMin = std::uint64_t{32} << 20U;
    static constexpr std::uint64_t kRateMax = std::uint64_t{16} << 30U;

    /// 0: automatic.
    ColdPace(std::uint64_t bytes_per_second, SteadyTime now) noexcept;

    /// Whether another cold read may begin.
    bool may_go(SteadyTime now) noexcept;
    /// When one may, if none does before.
    SteadyTime goes_at(SteadyTime now) noexcept;
    /// Bytes that were read from the disk.
    void was_read(std::uint64_t bytes, SteadyTime now) noexcept;
    /// Bytes that were given to a reader.
    void was_given(std::uint64_t bytes, SteadyTime now) noexcept;
    /// How long a loop took to get to a reply that was ready for it.
    void answered_after(std::chrono::nanoseconds lag) noexcept;
    /// How long a loop that was ready waited for a processor within `elapsed`.
    void waited(std::chrono::nanoseconds waited, std::chrono::nanoseconds elapsed) noexcept;
    /// Syncs that somebody waits for, so far, and the time they took, both ever growing.
    void flushed(std::uint64_t count, std::chrono::microseconds took) noexcept;

    std::uint64_t rate() const noexcept { return read_.rate(); }

private:
    void set_rate(std::uint64_t rate) noexcept;
    void close_window(SteadyTime now) noexcept;
    bool is_late() noexcept;
    bool is_crowded() noexcept;
    bool is_flush_slow() noexcept;

    const bool is_automatic_;
    TokenBucket read_, given_;  ///< of the same rate: shared chunks are read once, given often
    SteadyTime window_begin_;
    std::uint64_t bytes_read_ = 0, bytes_given_ = 0;  ///< in the window
    std::uint32_t answers_ = 0;
    std::uint32_t late_answers_ = 0;
    std::chrono::nanoseconds waited_{0}, watched_{0};  ///< in the window, all loops
    std::uint64_t flushes_ = 0, flushes_seen_ = 0;
    std::chrono::microseconds flush_time_{0}, flush_time_seen_{0};
    double usual_flush_us_ = 0;  ///< without cold reads; 0: not known yet
};

}  // namespace gantry::storage

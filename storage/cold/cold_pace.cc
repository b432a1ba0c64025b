// SPDX-License-Identifier: Apache-2.0
#include "storage/cold/cold_pace.h"

#include <algorithm>

namespace gantry::storage {
namespace {

/// A bucket holds what flows in that long.
constexpr double kBurstSeconds = 0.02;

/// Answers of a window that may be late: one in so many.
constexpr std::uint32_t kLateShare = 10;

/// Cold bytes of a window below which its syncs count as undisturbed.
constexpr std::uint64_t kIdleBytes = std::uint64_t{1} << 20U;

double seconds(SteadyTime::duration duration) noexcept {
    return std::chrono::duration<double>(duration).count();
}

}  // namespace

void TokenBucket::refill(SteadyTime now) noexcept {
    if (now > filled_at_) {
        const double rate = static_cast<double>(rate_);
        const double elapsed = filled_at_ == SteadyTime{} ? 0 : seconds(now - filled_at_);
        level_ = std::min(level_ + rate * elapsed, rate * kBurstSeconds);
        filled_at_ = now;
    }
}

bool TokenBucket::is_open(SteadyTime now) noexcept {
    refill(now);
    return rate_ == 0 || level_ >= 0;
}

void TokenBucket::take(std::uint64_t bytes, SteadyTime now) noexcept {
    refill(now);
    if (rate_ != 0) {
        level_ -= static_cast<double>(bytes);
    }
}

SteadyTime TokenBucket::opens_at(SteadyTime now) noexcept {
    if (is_open(now)) {
        return now;
    }
    const std::chrono::duration<double> wait(-level_ / static_cast<double>(rate_));
    // A microsecond more, so that rounding does not wake up too early.
    return now + std::chrono::duration_cast<SteadyTime::duration>(wait) +
           std::chrono::microseconds(1);
}

ColdPace::ColdPace(std::uint64_t bytes_per_second, SteadyTime now) noexcept
    : is_automatic_(bytes_per_second == 0), window_begin_(now) {
    set_rate(is_automatic_ ? kRateMax : bytes_per_second);
}

void ColdPace::set_rate(std::uint64_t rate) noexcept {
    read_.set_rate(rate);
    given_.set_rate(rate);
}

bool ColdPace::may_go(SteadyTime now) noexcept {
    close_window(now);
    return read_.is_open(now) && given_.is_open(now);
}

SteadyTime ColdPace::goes_at(SteadyTime now) noexcept {
    return std::max(read_.opens_at(now), given_.opens_at(now));
}

void ColdPace::was_read(std::uint64_t bytes, SteadyTime now) noexcept {
    bytes_read_ += bytes;
    read_.take(bytes, now);
}

void ColdPace::was_given(std::uint64_t bytes, SteadyTime now) noexcept {
    bytes_given_ += bytes;
    given_.take(bytes, now);
}

void ColdPace::answered_after(std::chrono::nanoseconds lag) noexcept {
    ++answers_;
    late_answers_ += lag > kLagMax ? 1 : 0;
}

void ColdPace::waited(std::chrono::nanoseconds waited, std::chrono::nanoseconds elapsed) noexcept {
    waited_ += waited;
    watched_ += elapsed;
}

void ColdPace::flushed(std::uint64_t count, std::chrono::microseconds took) noexcept {
    flushes_ = count;
    flush_time_ = took;
}

void ColdPace::close_window(SteadyTime now) noexcept {
    const SteadyTime::duration length = now - window_begin_;
    if (!is_automatic_ || length < kWindow) {
        return;
    }
    const auto bytes = static_cast<double>(std::max(bytes_read_, bytes_given_));
    const double achieved = bytes / seconds(length);
    const auto rate = static_cast<double>(read_.rate());
    // All are asked: each keeps its own account.
    const bool is_answer_late = is_late();
    const bool is_processor_short = is_crowded();
    const bool is_sync_late = is_flush_slow();
    double next = rate * 1.1 + static_cast<double>(std::uint64_t{8} << 20U);
    if (is_answer_late || is_sync_late) {
        next = std::min(rate, achieved) * 0.7;
    } else if (is_processor_short) {
        const auto least = static_cast<double>(kCrowdedRateMin);
        next =
            rate > least ? std::max(std::min(rate, achieved) * 0.7, least) : std::min(next, least);
    }
    set_rate(static_cast<std::uint64_t>(
        std::clamp(next, static_cast<double>(kRateMin), static_cast<double>(kRateMax))));
    window_begin_ = now;
    bytes_read_ = bytes_given_ = 0;
}

bool ColdPace::is_late() noexcept {
    const bool is_late = late_answers_ > 1 && late_answers_ * kLateShare > answers_;
    answers_ = late_answers_ = 0;
    return is_late;
}

bool ColdPace::is_crowded() noexcept {
    const bool is_crowded = waited_ * kWaitShare > watched_;
    waited_ = watched_ = std::chrono::nanoseconds(0);
    return is_crowded;
}

bool ColdPace::is_flush_slow() noexcept {
    const std::uint64_t count = flushes_ - flushes_seen_;
    const std::chrono::microseconds took = flush_time_ - flush_time_seen_;
    flushes_seen_ = flushes_;
    flush_time_seen_ = flush_time_;
    if (count == 0) {
        return false;
    }
    const double each = static_cast<double>(took.count()) / static_cast<double>(count);
    if (bytes_read_ + bytes_given_ <= kIdleBytes) {
        usual_flush_us_ = usual_flush_us_ == 0 ? each : usual_flush_us_ * 0.9 + each * 0.1;
        return false;
    }
    return usual_flush_us_ > 0 && each > usual_flush_us_ * kFlushFactor;
}

}  // namespace gantry::storage

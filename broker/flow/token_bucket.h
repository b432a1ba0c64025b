// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace gantry::broker {

/// Tokens that come at a steady rate. Something may pass whenever there is any token, and takes as
/// many as it costs: the bucket may fall below nothing and is closed then until it is paid for. So
/// pieces of any size pass, and over time no more than the rate does.
///
///   level   kBurst's worth |--------.               tokens left unused for longer are lost
///                        0 |---------\----/\-----   open above, closed below
///                          |          \__/          a piece larger than the level
///
/// Units     times in ns of a clock that never steps, rates per second.
/// Threads   any; two atomics, no lock. Threads that look at once may all pass: what they take is
///           paid for all the same.
class TokenBucket {
public:
    static constexpr std::int64_t kSecondNs = 1'000'000'000;
    static constexpr std::int64_t kBurstNs = kSecondNs / 10;
    static constexpr std::int64_t kPromiseMaxNs = kSecondNs;

    /// 0: no limit. A new rate opens the bucket.
    void set_rate(std::int64_t per_second) noexcept {
        rate_.store(per_second, std::memory_order_relaxed);
        open_ns_.store(0, std::memory_order_relaxed);
        promised_ns_.store(0, std::memory_order_relaxed);
    }

    std::int64_t rate() const noexcept { return rate_.load(std::memory_order_relaxed); }

    /// How long until something may pass; 0: now.
    std::int64_t wait_ns(std::int64_t now_ns) const noexcept {
        if (rate() == 0) {
            return 0;
        }
        return std::max<std::int64_t>(open_ns_.load(std::memory_order_relaxed) - now_ns, 0);
    }

    /// Takes what has passed.
    void take(std::int64_t count, std::int64_t now_ns) noexcept {
        const std::int64_t rate = this->rate();
        if (rate == 0) {
            return;
        }
        const std::int64_t cost = cost_ns(count, rate);
        std::int64_t before = open_ns_.load(std::memory_order_relaxed);
        while (!open_ns_.compare_exchange_weak(
            before, std::max(before, now_ns - kBurstNs) + cost, std::memory_order_relaxed)) {
        }
    }

    /// When whoever was refused is to come again: each one later than the one before it by what
    /// that costs, so that they do not all come at once; at most kPromiseMaxNs behind the opening.
    std::int64_t promise_ns(std::int64_t count, std::int64_t now_ns) noexcept {
        const std::int64_t rate = this->rate();
        const std::int64_t open = open_ns_.load(std::memory_order_relaxed);
        if (rate == 0 || open <= now_ns) {
            return 0;
        }
        const std::int64_t cost = cost_ns(count, rate);
        std::int64_t before = promised_ns_.load(std::memory_order_relaxed);
        std::int64_t at = open;
        do {
            at = std::clamp(before, open, open + kPromiseMaxNs);
        } while (!promised_ns_.compare_exchange_weak(before, at + cost, std::memory_order_relaxed));
        return at - now_ns;
    }

private:
    /// At most a day: no debt lasts for ever.
    static std::int64_t cost_ns(std::int64_t count, std::int64_t rate) noexcept {
        constexpr double kCostMax = 86'400.0 * static_cast<double>(kSecondNs);
        return static_cast<std::int64_t>(std::min(
            static_cast<double>(count) * static_cast<double>(kSecondNs) / static_cast<double>(rate),
            kCostMax));
    }

    std::atomic<std::int64_t> rate_{0};
    std::atomic<std::int64_t> open_ns_{0};      ///< the bucket is open from then on
    std::atomic<std::int64_t> promised_ns_{0};  ///< to whoever is refused next
};

}  // namespace gantry::broker

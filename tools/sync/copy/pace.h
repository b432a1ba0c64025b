// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/mutex.h"
#include "common/random.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace gantry::sync {

/// Lets so much pass in a second, a second's worth at once. What is larger passes when nothing is
/// owed, and is paid for afterwards.
///
/// Threads   any.
class TokenBucket {
public:
    /// `per_second` 0: no limit.
    explicit TokenBucket(std::int64_t per_second) : per_second_(per_second) {}

    /// Whether anything may pass now.
    bool has_any(SteadyTime now) {
        const MutexLock lock(mutex_);
        refill_locked(now);
        return per_second_ == 0 || tokens_ > 0;
    }

    /// After has_any: so much has passed.
    void take(std::int64_t amount) {
        const MutexLock lock(mutex_);
        tokens_ -= per_second_ == 0 ? 0 : static_cast<double>(amount);
    }

private:
    void refill_locked(SteadyTime now) GANTRY_REQUIRES(mutex_) {
        if (last_ == SteadyTime{}) {
            last_ = now;
            tokens_ = static_cast<double>(per_second_);
        }
        const std::chrono::duration<double> past = now - last_;
        const auto most = static_cast<double>(per_second_);
        tokens_ = std::min(most, tokens_ + past.count() * most);
        last_ = now;
    }

    const std::int64_t per_second_;
    Mutex mutex_;
    double tokens_ GANTRY_GUARDED_BY(mutex_) = 0;
    SteadyTime last_ GANTRY_GUARDED_BY(mutex_);
};

/// How long to wait after failures that follow each other: doubling, up to a limit, of which a
/// random half is left out so that many do not come back at once.
class Backoff {
public:
    Backoff(std::chrono::milliseconds first, std::chrono::milliseconds most)
        : first_(first), most_(most) {}

    void succeeded() noexcept { failures_ = 0; }

    /// When to try again.
    SteadyTime failed(SteadyTime now, Random& random) {
        constexpr std::uint32_t kDoublingsMax = 20;
        const auto wait = std::min(most_, first_ * (1 << std::min(failures_, kDoublingsMax)));
        ++failures_;
        const auto half = static_cast<std::uint64_t>(wait.count()) / 2;
        return now + std::chrono::milliseconds(half + random.below(half + 1));
    }

    std::uint32_t failures() const noexcept { return failures_; }

private:
    std::chrono::milliseconds first_;
    std::chrono::milliseconds most_;
    std::uint32_t failures_ = 0;
};

/// Whether to ask a broker anything: not for a while after it failed, then one question tries
/// whether it is back, and only its success lets the others through.
///
///   closed --failed--> open --pause over--> half open --asked once--> closed or open again
///
/// Threads   one.
class Circuit {
public:
    /// Whether to ask the broker now.
    bool allows(SteadyTime now) const noexcept {
        return backoff_.failures() == 0 || now >= open_until_;
    }

    /// It is asked: nobody else does until it is told what came of it.
    void asked(SteadyTime now) noexcept { open_until_ = now + kProbeMax; }

    void succeeded() noexcept { backoff_.succeeded(); }

    void failed(SteadyTime now, Random& random) { open_until_ = backoff_.failed(now, random); }

    bool is_open() const noexcept { return backoff_.failures() > 0; }

private:
    static constexpr std::chrono::seconds kProbeMax{15};  // an answer comes within that, or never

    Backoff backoff_{std::chrono::milliseconds(100), std::chrono::milliseconds(5'000)};
    SteadyTime open_until_{};
};

}  // namespace gantry::sync

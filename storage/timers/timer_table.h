// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "common/result.h"
#include "protocol/wire/state.pb.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <unordered_set>
#include <utility>

namespace gantry::storage {

/// Precision of due times: a message is delivered with those of its tick.
inline constexpr WallMs kTimerTickMs = 10;

/// The tick of a due time: that rounded up, so that nothing is early.
constexpr WallMs timer_tick(WallMs due) noexcept {
    return due <= 0 ? 0 : (due + kTimerTickMs - 1) / kTimerTickMs * kTimerTickMs;
}

/// A delayed message, as the timer index knows it.
struct TimerEntry {
    WallMs due = 0;
    LogOffset at;           ///< of the waiting record
    std::int32_t size = 0;  ///< of that

    WallMs tick() const noexcept { return timer_tick(due); }

    bool operator==(const TimerEntry&) const = default;
};

/// Which delayed messages are done with: how far delivery is, what was delivered since that was
/// logged, and what was cancelled. A fold over the log.
///
///   TimerProgress -> covers all that was delivered before it in the log
///   a delivered or rolled message names the log offset of the record that waited
///   TimerCancel -> not to be delivered
///
/// Units     about 60 B of memory for a cancelled message that is not due yet.
/// Threads   any; one mutex inside.
class TimerTable {
public:
    /// What is known of a delayed message.
    enum class What : std::uint8_t {
        kWaiting,
        kCancelled,
        kOver,  ///< delivered, or cancelled and its time has come
    };

    /// Of the message that waits, or waited, as `timer` says.
    What what(const TimerEntry& timer) const;

    bool is_waiting(const TimerEntry& timer) const { return what(timer) == What::kWaiting; }

    /// Takes a progress in; what it covers is forgotten.
    void progress(const wire::TimerProgress& progress);
    wire::TimerProgress progress() const;
    /// The message that waited at `at` was delivered, or stored again.
    void delivered(LogOffset at);
    void cancel(LogOffset at, WallMs due);

    std::size_t cancelled() const;

    /// Adds everything to a snapshot.
    void save(wire::StateSnapshot& snapshot) const;
    /// Takes a snapshot's as the start. kCorrupt: a negative number.
    Status restore(const wire::StateSnapshot& snapshot);

private:
    bool is_covered(WallMs tick, LogOffset at) const GANTRY_REQUIRES(mutex_);

    mutable Mutex mutex_;
    wire::TimerProgress progress_ GANTRY_GUARDED_BY(mutex_);
    std::unordered_set<std::int64_t> delivered_ GANTRY_GUARDED_BY(mutex_);
    std::unordered_set<std::int64_t> set_aside_ GANTRY_GUARDED_BY(mutex_);
    std::set<std::pair<WallMs, LogOffset>> cancelled_ GANTRY_GUARDED_BY(mutex_);  ///< by tick
};

/// Whether the numbers of a progress may be. kRefused.
Status check_timer_progress(const wire::TimerProgress& progress);
/// The same of a cancel.
Status check_timer_cancel(const wire::TimerCancel& cancel);

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/timers/timer_table.h"

#include <algorithm>
#include <iterator>
#include <string>

namespace gantry::storage {
namespace {

Status check_number(const char* field, std::int64_t value) {
    if (value < 0) {
        return Error{Errc::kRefused,
                     std::string(field) + ' ' + std::to_string(value) + " is not 0 or more"};
    }
    return ok();
}

}  // namespace

Status check_timer_progress(const wire::TimerProgress& progress) {
    GANTRY_TRY(check_number("dueBefore", progress.duebefore()));
    GANTRY_TRY(check_number("known", progress.known()));
    GANTRY_TRY(check_number("roundFrom", progress.roundfrom()));
    GANTRY_TRY(check_number("roundKnown", progress.roundknown()));
    GANTRY_TRY(check_number("lastTick", progress.lasttick()));
    GANTRY_TRY(check_number("lastAt", progress.lastat()));
    return check_number("rolled", progress.rolled());
}

Status check_timer_cancel(const wire::TimerCancel& cancel) {
    GANTRY_TRY(check_number("at", cancel.at()));
    return check_number("due", cancel.due());
}

bool TimerTable::is_covered(WallMs tick, LogOffset at) const {
    if (at.value < progress_.rolled() ||
        (tick < progress_.duebefore() && at.value < progress_.known())) {
        return true;
    }
    const std::pair in_round(std::max(tick, progress_.roundfrom()), at.value);
    return at.value < progress_.roundknown() &&
           in_round <= std::pair<WallMs, std::int64_t>(progress_.lasttick(), progress_.lastat());
}

TimerTable::What TimerTable::what(const TimerEntry& timer) const {
    const MutexLock lock(mutex_);
    if (is_covered(timer.tick(), timer.at) || delivered_.contains(timer.at.value) ||
        set_aside_.contains(timer.at.value)) {
        return What::kOver;
    }
    const bool is_cancelled = !cancelled_.empty() && cancelled_.contains({timer.tick(), timer.at});
    return is_cancelled ? What::kCancelled : What::kWaiting;
}

void TimerTable::progress(const wire::TimerProgress& progress) {
    const MutexLock lock(mutex_);
    progress_ = progress;
    if (progress.earlier() == wire::TimerProgress::SET_ASIDE) {
        set_aside_.merge(delivered_);
    } else if (progress.earlier() == wire::TimerProgress::DROP) {
        set_aside_.clear();
    }
    delivered_.clear();
    const WallMs reached = std::max(progress.duebefore(), progress.lasttick());
    for (auto at = cancelled_.begin(); at != cancelled_.end() && at->first <= reached;) {
        at = is_covered(at->first, at->second) ? cancelled_.erase(at) : std::next(at);
    }
}

wire::TimerProgress TimerTable::progress() const {
    const MutexLock lock(mutex_);
    return progress_;
}

void TimerTable::delivered(LogOffset at) {
    const MutexLock lock(mutex_);
    delivered_.insert(at.value);
}

void TimerTable::cancel(LogOffset at, WallMs due) {
    const MutexLock lock(mutex_);
    cancelled_.emplace(timer_tick(due), at);
}

std::size_t TimerTable::cancelled() const {
    const MutexLock lock(mutex_);
    return cancelled_.size();
}

void TimerTable::save(wire::StateSnapshot& snapshot) const {
    const MutexLock lock(mutex_);
    wire::TimerStates& timers = *snapshot.mutable_timers();
    *timers.mutable_progress() = progress_;
    timers.mutable_delivered()->Assign(delivered_.begin(), delivered_.end());
    timers.mutable_setaside()->Assign(set_aside_.begin(), set_aside_.end());
    for (const auto& [tick, at] : cancelled_) {
        wire::TimerCancel& cancel = *timers.add_cancelled();
        cancel.set_at(at.value);
        cancel.set_due(tick);
    }
}

Status TimerTable::restore(const wire::StateSnapshot& snapshot) {
    const wire::TimerStates& timers = snapshot.timers();
    Status legal = check_timer_progress(timers.progress());
    for (const wire::TimerCancel& cancel : timers.cancelled()) {
        legal = legal ? check_timer_cancel(cancel) : legal;
    }
    if (!legal) {
        return Error{Errc::kCorrupt, "timers: " + legal.error().detail};
    }
    const MutexLock lock(mutex_);
    progress_ = timers.progress();
    delivered_.insert(timers.delivered().begin(), timers.delivered().end());
    set_aside_.insert(timers.setaside().begin(), timers.setaside().end());
    for (const wire::TimerCancel& cancel : timers.cancelled()) {
        cancelled_.emplace(timer_tick(cancel.due()), LogOffset(cancel.at()));
    }
    return ok();
}

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/in_sync.h"

#include "common/check.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

namespace gantry::broker {

InSync::InSync(const Options& options, GroupState state, std::uint64_t revision)
    : options_(options), state_(std::move(state)), revision_(revision) {
    GANTRY_ASSERT(state_.epoch == options_.epoch);
    GANTRY_ASSERT(state_.master == options_.self.member && state_.has(options_.self));
}

void InSync::own_end(LogOffset end) {
    Copy& own = copies_[options_.self];
    own.end = end;
    own.is_connected = true;
    advance();
}

void InSync::acknowledged(const MemberId& id, LogOffset end, SteadyTime caught_up_at) {
    if (id == options_.self) {
        return;  // a copy of this very store; own_end alone speaks for it
    }
    Copy& copy = copies_[id];
    // Not the highest ever: a copy that was cut has less than it said before.
    copy.end = end;
    copy.caught_up_at = std::max(copy.caught_up_at, caught_up_at);
    copy.is_connected = true;
    advance();
}

void InSync::disconnected(const MemberId& id) {
    if (const auto found = copies_.find(id); found != copies_.end() && id != options_.self) {
        found->second.is_connected = false;
    }
}

bool InSync::is_counted(const MemberId& id) const noexcept {
    return state_.has(id) || std::find(pending_.begin(), pending_.end(), id) != pending_.end();
}

bool InSync::is_sure(const MemberId& id) const noexcept {
    return state_.has(id) && (!under_way_ || under_way_->has(id)) &&
           std::all_of(maybe_.begin(), maybe_.end(), [&](const GroupState& maybe) {
               return maybe.has(id);
           });
}

std::size_t InSync::sure_size() const noexcept {
    return static_cast<std::size_t>(
        std::count_if(state_.members.begin(), state_.members.end(), [this](const MemberId& id) {
            return is_sure(id);
        }));
}

std::optional<MemberId> InSync::heir(LogOffset end) const {
    std::optional<MemberId> best;
    for (const auto& [id, copy] : copies_) {
        const bool fits =
            id != options_.self && copy.is_connected && copy.end >= end && is_sure(id);
        if (fits && (!best || copy.end > end_of(*best))) {
            best = id;
        }
    }
    return best;
}

LogOffset InSync::end_of(const MemberId& id) const {
    const auto found = copies_.find(id);
    return found != copies_.end() ? found->second.end : LogOffset(0);
}

void InSync::count(const MemberId& id) {
    if (!is_counted(id)) {
        pending_.push_back(id);
    }
}

void InSync::advance() {
    LogOffset least(std::numeric_limits<std::int64_t>::max());
    std::vector<LogOffset> sure;
    for (const MemberId& id : state_.members) {
        least = std::min(least, end_of(id));
        if (is_sure(id)) {
            sure.push_back(end_of(id));
        }
    }
    for (const MemberId& id : pending_) {
        least = std::min(least, end_of(id));
    }
    confirmed_ = std::max(confirmed_, least);
    if (sure.size() < options_.copies_min) {
        return;
    }
    std::sort(sure.begin(), sure.end(), std::greater<>());
    const LogOffset held = options_.copies_min == 0 ? confirmed_ : sure[options_.copies_min - 1];
    acknowledged_ = std::max(acknowledged_, std::min(confirmed_, held));
}

bool InSync::may_join(const Copy& copy, SteadyTime now) const {
    // Half of it: who was put out for its lag does not come and go at the border.
    return copy.is_connected && now - copy.caught_up_at <= options_.lag_max / 2 &&
           copy.end >= std::max(confirmed_, options_.epoch_start);
}

bool InSync::must_leave(const MemberId& id, SteadyTime now) const {
    if (id == options_.self) {
        return false;
    }
    SteadyTime since = *started_;
    if (const auto found = copies_.find(id); found != copies_.end()) {
        since = std::max(since, found->second.caught_up_at);
    }
    return now - since > options_.lag_max;
}

GroupState InSync::desired(SteadyTime now) const {
    GroupState next = state_;
    for (const MemberId& id : state_.members) {
        if (must_leave(id, now)) {
            next = next.without(id);
        }
    }
    for (const auto& [id, copy] : copies_) {
        if (!state_.has(id) && may_join(copy, now)) {
            next = next.with(id);
        }
    }
    return next;
}

std::optional<GroupState> InSync::wanted(SteadyTime now) {
    if (!started_) {
        started_ = now;
    }
    if (under_way_ || must_look_ || is_deposed_) {
        return std::nullopt;
    }
    GroupState next = desired(now);
    if (next == state_ && !must_resolve_) {
        return std::nullopt;
    }
    for (const MemberId& id : next.members) {
        count(id);
    }
    compared_ = revision_;
    under_way_ = next;
    return next;
}

void InSync::decided(GroupState state, std::uint64_t revision) {
    state_ = std::move(state);
    must_look_ = false;
    must_resolve_ = revision_ > revision;  // somebody wrote behind it, by hand
    if (must_resolve_) {
        std::erase_if(pending_, [this](const MemberId& id) { return state_.has(id); });
    } else {
        revision_ = revision;
        maybe_.clear();
        pending_.clear();
    }
    advance();
}

bool InSync::swapped(const Result<std::uint64_t>& outcome) {
    GANTRY_ASSERT(under_way_.has_value());
    GroupState sent = *std::exchange(under_way_, std::nullopt);
    if (outcome) {
        decided(std::move(sent), *outcome);
        return !is_deposed_;
    }
    const Errc code = outcome.error().code;
    if (code == Errc::kConflict) {
        // An earlier swap of unknown outcome has come true, or somebody else's.
        must_resolve_ = true;
        must_look_ = revision_ == compared_;
    } else if (code != Errc::kGone) {
        maybe_.push_back(std::move(sent));
        must_resolve_ = true;
    }
    if (!must_resolve_) {
        pending_.clear();  // nothing of it was ever sent
    }
    advance();
    return !is_deposed_;
}

bool InSync::seen(const GroupState& state, std::uint64_t revision) {
    if (revision < revision_ && !must_look_) {
        return !is_deposed_;  // from before the last swap
    }
    if (revision < revision_ || state.epoch != options_.epoch ||
        state.master != options_.self.member || !state.has(options_.self)) {
        is_deposed_ = true;
        return false;
    }
    if (revision > revision_) {
        // A swap of this master that was taken as lost, or is about to be answered. It is not
        // believed, only compared with: the next one that succeeds decides.
        for (const MemberId& id : state.members) {
            count(id);
        }
        revision_ = revision;
        must_look_ = false;
        must_resolve_ = true;
        maybe_.push_back(state);
        advance();
    }
    return !is_deposed_;
}

}  // namespace gantry::broker

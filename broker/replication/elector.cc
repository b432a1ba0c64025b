// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/elector.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace gantry::broker {
namespace {

constexpr std::chrono::seconds kLately{30};
constexpr std::uint32_t kDoublingsMax = 5;

const LiveMember* find_live(const GroupView& view, const MemberId& id) {
    const auto found = std::find_if(
        view.live.begin(), view.live.end(), [&](const LiveMember& one) { return one.id == id; });
    return found != view.live.end() ? &*found : nullptr;
}

/// The copy by which the state's master is one; null: nobody is.
const MemberId* master_of(const GroupState& state) {
    const auto found = std::find_if(state.members.begin(),
                                    state.members.end(),
                                    [&](const MemberId& id) { return id.member == state.master; });
    return found != state.members.end() ? &*found : nullptr;
}

std::string names_of(const std::vector<MemberId>& ids) {
    std::string text;
    for (const MemberId& id : ids) {
        text += (text.empty() ? "" : ", ") + to_string(id);
    }
    return text.empty() ? "nobody" : text;
}

Elector::Decision wait(std::string reason, SteadyTime again_at = SteadyTime::max()) {
    Elector::Decision decision;
    decision.reason = std::move(reason);
    decision.again_at = again_at;
    return decision;
}

}  // namespace

Elector::Decision Elector::decide(const GroupView& view, const Facts& facts) {
    const GroupState& state = view.state;
    if (facts.serving != 0) {
        const bool is_over = state.epoch > facts.serving ||
                             (state.epoch == facts.serving && state.master != options_.self.member);
        Decision decision;
        decision.kind = is_over ? Kind::kStepDown : Kind::kServe;
        decision.epoch = is_over ? state.epoch : facts.serving;
        decision.master = is_over ? state.master : options_.self.member;
        if (is_over) {
            decision.reason = "member " + std::to_string(state.master) + " is master of epoch " +
                              std::to_string(state.epoch);
        }
        return decision;
    }
    if (facts.asked) {
        if (!view.is_current) {
            return wait("the register of the group does not answer");
        }
        const std::string why = why_not_electable(view);
        if (view.revision != 0 && !why.empty() && !facts.asked->accept_loss) {
            return wait(why);
        }
        return lead(view, facts, facts.asked->accept_loss && !state.has(options_.self));
    }
    const MemberId* const master = master_of(state);
    const LiveMember* const live = master != nullptr ? find_live(view, *master) : nullptr;
    if (view.revision != 0 && live != nullptr && *master != options_.self && !facts.is_refused) {
        vacant_epoch_ = -1;
        Decision decision;
        decision.kind = Kind::kFollow;
        decision.epoch = state.epoch;
        decision.master = state.master;
        decision.address = live->replication_address;
        return decision;
    }
    if (!view.is_current) {
        return wait("the register of the group does not answer");
    }
    return view.revision == 0 ? found(view, facts) : succeed(view, facts);
}

std::string Elector::why_not_founding(const GroupView& view, const Facts& facts) const {
    if (facts.promised > 0) {
        return "there is no state of the group, but this store obeyed epoch " +
               std::to_string(facts.promised) +
               ": the state was lost; an operator has to elect the member that counts";
    }
    if (!options_.may_found) {
        return "there is no state of the group yet, and replication.role is slave";
    }
    for (const LiveMember& other : view.live) {
        if (other.id == options_.self) {
            continue;
        }
        if (other.epoch > 0) {
            return "there is no state of the group, but member " + to_string(other.id) +
                   " obeyed epoch " + std::to_string(other.epoch) +
                   ": the state was lost; an operator has to elect the member that counts";
        }
        if (!options_.is_automatic) {
            continue;  // static roles: the setting says who
        }
        if (other.log_end > 0 && facts.log_end.value > 0) {
            return "members " + std::to_string(options_.self.member) + " and " +
                   std::to_string(other.id.member) +
                   " both have a log and no state says which one counts: an operator has to elect";
        }
        const bool is_shorter = other.log_end == 0 && facts.log_end.value > 0;
        if (other.log_end > 0 || (!is_shorter && other.id < options_.self)) {
            return "member " + std::to_string(other.id.member) + " founds the group";
        }
    }
    return {};
}

Elector::Decision Elector::found(const GroupView& view, const Facts& facts) {
    if (vacant_epoch_ != 0) {
        vacant_epoch_ = 0;
        vacant_since_ = facts.now;
    }
    const SteadyTime due =
        options_.is_automatic ? vacant_since_ + options_.found_delay : vacant_since_;
    if (facts.now < due) {
        return wait("a group is being founded", due);
    }
    if (std::string why = why_not_founding(view, facts); !why.empty()) {
        return wait(std::move(why));
    }
    return lead_when_due(view, facts, due);
}

std::string Elector::why_not_electable(const GroupView& view) const {
    const GroupState& state = view.state;
    if (state.has(options_.self)) {
        return {};
    }
    std::string why = "not in the in-sync set: epoch " + std::to_string(state.epoch) + " has " +
                      names_of(state.members) + ", this is " + to_string(options_.self);
    const bool any_lives =
        std::any_of(state.members.begin(), state.members.end(), [&](const MemberId& id) {
            return find_live(view, id) != nullptr;
        });
    if (!any_lives) {
        why +=
            "; none of them is there: one must return, or an operator elects this one and "
            "accepts the loss of what only they have";
    }
    return why;
}

Elector::Decision Elector::succeed(const GroupView& view, const Facts& facts) {
    const GroupState& state = view.state;
    if (vacant_epoch_ != state.epoch) {
        vacant_epoch_ = state.epoch;
        vacant_since_ = facts.now;
    }
    if (std::string why = why_not_electable(view); !why.empty()) {
        return wait(std::move(why));
    }
    if (!options_.is_automatic && state.master != options_.self.member) {
        return wait("member " + std::to_string(state.master) + ", master of epoch " +
                    std::to_string(state.epoch) +
                    ", is not there; roles are static: it must return, or an operator elects");
    }
    const LiveMember* const self = find_live(view, options_.self);
    if (self == nullptr || self->incarnation != options_.incarnation) {
        return wait(self == nullptr
                        ? "this member is not registered as living yet"
                        : "another process is registered as member " + to_string(options_.self));
    }
    return lead_when_due(view, facts, vacant_since_ + options_.rank_delay * rank(view, facts));
}

std::int64_t Elector::rank(const GroupView& view, const Facts& facts) const {
    return std::count_if(view.live.begin(), view.live.end(), [&](const LiveMember& other) {
        // The master that does not answer does not count, though its lease may not be over.
        if (other.id == options_.self || !view.state.has(other.id) ||
            other.id.member == view.state.master) {
            return false;
        }
        return other.log_end > facts.log_end.value ||
               (other.log_end == facts.log_end.value && other.id < options_.self);
    });
}

SteadyTime Elector::rested_at(SteadyTime now) {
    while (!elections_.empty() && now - elections_.front() > kLately) {
        elections_.pop_front();
    }
    if (elections_.empty()) {
        return SteadyTime::min();
    }
    const auto doublings =
        std::min(static_cast<std::uint32_t>(elections_.size()) - 1, kDoublingsMax);
    return elections_.back() + options_.again_delay * (std::int64_t{1} << doublings);
}

Elector::Decision Elector::lead_when_due(const GroupView& view,
                                         const Facts& facts,
                                         SteadyTime due) {
    due = std::max(due, rested_at(facts.now));
    if (facts.now < due) {
        return wait("about to be elected, unless a member with more messages is first", due);
    }
    elections_.push_back(facts.now);
    return lead(view, facts, false);
}

Elector::Decision Elector::lead(const GroupView& view, const Facts& facts, bool accept_loss) {
    Decision decision;
    decision.kind = Kind::kLead;
    decision.revision = view.revision;
    GroupState& next = decision.next;
    next.epoch = std::max(view.state.epoch, facts.promised) + 1;
    next.master = options_.self.member;
    next.loss_accepted = accept_loss;
    next = next.with(options_.self);
    if (accept_loss || view.revision == 0) {
        return decision;
    }
    for (const MemberId& id : view.state.members) {
        // Who is not there would hold up every acknowledgement until it is put out for its lag.
        const bool is_gone = id.member == view.state.master && facts.is_refused;
        if (id.member != options_.self.member && !is_gone && find_live(view, id) != nullptr) {
            next = next.with(id);
        }
    }
    return decision;
}

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
// What a member does next: its decisions, and the in-sync set of a master.
#include "broker/replica/control.h"
#include "common/log.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("replica");

}  // namespace

void Control::on_view(const GroupView& view) {
    view_ = view;
    note_master();
    if (in_sync_ && !handed_over_ && !is_handed_over_ &&
        !in_sync_->seen(view.state, view.revision)) {
        step_down("member " + std::to_string(view.state.master) + " is master of epoch " +
                  std::to_string(view.state.epoch));
        return;
    }
    maintain();
    decide();
}

void Control::note_master() {
    std::string client_address;
    std::vector<std::string> others;
    for (const LiveMember& one : view_.live) {
        const bool is_master = one.id.member == view_.state.master;
        if (is_master) {
            client_address = one.client_address;
        }
        if (one.id != id_ && view_.state.has(one.id)) {
            others.insert(is_master ? others.begin() : others.end(), one.replication_address);
        }
    }
    parts_.role.set_master_address(client_address);
    reach_->set_members(std::move(others));
}

std::string Control::master_replication_address() const {
    const auto master = std::find_if(view_.live.begin(), view_.live.end(), [&](const auto& one) {
        return one.id.member == view_.state.master;
    });
    return master != view_.live.end() ? master->replication_address : std::string();
}

Elector::Decision Control::ask_elector() {
    Elector::Facts facts;
    facts.now = boot_clock_.steady();
    facts.log_end = store_->watermarks().appended;
    facts.promised = promised_;
    facts.serving = serving_;
    facts.is_refused = view_.revision != 0 && refused_ == view_.state.epoch;
    facts.asked = std::exchange(asked_, std::nullopt);
    return elector_->decide(view_, facts);
}

void Control::decide() {
    if (!busy_.empty() || is_swapping_ || store_ == nullptr || handed_over_ || is_handed_over_) {
        return;
    }
    if (put_off_) {
        std::exchange(put_off_, nullptr)();
        return;
    }
    const bool was_asked = asked_.has_value();
    const Elector::Decision decision = ask_elector();
    switch (decision.kind) {
        case Elector::Kind::kServe:
            break;
        case Elector::Kind::kStepDown:
            step_down(decision.reason);
            break;
        case Elector::Kind::kFollow:
            follow(decision);
            break;
        case Elector::Kind::kLead:
            stand(decision);
            break;
        case Elector::Kind::kWait:
            if (was_asked) {
                answer_promotions(Error{Errc::kRefused, decision.reason});
            }
            wait(decision);
            break;
    }
}

void Control::wait(const Elector::Decision& decision) {
    // Its old master is dialled on, so that it is followed when it is back.
    tell("slave: follows no master: " + decision.reason);
    if (decision.again_at != SteadyTime::max()) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(decision.again_at - boot_clock_.steady());
        again_->start_once(std::max(left, std::chrono::milliseconds(1)));
    }
}

void Control::follow(const Elector::Decision& decision) {
    if (follows_ == decision.address && follows_epoch_ == decision.epoch) {
        const bool is_up = follower_->is_following();
        tell(!store_failure_.empty() ? "slave: " + store_failure_
             : is_up                 ? std::string()
                                     : "slave: no link to the master at " + follows_);
        return;
    }
    if (decision.epoch < promised_) {
        tell("slave: epoch " + std::to_string(promised_) + " was promised, and the master's is " +
             std::to_string(decision.epoch));
        return;
    }
    unfollow();
    if (decision.epoch == promised_) {
        follow_now(decision);
        return;
    }
    run_job(
        "promises an epoch",
        [this, epoch = decision.epoch] { return parts_.copy.promise(epoch); },
        [this, decision](const Status& done) {
            if (!done) {
                kLog.error("promise_failed", {{"epoch", decision.epoch}, {"error", done.error()}});
                return;
            }
            promised_ = std::max(promised_, decision.epoch);
            follow_now(decision);
        });
}

void Control::follow_now(const Elector::Decision& decision) {
    if (store_ == nullptr) {
        return;
    }
    follows_ = decision.address;
    follows_epoch_ = decision.epoch;
    store_failure_.clear();
    parts_.role.be_slave(decision.epoch);
    kLog.info("follows",
              {{"epoch", decision.epoch},
               {"master", decision.master},
               {"address", decision.address},
               {"log_end", store_->watermarks().appended.value}});
    tell("slave: no link to the master at " + follows_);
    follower_->follow(*store_, decision.epoch, decision.address);
    announce();
}

void Control::stand(const Elector::Decision& decision) {
    is_swapping_ = true;
    kLog.info("stands_for_election",
              {{"epoch", decision.next.epoch},
               {"in_sync", decision.next.members.size()},
               {"loss_accepted", decision.next.loss_accepted}});
    coordinator_->swap(
        decision.revision,
        decision.next,
        [this, next = decision.next](const Result<std::uint64_t>& revision) {
            is_swapping_ = false;
            if (revision && next.epoch > promised_) {
                take_over(next, *revision);
                return;
            }
            if (revision) {
                kLog.warn("epoch_is_over", {{"epoch", next.epoch}, {"promised", promised_}});
                return;
            }
            kLog.warn("not_elected", {{"epoch", next.epoch}, {"error", revision.error()}});
            answer_promotions(revision.error());
        });
}

void Control::check_lease() {
    const ReplicationOptions& replication = parts_.options.replication;
    const bool has_end = !replication.is_static() && !replication.serve_without_register;
    const SteadyTime until = has_end ? coordinator_->lease_until() : SteadyTime::max();
    parts_.role.set_lease(until);
    if (serving_ != 0 && busy_.empty() && boot_clock_.steady() >= until) {
        step_down("its lease has run out: etcd was not reached");
    }
}

void Control::maintain() {
    if (!in_sync_ || store_ == nullptr) {
        return;
    }
    in_sync_->own_end(store_->watermarks().local);
    if (!handed_over_ && !is_handed_over_) {
        if (const auto next = in_sync_->wanted(parts_.clock.steady())) {
            kLog.info("in_sync_set_changes",
                      {{"epoch", serving_},
                       {"members", next->members.size()},
                       {"before", in_sync_->state().members.size()}});
            coordinator_->swap(in_sync_->revision(),
                               *next,
                               [this, epoch = serving_](const Result<std::uint64_t>& outcome) {
                                   on_swapped(epoch, outcome);
                               });
        }
    }
    if (in_sync_) {  // else that swap has told at once that this master is deposed
        confirm();
    }
}

void Control::on_swapped(std::int64_t epoch, const Result<std::uint64_t>& outcome) {
    if (!in_sync_ || epoch != serving_) {
        return;
    }
    if (!in_sync_->swapped(outcome)) {
        step_down("the group's state was changed by another master");
        return;
    }
    confirm();
}

void Control::confirm() {
    const LogOffset before = parts_.role.acknowledged();
    parts_.role.set_copies(static_cast<std::uint32_t>(in_sync_->sure_size()),
                           in_sync_->acknowledged(),
                           choose_reading_slave());
    store_->replica().confirm(in_sync_->confirmed());
    server_->confirm(in_sync_->confirmed());
    if (in_sync_->acknowledged() != before) {
        parts_.copy.wake_serving();
    }
}

void Control::tell_of_copies() {
    if (!in_sync_ || !busy_.empty() || store_ == nullptr) {
        return;
    }
    if (const std::string why = store_->read_only_reason(); !why.empty()) {
        tell("master: the store takes no writes: " + why);
        return;
    }
    const auto wanted = static_cast<std::size_t>(parts_.options.replication.in_sync_min);
    const std::size_t there = in_sync_->sure_size();
    tell(there >= wanted ? std::string()
                         : "master: in sync are " + std::to_string(there) +
                               " copies < replication.in_sync_min " + std::to_string(wanted));
}

std::int64_t Control::choose_reading_slave() const {
    for (const MemberId& id : in_sync_->state().members) {
        if (id != id_) {
            return id.member;
        }
    }
    return -1;
}

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
// What operators ask of a member: its status, to be master, and to hand over before it stops.
#include "broker/replica/control.h"
#include "common/log.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("replica");
constexpr std::chrono::milliseconds kLook{5};

}  // namespace

wire::ReplicaStatus Control::status() const {
    wire::ReplicaStatus status;
    status.set_member(id_.member);
    status.set_storageid(id_.storage);
    const GroupState& state = in_sync_ ? in_sync_->state() : view_.state;
    status.set_epoch(state.epoch);
    status.set_master(state.master);
    status.set_ismaster(serving_ != 0);
    status.set_clientaddress(parts_.client_address);
    if (store_ != nullptr) {
        const storage::Watermarks marks = store_->watermarks();
        status.set_logfirst(marks.first.value);
        status.set_logend(marks.appended.value);
        status.set_confirmed(marks.confirmed.value);
        for (const storage::EpochStart& epoch : store_->replica().epochs()) {
            wire::EpochMark& mark = *status.add_epochs();
            mark.set_epoch(epoch.epoch);
            mark.set_id(epoch.id);
            mark.set_start(epoch.start.value);
        }
    }
    status.set_masteraddress(serving_ != 0
                                 ? parts_.role.replication_address()
                                 : (follows_.empty() ? master_replication_address() : follows_));
    for (const MemberId& id : state.members) {
        wire::InSyncMember& member = *status.add_insync();
        member.set_member(id.member);
        member.set_storageid(id.storage);
    }
    for (wire::ReplicaLink& link : server_->links()) {
        link.set_isinsync(std::any_of(state.members.begin(),
                                      state.members.end(),
                                      [&](const auto& id) { return id.member == link.member(); }));
        *status.add_links() = std::move(link);
    }
    return status;
}

bool Control::is_master_alive() const {
    const bool is_registered =
        std::any_of(view_.live.begin(), view_.live.end(), [&](const LiveMember& one) {
            return one.id.member == view_.state.master && one.id != id_;
        });
    return follower_->is_following() || (is_registered && refused_ != view_.state.epoch);
}

/// What this member's being master would mean.
wire::PromoteResponse Control::prospects() const {
    wire::PromoteResponse prospects;
    const std::int64_t end = store_ != nullptr ? store_->watermarks().appended.value : 0;
    const std::int64_t master_end = follower_->master_end();
    prospects.set_epoch(std::max(view_.state.epoch, promised_));
    prospects.set_logend(end);
    prospects.set_masterend(master_end);
    prospects.set_lostbytesmax(std::max<std::int64_t>(master_end - end, 0));
    prospects.set_masterisalive(is_master_alive());
    const ReplicationOptions& options = parts_.options.replication;
    const bool may_found = !options.is_static() || options.role == "master";
    prospects.set_isinsync(view_.revision == 0 ? may_found && promised_ == 0
                                               : view_.state.has(id_));
    const std::string master = "the master, member " + std::to_string(view_.state.master);
    std::string text = prospects.masterisalive() ? master + ", is alive; " : "";
    if (view_.revision == 0) {
        text +=
            "this member knows of no state of the group: whether its copy is in sync is not "
            "known";
    } else if (prospects.isinsync() && options.is_static() && !follower_->is_following()) {
        text += "this copy was in sync when it last heard from " + master +
                ": what that took alone later is lost";
    } else if (prospects.isinsync()) {
        text += "this copy is in sync: it has everything that was acknowledged by copies";
    } else if (master_end < 0) {
        text += "this copy is not in sync, and has not heard from " + master +
                ", since it started: how much is lost is not known";
    } else {
        text += "this copy is not in sync: of the last it heard of, " +
                std::to_string(prospects.lostbytesmax()) + " B are lost, and what came later";
    }
    prospects.set_text(text);
    return prospects;
}

void Control::promote(const wire::PromoteRequest& request, RoleState::PromoteDone done) {
    if (serving_ != 0) {
        wire::PromoteResponse response = prospects();
        response.set_epoch(serving_);
        response.set_text("this member is the master");
        done(std::move(response));
        return;
    }
    if (store_ == nullptr || !busy_.empty() || is_swapping_) {
        done(Error{Errc::kBusy, "its role is changing: " + busy_});
        return;
    }
    wire::PromoteResponse response = prospects();
    if (!request.confirm()) {
        done(std::move(response));
        return;
    }
    if (!response.isinsync() && !request.acceptloss()) {
        done(Error{Errc::kRefused, response.text() + "; only with acceptLoss"});
        return;
    }
    kLog.warn("promoted_by_operator",
              {{"accept_loss", request.acceptloss()}, {"prospects", response.text()}});
    promotions_.emplace_back(std::move(response), std::move(done));
    asked_ = Elector::Asked{request.acceptloss()};
    decide();
}

/// Told before its connection goes with the serving layer of the slave.
void Control::answer_promotions(const Result<std::int64_t>& epoch) {
    for (auto& [response, done] : std::exchange(promotions_, {})) {
        if (epoch) {
            response.set_epoch(*epoch);
            response.set_isdone(true);
            done(std::move(response));
        } else {
            done(epoch.error());
        }
    }
}

void Control::begin_hand_over(std::function<void()> done) {
    const bool has_heir = in_sync_ && in_sync_->state().members.size() > 1;
    if (!has_heir || !busy_.empty()) {
        done();
        return;
    }
    handed_over_ = std::move(done);
    hand_over_until_ = parts_.clock.steady() + kHandOverLimit;
    parts_.role.leave();
    try_hand_over();
}

/// Once another copy in sync has everything and nothing is appended any more.
void Control::try_hand_over() {
    if (!handed_over_) {
        return;
    }
    if (!in_sync_ || store_ == nullptr || parts_.clock.steady() >= hand_over_until_) {
        end_hand_over("no other copy has everything");
        return;
    }
    leaving_->start_once(kLook);
    const std::optional<MemberId> heir = in_sync_->heir(store_->watermarks().appended);
    if (!heir || is_swapping_ || in_sync_->confirmed() < store_->watermarks().appended) {
        return;
    }
    if (parts_.options.replication.is_static()) {
        end_hand_over("the roles are static");
        return;
    }
    GroupState next = in_sync_->state().without(id_);
    next.epoch = serving_ + 1;
    next.master = heir->member;
    next.loss_accepted = false;
    is_swapping_ = true;
    leaving_->cancel();
    coordinator_->swap(
        in_sync_->revision(), next, [this, heir = *heir](const Result<std::uint64_t>& outcome) {
            is_swapping_ = false;
            handed_to(heir, outcome);
        });
}

void Control::handed_to(const MemberId& heir, const Result<std::uint64_t>& outcome) {
    if (outcome) {
        if (store_ != nullptr) {
            store_->replica().fence("handed over to member " + std::to_string(heir.member));
        }
        end_hand_over("to member " + std::to_string(heir.member));
    } else if (outcome.error().code == Errc::kConflict) {
        leaving_->start_once(kLook);  // the set changed meanwhile
    } else {
        end_hand_over(to_string(outcome.error()));
    }
}

void Control::end_hand_over(const std::string& how) {
    leaving_->cancel();
    kLog.info("hands_over", {{"epoch", serving_}, {"how", how}});
    if (const auto done = std::exchange(handed_over_, nullptr)) {
        is_handed_over_ = true;
        done();
    }
}

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "client/admin/admin_state.h"
#include "client/admin_client.h"
#include "protocol/wire/replication.pb.h"

#include <algorithm>
#include <set>
#include <thread>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::chrono::milliseconds kLook{50};  // between looks whether a promotion is done

Result<wire::ReplicaStatus> ask_replica(AdminCalls& calls, const std::string& address) {
    const wire::ReplicaStatusRequest fields;
    return calls.ask<wire::ReplicaStatus>(
        address, wire::RequestCode::kReplicaStatus, &fields, [address](auto& result) {
            return fields_of<wire::ReplicaStatus>(result, address);
        });
}

ReplicaState state_of(const BrokerAddress& broker, const Result<wire::ReplicaStatus>& status) {
    ReplicaState state;
    state.member = broker.broker_id;
    state.address = broker.address;
    if (!status) {
        state.role = "unknown";
        state.error = to_string(status.error());
        return state;
    }
    state.member = status->member();
    state.role = status->ismaster() ? "master" : "slave";
    state.epoch = status->epoch();
    state.log_end = status->logend();
    return state;
}

/// What the master knows of all.
void add_master_view(const wire::ReplicaStatus& master, std::vector<ReplicaState>& all) {
    std::set<std::int64_t> in_sync;
    for (const wire::InSyncMember& member : master.insync()) {
        in_sync.insert(member.member());
    }
    for (const wire::ReplicaLink& link : master.links()) {
        const auto known = std::find_if(all.begin(), all.end(), [&link](const ReplicaState& state) {
            return state.member == link.member() && state.role != "master";
        });
        const bool is_new = known == all.end();
        ReplicaState& state = is_new ? all.emplace_back() : *known;
        if (is_new) {
            state.member = link.member();
            state.address = link.address();
            state.role = "unknown";
            state.error = "not registered";
            state.log_end = link.acknowledged();
        }
        state.behind_bytes = link.behindbytes();
        state.round_trip_us = link.roundtripmicros();
    }
    for (ReplicaState& state : all) {
        state.is_in_sync = in_sync.count(state.member) != 0;
        if (state.role == "master") {
            state.behind_bytes = 0;
        }
    }
}

Promotion promotion_of(const wire::PromoteResponse& answer) {
    Promotion promotion;
    promotion.is_done = answer.isdone();
    promotion.is_in_sync = answer.isinsync();
    promotion.master_is_alive = answer.masterisalive();
    promotion.epoch = answer.epoch();
    promotion.log_end = answer.logend();
    promotion.master_end = answer.masterend();
    promotion.lost_bytes_max = answer.lostbytesmax();
    promotion.text = answer.text();
    return promotion;
}

}  // namespace

Result<std::vector<ReplicaState>> AdminClient::list_replicas(std::string_view broker) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, state_->calls.brokers());
    std::vector<ReplicaState> all;
    wire::ReplicaStatus master;
    for (const BrokerAddress& one : brokers) {
        if (one.broker != broker) {
            continue;
        }
        const Result<wire::ReplicaStatus> status = ask_replica(state_->calls, one.address);
        all.push_back(state_of(one, status));
        // Of two that say so, which can be for a moment, the newer one is.
        if (status && status->ismaster() && status->epoch() >= master.epoch()) {
            master = *status;
        }
    }
    if (all.empty()) {
        return Error{Errc::kNotFound, "broker " + std::string(broker) + " is not registered"};
    }
    add_master_view(master, all);
    std::stable_sort(all.begin(), all.end(), [](const ReplicaState& a, const ReplicaState& b) {
        return a.member < b.member;
    });
    return all;
}

Result<Promotion> AdminClient::promote(const std::string& address, bool confirm, bool accept_loss) {
    wire::PromoteRequest fields;
    fields.set_confirm(confirm);
    fields.set_acceptloss(accept_loss);
    const SteadyTime deadline = std::chrono::steady_clock::now() + state_->calls.timeout();
    const Result<wire::PromoteResponse> answer = state_->calls.ask<wire::PromoteResponse>(
        address, wire::RequestCode::kPromote, &fields, [address](auto& result) {
            return fields_of<wire::PromoteResponse>(result, address);
        });
    if (answer) {
        return promotion_of(*answer);
    }
    if (!confirm || answer.error().code != Errc::kUnknown) {
        return answer.error();
    }
    // A broker that changes its role may close its connections first.
    while (std::chrono::steady_clock::now() < deadline) {
        const Result<wire::ReplicaStatus> status = ask_replica(state_->calls, address);
        if (status && status->ismaster()) {
            Promotion promotion;
            promotion.is_done = true;
            promotion.is_in_sync = !accept_loss;
            promotion.epoch = status->epoch();
            promotion.log_end = status->logend();
            return promotion;
        }
        std::this_thread::sleep_for(kLook);
    }
    return answer.error();
}

}  // namespace gantry::client

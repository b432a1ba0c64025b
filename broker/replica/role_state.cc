// SPDX-License-Identifier: Apache-2.0
#include "broker/replica/role_state.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

ReplicaRole RoleState::role() const noexcept {
    return is_master_.load() && !is_leaving_.load() ? ReplicaRole::kMaster : ReplicaRole::kSlave;
}

bool RoleState::may_acknowledge() const noexcept {
    return is_master_.load() && clock_.steady().time_since_epoch().count() <
                                    lease_until_.load(std::memory_order_relaxed);
}

std::string RoleState::master_address() const {
    const MutexLock lock(mutex_);
    return master_address_;
}

std::string RoleState::replication_address() const {
    const MutexLock lock(mutex_);
    return replication_address_;
}

void RoleState::status(StatusDone done) {
    const MutexLock lock(mutex_);
    if (operator_.status) {
        operator_.status(std::move(done));
    } else {
        wire::ReplicaStatus unknown;
        unknown.set_member(member_);
        done(std::move(unknown));
    }
}

void RoleState::promote(const wire::PromoteRequest& request, PromoteDone done) {
    const MutexLock lock(mutex_);
    if (operator_.promote) {
        operator_.promote(request, std::move(done));
    } else {
        done(Error{Errc::kBusy, "this member is starting or stopping"});
    }
}

void RoleState::be_slave(std::int64_t epoch) {
    is_master_.store(false);
    epoch_.store(epoch);
    acknowledged_.store(0);
    in_sync_.store(0);
    reading_slave_.store(-1);
}

void RoleState::be_master(std::int64_t epoch) {
    const MutexLock lock(mutex_);
    if (epoch > deposed_) {
        epoch_.store(epoch);
        is_master_.store(true);
    }
}

void RoleState::depose(std::int64_t epoch) {
    const MutexLock lock(mutex_);
    deposed_ = std::max(deposed_, epoch);
    be_slave(epoch);
}

void RoleState::set_copies(std::uint32_t in_sync,
                           LogOffset acknowledged,
                           std::int64_t reading_slave) {
    in_sync_.store(in_sync);
    acknowledged_.store(acknowledged.value);
    reading_slave_.store(reading_slave);
}

void RoleState::set_master_address(const std::string& address) {
    const MutexLock lock(mutex_);
    master_address_ = address;
}

void RoleState::set_replication_address(const std::string& address) {
    const MutexLock lock(mutex_);
    replication_address_ = address;
}

void RoleState::set_operator(Operator who) {
    const MutexLock lock(mutex_);
    operator_ = std::move(who);
}

}  // namespace gantry::broker

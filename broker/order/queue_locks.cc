// SPDX-License-Identifier: Apache-2.0
#include "broker/order/queue_locks.h"

#include "protocol/wire/state.pb.h"
#include "storage/state_machine.h"

#include <optional>
#include <utility>

namespace gantry::broker {

using std::chrono::milliseconds;

Result<QueueLocks::Grant> QueueLocks::lock(const Name& name,
                                           std::string_view client_id,
                                           milliseconds lease,
                                           bool is_watched) {
    const SteadyTime now = clock_.steady();
    const Key key(name.group, name.topic, name.queue_id);
    const MutexLock lock(mutex_);
    std::optional<wire::QueueLockPut> held =
        state_->order().lock(name.group, name.topic, name.queue_id);
    if (held && held->client() != client_id) {
        const auto known = leases_.find(key);
        const SteadyTime since = known == leases_.end() ? start_ : known->second.renewed;
        if (now - since < milliseconds(held->lease())) {
            return Grant{};
        }
        held.reset();
    }
    // The grant that is renewed may not be durable yet.
    Grant grant{held ? held->token() : state_->order().last_lock_token() + 1, state_->folded()};
    if (!held || held->lease() != lease.count()) {
        wire::StateRecord record;
        wire::QueueLockPut& put = *record.add_changes()->mutable_queuelockput();
        put.set_group(std::string(name.group));
        put.set_topic(std::string(name.topic));
        put.set_queueid(name.queue_id);
        put.set_client(std::string(client_id));
        put.set_token(grant.token);
        put.set_lease(lease.count());
        GANTRY_ASSIGN_OR_RETURN(const storage::Appended appended, state_->commit(record));
        grant.end = appended.end;
    }
    leases_[key] = Lease{now, now + lease, is_watched};
    return grant;
}

Result<LogOffset> QueueLocks::unlock(const Name& name, std::string_view client_id) {
    const MutexLock lock(mutex_);
    std::optional<wire::QueueLockPut> held =
        state_->order().lock(name.group, name.topic, name.queue_id);
    if (!held || held->client() != client_id) {
        return state_->folded();
    }
    wire::StateRecord record;
    wire::QueueLockPut& put = *record.add_changes()->mutable_queuelockput();
    put = std::move(*held);
    put.clear_client();
    GANTRY_ASSIGN_OR_RETURN(const storage::Appended appended, state_->commit(record));
    leases_.erase(Key(name.group, name.topic, name.queue_id));
    return appended.end;
}

std::vector<QueueLocks::Stalled> QueueLocks::stalled() {
    const SteadyTime now = clock_.steady();
    std::vector<Stalled> all;
    const MutexLock lock(mutex_);
    for (auto& [key, lease] : leases_) {
        if (!lease.is_watched || now < lease.end) {
            continue;
        }
        lease.is_watched = false;
        const auto& [group, topic, queue_id] = key;
        if (const auto held = state_->order().lock(group, topic, queue_id)) {
            all.push_back({group, held->client()});
        }
    }
    return all;
}

bool QueueLocks::is_fenced(const Name& name, std::int64_t token) const {
    return token != 0 && state_->order().lock_token(name.group, name.topic, name.queue_id) != token;
}

std::string QueueLocks::remark(const Name& name, std::int64_t token) const {
    return "lockToken " + std::to_string(token) + " is over: queue " +
           std::to_string(name.queue_id) + " of topic " + std::string(name.topic) +
           " is locked for group " + std::string(name.group) + " under " +
           std::to_string(state_->order().lock_token(name.group, name.topic, name.queue_id)) +
           " (0: nobody)";
}

}  // namespace gantry::broker

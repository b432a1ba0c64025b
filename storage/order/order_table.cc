// SPDX-License-Identifier: Apache-2.0
#include "storage/order/order_table.h"

namespace gantry::storage {

Status OrderTable::check(const wire::StateChange& change) {
    if (change.has_queuelockput()) {
        return QueueLockTable::check(change.queuelockput());
    }
    return change.has_parkedput() ? ParkedTable::check(change.parkedput())
                                  : ParkedTable::check(change.parkedchange());
}

void OrderTable::apply(const wire::StateChange& change, WallMs at_ms) {
    const MutexLock lock(mutex_);
    if (change.has_queuelockput()) {
        locks_.apply(change.queuelockput());
    } else if (change.has_parkedput()) {
        parked_.apply(change.parkedput(), at_ms);
    } else if (change.has_parkedchange()) {
        parked_.apply(change.parkedchange());
    }
}

void OrderTable::remove_topic(std::string_view topic) {
    const MutexLock lock(mutex_);
    locks_.remove_topic(topic);
    parked_.remove_topic(topic);
}

void OrderTable::remove_group(std::string_view group) {
    const MutexLock lock(mutex_);
    locks_.remove_group(group);
    parked_.remove_group(group);
}

void OrderTable::save(wire::StateSnapshot& snapshot) const {
    const MutexLock lock(mutex_);
    locks_.save(snapshot);
    parked_.save(snapshot);
}

Status OrderTable::restore(const wire::StateSnapshot& snapshot) {
    const MutexLock lock(mutex_);
    GANTRY_TRY(locks_.restore(snapshot));
    return parked_.restore(snapshot);
}

std::optional<wire::QueueLockPut> OrderTable::lock(std::string_view group,
                                                   std::string_view topic,
                                                   std::int32_t queue_id) const {
    const MutexLock guard(mutex_);
    const wire::QueueLockPut* const held = locks_.find(group, topic, queue_id);
    return held != nullptr ? std::optional(*held) : std::nullopt;
}

std::int64_t OrderTable::lock_token(std::string_view group,
                                    std::string_view topic,
                                    std::int32_t queue_id) const {
    const MutexLock guard(mutex_);
    const wire::QueueLockPut* const held = locks_.find(group, topic, queue_id);
    return held != nullptr ? held->token() : 0;
}

std::int64_t OrderTable::last_lock_token() const {
    const MutexLock guard(mutex_);
    return locks_.last_token();
}

std::vector<ParkedInfo> OrderTable::parked_keys(std::string_view group,
                                                std::string_view topic,
                                                std::int32_t queue_id) const {
    const MutexLock guard(mutex_);
    return parked_.list(group, topic, queue_id);
}

std::optional<ParkedInfo> OrderTable::parked_key(const ParkedName& name) const {
    const MutexLock guard(mutex_);
    return parked_.find(name);
}

std::size_t OrderTable::parked_count() const {
    const MutexLock guard(mutex_);
    return parked_.message_count();
}

}  // namespace gantry::storage

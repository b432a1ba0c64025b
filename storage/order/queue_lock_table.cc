// SPDX-License-Identifier: Apache-2.0
#include "storage/order/queue_lock_table.h"

#include <algorithm>

namespace gantry::storage {
namespace {

constexpr std::size_t kNameBytesMax = 255;

Status check_length(std::string_view field, std::size_t length, std::size_t least) {
    if (length < least || length > kNameBytesMax) {
        return Error{Errc::kRefused,
                     "queue lock: " + std::string(field) + " length " + std::to_string(length) +
                         " is not within " + std::to_string(least) + " to 255 B"};
    }
    return ok();
}

Status check_least(std::string_view field, std::int64_t value, std::int64_t least) {
    if (value < least) {
        return Error{Errc::kRefused,
                     "queue lock: " + std::string(field) + ' ' + std::to_string(value) +
                         " is not " + std::to_string(least) + " or more"};
    }
    return ok();
}

}  // namespace

Status QueueLockTable::check(const wire::QueueLockPut& put) {
    GANTRY_TRY(check_length("group", put.group().size(), 1));
    GANTRY_TRY(check_length("topic", put.topic().size(), 1));
    GANTRY_TRY(check_length("client", put.client().size(), 0));
    GANTRY_TRY(check_least("queueId", put.queueid(), 0));
    GANTRY_TRY(check_least("token", put.token(), 1));
    return check_least("lease", put.lease(), 0);
}

void QueueLockTable::apply(const wire::QueueLockPut& put) {
    last_token_ = std::max(last_token_, put.token());
    const Key key(put.group(), put.topic(), put.queueid());
    if (put.client().empty()) {
        held_.erase(key);
    } else {
        held_.insert_or_assign(key, put);
    }
}

const wire::QueueLockPut* QueueLockTable::find(std::string_view group,
                                               std::string_view topic,
                                               std::int32_t queue_id) const {
    const auto at = held_.find(Key(group, topic, queue_id));
    return at == held_.end() ? nullptr : &at->second;
}

void QueueLockTable::remove_topic(std::string_view topic) {
    std::erase_if(held_, [topic](const auto& lock) { return lock.second.topic() == topic; });
}

void QueueLockTable::remove_group(std::string_view group) {
    std::erase_if(held_, [group](const auto& lock) { return lock.second.group() == group; });
}

void QueueLockTable::save(wire::StateSnapshot& snapshot) const {
    if (last_token_ == 0) {
        return;
    }
    wire::OrderState& locks = *snapshot.mutable_order();
    locks.set_lasttoken(last_token_);
    for (const auto& [key, lock] : held_) {
        *locks.add_held() = lock;
    }
}

Status QueueLockTable::restore(const wire::StateSnapshot& snapshot) {
    for (const wire::QueueLockPut& lock : snapshot.order().held()) {
        if (const Status legal = check(lock); !legal) {
            return Error{Errc::kCorrupt, "state snapshot: " + legal.error().detail};
        }
        if (lock.token() > snapshot.order().lasttoken()) {
            return Error{Errc::kCorrupt,
                         "state snapshot: queue lock: token " + std::to_string(lock.token()) +
                             " is above lastToken " + std::to_string(snapshot.order().lasttoken())};
        }
        apply(lock);
    }
    last_token_ = std::max(last_token_, snapshot.order().lasttoken());
    return ok();
}

}  // namespace gantry::storage

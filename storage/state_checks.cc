// SPDX-License-Identifier: Apache-2.0
#include "storage/state_checks.h"

#include "storage/flow/flow_limits.h"
#include "storage/order/order_table.h"
#include "storage/pop/pop_table.h"
#include "storage/timers/timer_table.h"
#include "storage/topic_table.h"
#include "storage/types.h"

#include <string>
#include <string_view>

namespace gantry::storage {
namespace {

constexpr std::int32_t kPermMax = perm::kInherit | perm::kWrite | perm::kRead;
constexpr std::size_t kNameBytesMax = 255;

Error refused(std::string_view field, std::int64_t value, std::string_view limit) {
    return {Errc::kRefused,
            std::string(field) + ' ' + std::to_string(value) + " is not " + std::string(limit)};
}

Status check_name(std::string_view field, const std::string& name) {
    if (name.empty() || name.size() > kNameBytesMax) {
        return refused(std::string(field) + " length",
                       static_cast<std::int64_t>(name.size()),
                       "within 1 to 255 B");
    }
    return ok();
}

Status check_topic(const wire::TopicConfig& topic) {
    GANTRY_TRY(check_name("topicName", topic.topicname()));
    if (topic.topicname() == kStateTopic) {
        return Error{Errc::kRefused, "topicName " + topic.topicname() + " is the store's own"};
    }
    if (topic.readqueuenums() < 0 || topic.readqueuenums() > kQueuesPerTopicMax) {
        return refused("readQueueNums", topic.readqueuenums(), "within 0 to 65536");
    }
    if (topic.writequeuenums() < 0 || topic.writequeuenums() > kQueuesPerTopicMax) {
        return refused("writeQueueNums", topic.writequeuenums(), "within 0 to 65536");
    }
    if (topic.readqueuenums() + topic.writequeuenums() == 0) {
        return refused("readQueueNums + writeQueueNums", 0, "at least 1");
    }
    if (topic.perm() < 0 || topic.perm() > kPermMax) {
        return refused("perm", topic.perm(), "within 0 to 7");
    }
    return ok();
}

Status check_offset(const wire::OffsetPut& put) {
    GANTRY_TRY(check_name("group", put.group()));
    GANTRY_TRY(check_name("topic", put.topic()));
    if (put.queueid() < 0 || put.queueid() >= kQueuesPerTopicMax) {
        return refused("queueId", put.queueid(), "within 0 to 65535");
    }
    if (put.offset() < 0) {
        return refused("offset", put.offset(), "0 or more");
    }
    return ok();
}

Status check_pop_put(const wire::PopPut& put) {
    wire::OffsetPut committed;
    committed.set_group(put.group());
    committed.set_topic(put.topic());
    committed.set_queueid(put.queueid());
    committed.set_offset(put.committed());
    GANTRY_TRY(check_offset(committed));
    return check_pop(put);
}

Status check_half(std::int64_t half) {
    return half < 0 ? Status(refused("half", half, "0 or more")) : ok();
}

Status check_epoch(const wire::EpochPut& put) {
    if (put.epoch() < 1) {
        return refused("epoch", put.epoch(), "1 or more");
    }
    return put.start() < 0 ? Status(refused("start", put.start(), "0 or more")) : ok();
}

Status check_change(const wire::StateChange& change) {
    switch (change.change_case()) {
        case wire::StateChange::kTopicPut:
            return check_topic(change.topicput());
        case wire::StateChange::kTopicDelete:
            if (change.topicdelete() == kStateTopic) {
                return Error{Errc::kRefused,
                             "topicDelete " + change.topicdelete() + " is the store's own"};
            }
            return check_name("topicDelete", change.topicdelete());
        case wire::StateChange::kGroupPut:
            return check_name("groupName", change.groupput().groupname());
        case wire::StateChange::kGroupDelete:
            return check_name("groupDelete", change.groupdelete());
        case wire::StateChange::kOffsetPut:
            return check_offset(change.offsetput());
        case wire::StateChange::kTransactionAsked:
            return check_half(change.transactionasked().half());
        case wire::StateChange::kTransactionEnd:
            return check_half(change.transactionend().half());
        case wire::StateChange::kPopPut:
            return check_pop_put(change.popput());
        case wire::StateChange::kTimerProgress:
            return check_timer_progress(change.timerprogress());
        case wire::StateChange::kTimerCancel:
            return check_timer_cancel(change.timercancel());
        case wire::StateChange::kQueueLockPut:
        case wire::StateChange::kParkedPut:
        case wire::StateChange::kParkedChange:
            return OrderTable::check(change);
        case wire::StateChange::kFlowPut:
            return check_flow_limit(change.flowput());
        case wire::StateChange::kEpochPut:
            return check_epoch(change.epochput());
        case wire::StateChange::CHANGE_NOT_SET:
            break;
    }
    return Error{Errc::kRefused, "a state change of an unknown kind"};
}

Status check_epochs(const wire::StateSnapshot& snapshot) {
    std::int64_t epoch = 0;
    std::int64_t start = 0;
    for (const wire::EpochMark& mark : snapshot.epochs()) {
        if (mark.epoch() <= epoch || mark.start() < start) {
            return refused("epoch", mark.epoch(), "behind the one before");
        }
        epoch = mark.epoch();
        start = mark.start();
    }
    return ok();
}

}  // namespace

Status check_changes(const wire::StateRecord& changes) {
    if (changes.changes().empty()) {
        return refused("number of changes", 0, "at least 1");
    }
    for (const wire::StateChange& change : changes.changes()) {
        GANTRY_TRY(check_change(change));
    }
    return ok();
}

Status check_snapshot(const wire::StateSnapshot& snapshot) {
    for (const wire::TopicConfig& topic : snapshot.topics()) {
        GANTRY_TRY(check_topic(topic));
    }
    for (const wire::SubscriptionGroupConfig& group : snapshot.groups()) {
        GANTRY_TRY(check_name("groupName", group.groupname()));
    }
    for (const wire::OffsetPut& put : snapshot.offsets()) {
        GANTRY_TRY(check_offset(put));
    }
    for (const wire::PopPut& put : snapshot.pops()) {
        GANTRY_TRY(check_pop_put(put));
    }
    for (const wire::FlowLimit& limit : snapshot.flowlimits()) {
        GANTRY_TRY(check_flow_limit(limit));
    }
    return check_epochs(snapshot);
}

}  // namespace gantry::storage

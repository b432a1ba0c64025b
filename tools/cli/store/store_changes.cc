// SPDX-License-Identifier: Apache-2.0
#include "cli/store/store_inner.h"
#include "protocol/wire/state.pb.h"

namespace gantry::cli {
namespace {

/// "topic T queue 3" of anything that names a queue.
template <class Put>
std::string queue_text(const Put& put) {
    return "topic " + put.topic() + " queue " + std::to_string(put.queueid());
}

std::string text_of(const wire::TopicConfig& topic) {
    return "topic " + topic.topicname() + ": read " + std::to_string(topic.readqueuenums()) +
           ", write " + std::to_string(topic.writequeuenums()) + ", perm " +
           std::to_string(topic.perm());
}

std::string text_of(const wire::SubscriptionGroupConfig& group) {
    return "group " + group.groupname() + ": retries " + std::to_string(group.retrymaxtimes());
}

std::string text_of(const wire::OffsetPut& put) {
    return "offset of group " + put.group() + " for " + queue_text(put) + ": " +
           std::to_string(put.offset());
}

std::string text_of(const wire::PopPut& put) {
    return "pops of group " + put.group() + " of " + queue_text(put) + ": " +
           std::to_string(put.leases_size()) + " leases, " + std::to_string(put.done_size()) +
           " runs done, committed " + std::to_string(put.committed()) + ", next " +
           std::to_string(put.next());
}

std::string text_of(const wire::TimerProgress& put) {
    const std::string further = put.roundknown() == 0
                                    ? std::string()
                                    : ", further to " + std::to_string(put.lasttick()) +
                                          ", stored at " + std::to_string(put.lastat());
    return "delayed messages due before " + std::to_string(put.duebefore()) +
           " and stored before " + std::to_string(put.known()) + " are delivered" + further;
}

std::string text_of(const wire::QueueLockPut& put) {
    return "lock of group " + put.group() + " for " + queue_text(put) + ": " +
           (put.client().empty() ? "nobody" : put.client()) + ", token " +
           std::to_string(put.token()) + ", lease " + std::to_string(put.lease()) + " ms";
}

std::string text_of(const wire::ParkedPut& put) {
    return "group " + put.group() + " parks " + std::to_string(put.offsets_size()) +
           " messages of " + queue_text(put) + ", key " + put.key();
}

std::string text_of(const wire::ParkedChange& put) {
    return "parked by group " + put.group() + " of " + queue_text(put) + ", key " + put.key() +
           ": action " + std::to_string(put.action());
}

std::string text_of(const wire::FlowLimit& limit) {
    const std::string whose = "flow limits of " + limit.scope() + ' ' + limit.name();
    if (limit.removed()) {
        return whose + ": none";
    }
    return whose + ": sends " + std::to_string(limit.sendmessages()) + "/s, " +
           std::to_string(limit.sendbytes()) + " B/s, deliveries " +
           std::to_string(limit.delivermessages()) + "/s, " + std::to_string(limit.deliverbytes()) +
           " B/s";
}

}  // namespace

std::string change_text(const wire::StateChange& change) {
    switch (change.change_case()) {
        case wire::StateChange::kTopicPut:
            return text_of(change.topicput());
        case wire::StateChange::kTopicDelete:
            return "delete topic " + change.topicdelete();
        case wire::StateChange::kGroupPut:
            return text_of(change.groupput());
        case wire::StateChange::kGroupDelete:
            return "delete group " + change.groupdelete();
        case wire::StateChange::kOffsetPut:
            return text_of(change.offsetput());
        case wire::StateChange::kTransactionAsked:
            return "asked about the transaction of " +
                   std::to_string(change.transactionasked().half());
        case wire::StateChange::kTransactionEnd:
            return "the transaction of " + std::to_string(change.transactionend().half()) +
                   " ends without a message";
        case wire::StateChange::kPopPut:
            return text_of(change.popput());
        case wire::StateChange::kTimerProgress:
            return text_of(change.timerprogress());
        case wire::StateChange::kTimerCancel:
            return "the delayed message at " + std::to_string(change.timercancel().at()) +
                   " is cancelled";
        case wire::StateChange::kQueueLockPut:
            return text_of(change.queuelockput());
        case wire::StateChange::kParkedPut:
            return text_of(change.parkedput());
        case wire::StateChange::kParkedChange:
            return text_of(change.parkedchange());
        case wire::StateChange::kFlowPut:
            return text_of(change.flowput());
        case wire::StateChange::kEpochPut:
            return "member " + std::to_string(change.epochput().member()) +
                   " became master, epoch " + std::to_string(change.epochput().epoch()) +
                   (change.epochput().acceptedloss() ? ", and loss was accepted" : "");
        case wire::StateChange::CHANGE_NOT_SET:
            break;
    }
    return "a change this version does not know";
}

}  // namespace gantry::cli

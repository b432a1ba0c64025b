// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/offset_handler.h"

#include "broker/assignment/share_service.h"
#include "broker/dispatcher.h"
#include "protocol/wire/names.h"
#include "storage/state_machine.h"

#include <algorithm>
#include <memory>
#include <string>
#include <strings.h>

namespace gantry::broker {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

}  // namespace

void OffsetHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kQueryConsumerOffset, *this, &OffsetHandler::query);
    dispatcher.add(RequestCode::kUpdateConsumerOffset, *this, &OffsetHandler::update);
    dispatcher.add(RequestCode::kCommitOffsets, *this, &OffsetHandler::commit);
    dispatcher.add(RequestCode::kGetMaxOffset, *this, &OffsetHandler::max_offset);
    dispatcher.add(RequestCode::kGetMinOffset, *this, &OffsetHandler::min_offset);
    dispatcher.add(RequestCode::kGetEarliestMsgStoreTime, *this, &OffsetHandler::earliest_time);
    dispatcher.add(RequestCode::kSearchOffsetByTimestamp, *this, &OffsetHandler::search);
}

Result<storage::Queue*> OffsetHandler::find_queue(std::string_view topic,
                                                  std::int32_t queue_id) const {
    storage::Topic* const found =
        topic == storage::kStateTopic ? nullptr : context_.store->find_topic(topic);
    if (found == nullptr) {
        return Error{Errc::kNotFound, "topic[" + std::string(topic) + "] not exist"};
    }
    storage::Queue* const queue = queue_id < 0 ? nullptr : found->queue(queue_id);
    if (queue == nullptr) {
        return Error{Errc::kRefused,
                     "queueId[" + std::to_string(queue_id) + "] is illegal, topic[" +
                         std::string(topic) + "] has " + std::to_string(found->read_queues()) +
                         " read and " + std::to_string(found->write_queues()) + " write queues"};
    }
    return queue;
}

void OffsetHandler::reply_offset(const Call& call, std::int64_t offset) const {
    wire::OffsetResponse response;
    response.set_offset(offset);
    call.reply(&response);
}

void OffsetHandler::fail_lookup(const Call& call, const Error& error) const {
    if (call.is_native()) {
        call.fail(error);
    } else {
        reply_offset(call, 0);
    }
}

void OffsetHandler::query(Call& call, const wire::QueryConsumerOffsetRequest& request) {
    std::optional<std::int64_t> offset =
        call.loop.offsets().find(request.consumergroup(), request.topic(), request.queueid());
    if (!offset) {
        offset = context_.store->state().offset(
            request.consumergroup(), request.topic(), request.queueid());
    }
    if (offset) {
        reply_offset(call, *offset);
        return;
    }
    // A new group starts at the beginning of a queue that still has its first message.
    const Result<storage::Queue*> queue = find_queue(request.topic(), request.queueid());
    const bool may_be_zero = !request.has_setzeroifnotfound() || request.setzeroifnotfound();
    if (queue && may_be_zero && (*queue)->min().value <= 0) {
        reply_offset(call, 0);
        return;
    }
    call.fail(ResponseCode::kQueryNotFound,
              "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first");
}

Status OffsetHandler::check_commit(const OffsetCommits::Commit& commit) const {
    GANTRY_TRY(wire::check_group_name(commit.group));
    GANTRY_TRY(find_queue(commit.topic, commit.queue_id));
    if (commit.offset < 0) {
        return Error{Errc::kRefused,
                     "commitOffset " + std::to_string(commit.offset) + " < 0, topic[" +
                         std::string(commit.topic) + "]"};
    }
    return ok();
}

void OffsetHandler::update(Call& call, const wire::UpdateConsumerOffsetRequest& request) {
    const OffsetCommits::Commit commit{
        request.consumergroup(), request.topic(), request.queueid(), request.commitoffset()};
    if (const Status checked = check_commit(commit); !checked) {
        call.fail(checked.error(),
                  checked.error().code == Errc::kNotFound ? ResponseCode::kTopicNotExist
                                                          : ResponseCode::kSystemError);
        return;
    }
    call.loop.offsets().put(commit);
    if (call.to.is_oneway) {
        return;
    }
    call.loop.offsets().acknowledge(
        [&loop = call.loop, to = call.addressee()](const Status& status) {
            if (!status) {
                loop.fail(to, status.error());
                return;
            }
            const wire::EmptyFields fields;
            loop.reply(to, ResponseCode::kSuccess, {}, &fields);
        });
}

std::string OffsetHandler::fenced(const wire::CommitOffsetsRequest& request) const {
    for (const auto& entry : request.offsets()) {
        const QueueLocks::Name name{request.consumergroup(), entry.topic(), entry.queueid()};
        if (context_.locks.is_fenced(name, entry.locktoken())) {
            return context_.locks.remark(name, entry.locktoken());
        }
    }
    return {};
}

void OffsetHandler::commit(Call& call, const wire::CommitOffsetsRequest& request) {
    for (const auto& entry : request.offsets()) {
        const Status checked =
            check_commit({request.consumergroup(), entry.topic(), entry.queueid(), entry.offset()});
        if (!checked) {
            call.fail(checked.error());
            return;
        }
    }
    std::string remark = fenced(request);
    if (!remark.empty()) {
        context_.counters.fenced.add();
    }
    for (const auto& entry : request.offsets()) {
        const std::string& group = request.consumergroup();
        if (context_.locks.is_fenced({group, entry.topic(), entry.queueid()}, entry.locktoken())) {
            continue;
        }
        if (!context_.shares->may_commit(
                group, entry.topic(), entry.queueid(), entry.granttoken())) {
            remark = "queue " + std::to_string(entry.queueid()) + " of topic " + entry.topic() +
                     " is no longer granted to the sender";
            continue;
        }
        call.loop.offsets().put(
            {group, entry.topic(), entry.queueid(), entry.offset(), entry.locktoken()});
    }
    if (call.to.is_oneway) {
        return;
    }
    call.loop.offsets().acknowledge(
        [this, &loop = call.loop, to = call.addressee(), request, remark](const Status& status) {
            if (!status) {
                loop.fail(to, status.error());
                return;
            }
            // A lock may have changed hands before the end of the pass: then it was dropped.
            const std::string why = remark.empty() ? fenced(request) : remark;
            loop.reply(to, why.empty() ? ResponseCode::kSuccess : ResponseCode::kFenced, why);
        });
}

void OffsetHandler::max_offset(Call& call, const wire::QueueRequest& request) {
    const Result<storage::Queue*> queue = find_queue(request.topic(), request.queueid());
    if (!queue) {
        fail_lookup(call, queue.error());
        return;
    }
    reply_offset(call, context_.store->confirmed_max(**queue).value);
}

void OffsetHandler::min_offset(Call& call, const wire::QueueRequest& request) {
    const Result<storage::Queue*> queue = find_queue(request.topic(), request.queueid());
    if (!queue) {
        fail_lookup(call, queue.error());
        return;
    }
    reply_offset(call, (*queue)->min().value);
}

void OffsetHandler::earliest_time(Call& call, const wire::QueueRequest& request) {
    const Result<storage::Queue*> queue = find_queue(request.topic(), request.queueid());
    if (!queue && call.is_native()) {
        call.fail(queue.error());
        return;
    }
    answer_from_pool(call, [store = context_.store, at = queue.value_or(nullptr)] {
        auto fields = std::make_shared<wire::TimestampResponse>();
        fields->set_timestamp(at == nullptr ? -1 : store->store_time_at(*at, at->min()));
        Answer answer;
        answer.fields = std::move(fields);
        return answer;
    });
}

void OffsetHandler::search(Call& call, const wire::SearchOffsetRequest& request) {
    const Result<storage::Queue*> queue = find_queue(request.topic(), request.queueid());
    if (!queue) {
        fail_lookup(call, queue.error());
        return;
    }
    const bool is_upper = ::strcasecmp(request.boundarytype().c_str(), "UPPER") == 0;
    answer_from_pool(call,
                     [store = context_.store, at = *queue, time = request.timestamp(), is_upper] {
                         auto fields = std::make_shared<wire::OffsetResponse>();
                         fields->set_offset(store->offset_by_time(*at, time, is_upper).value);
                         Answer answer;
                         answer.fields = std::move(fields);
                         return answer;
                     });
}

}  // namespace gantry::broker

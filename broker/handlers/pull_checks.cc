// SPDX-License-Identifier: Apache-2.0
// The part of the pull handler that says which pulls it refuses.
#include "broker/handlers/pull_handler.h"
#include "protocol/wire/names.h"
#include "storage/state_machine.h"

#include <utility>

namespace gantry::broker {

namespace {

using wire::ResponseCode;

constexpr std::int32_t kHasSubscription = 4;  // a bit of a pull's sysFlag

}  // namespace

bool PullHandler::is_refused(Call& call,
                             const wire::PullMessageRequest& request,
                             PullQuery& query) {
    std::optional<Refusal> refusal = check_group(call, request);
    if (!refusal) {
        refusal = check_queue(call, request, query);
    }
    if (!refusal) {
        refusal = check_subscription(call, request, query);
    }
    if (refusal) {
        call.fail(refusal->code, refusal->remark);
    }
    return refusal.has_value();
}

std::optional<PullHandler::Refusal> PullHandler::check_group(
    const Call& call, const wire::PullMessageRequest& request) const {
    // Native consumers that neither subscribe nor commit belong to no group.
    if (request.consumergroup().empty()) {
        return std::nullopt;
    }
    const auto group = context_.store->state().group(request.consumergroup());
    if (!group) {
        if (const Status named = wire::check_group_name(request.consumergroup()); !named) {
            return Refusal{
                call.is_native() ? ResponseCode::kInvalidParameter : ResponseCode::kSystemError,
                named.error().detail};
        }
    }
    if (!group && !context_.options.group_auto_create) {
        return Refusal{ResponseCode::kSubscriptionGroupNotExist,
                       "subscription group [" + request.consumergroup() + "] does not exist"};
    }
    if (group && !group->consumeenable()) {
        return Refusal{ResponseCode::kNoPermission,
                       "subscription group no permission, " + request.consumergroup()};
    }
    return std::nullopt;
}

std::optional<PullHandler::Refusal> PullHandler::check_queue(
    const Call& call, const wire::PullMessageRequest& request, PullQuery& query) const {
    query.topic = context_.store->find_topic(request.topic());
    if (query.topic == nullptr || request.topic() == storage::kStateTopic) {
        return Refusal{ResponseCode::kTopicNotExist,
                       "topic[" + request.topic() + "] not exist, apply first please!"};
    }
    if ((query.topic->perm() & storage::perm::kRead) == 0) {
        return Refusal{ResponseCode::kNoPermission,
                       "the topic[" + request.topic() + "] pulling message is forbidden"};
    }
    if (request.queueid() >= 0 && request.queueid() < query.topic->read_queues()) {
        query.queue = query.topic->queue(request.queueid());
    }
    if (query.queue == nullptr) {
        return Refusal{
            call.is_native() ? ResponseCode::kInvalidParameter : ResponseCode::kSystemError,
            "queueId[" + std::to_string(request.queueid()) + "] is illegal, topic:[" +
                request.topic() + "] topicConfig.readQueueNums:[" +
                std::to_string(query.topic->read_queues()) + "] consumer:[" +
                call.frame.connection.peer() + "]"};
    }
    if (request.queueoffset() < 0) {
        return Refusal{
            call.is_native() ? ResponseCode::kInvalidParameter : ResponseCode::kSystemError,
            "queueOffset " + std::to_string(request.queueoffset()) + " < 0"};
    }
    query.from = QueueOffset(request.queueoffset());
    const QueueLocks::Name lock{request.consumergroup(), request.topic(), request.queueid()};
    if (context_.locks.is_fenced(lock, request.locktoken())) {
        context_.counters.fenced.add();
        return Refusal{ResponseCode::kFenced, context_.locks.remark(lock, request.locktoken())};
    }
    return std::nullopt;
}

PullHandler::Refusal PullHandler::refusal_of(const Error& error, const PullQuery& query) {
    if (error.code == Errc::kUnsupported) {
        const bool is_native = query.to.to.codec == wire::Codec::kNative;
        return {is_native ? ResponseCode::kRequestCodeNotSupported : ResponseCode::kSystemError,
                error.detail};
    }
    return {ResponseCode::kSubscriptionParseFailed,
            "parse the consumer's subscription failed: " + error.detail};
}

std::optional<PullHandler::Refusal> PullHandler::check_subscription(
    const Call& call, const wire::PullMessageRequest& request, PullQuery& query) const {
    if ((request.sysflag() & kHasSubscription) != 0) {
        Result<MessageFilter> filter = parse_expression(
            {request.expressiontype(), request.subscription()}, context_.sql_filters);
        if (!filter) {
            return refusal_of(filter.error(), query);
        }
        query.filter = std::move(filter).value();
        return std::nullopt;
    }
    const GroupRegistry::Found found =
        context_.groups.subscription(request.consumergroup(), request.topic(), call.peer.id);
    if (found.status == GroupRegistry::Lookup::kNoGroup) {
        return Refusal{ResponseCode::kSubscriptionNotExist,
                       "the consumer's group info not exist, group: " + request.consumergroup()};
    }
    const auto group = context_.store->state().group(request.consumergroup());
    if (found.is_broadcast && group && !group->consumebroadcastenable()) {
        return Refusal{
            ResponseCode::kNoPermission,
            "the consumer group[" + request.consumergroup() + "] can not consume by broadcast way"};
    }
    if (found.status == GroupRegistry::Lookup::kNoTopic) {
        return Refusal{ResponseCode::kSubscriptionNotExist,
                       "the consumer's subscription not exist, group: " + request.consumergroup() +
                           ", topic: " + request.topic()};
    }
    if (found.subscription->data.subversion() < request.subversion()) {
        return Refusal{ResponseCode::kSubscriptionNotLatest,
                       "the consumer's subscription not latest, group: " + request.consumergroup() +
                           ", topic: " + request.topic()};
    }
    const Error& error = found.subscription->error;
    if (!error.detail.empty()) {
        return refusal_of(error, query);
    }
    query.filter = found.subscription->filter;
    return std::nullopt;
}

}  // namespace gantry::broker

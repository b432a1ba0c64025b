// SPDX-License-Identifier: Apache-2.0
#include "broker/pop/pop_handler.h"

#include "broker/dispatcher.h"
#include "broker/loop_state.h"
#include "broker/pop/pop_receipt.h"
#include "protocol/wire/header.h"
#include "protocol/wire/names.h"
#include "storage/state_machine.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

namespace {

using storage::OffsetSpan;
using wire::RequestCode;
using wire::ResponseCode;

constexpr std::int32_t kStockCountMax = 32;
constexpr std::int32_t kCountMax = 65'536;
constexpr std::uint32_t kStockBytesMax = 256U << 10U;
constexpr std::int32_t kNativeBytesMax = 8 << 20;
constexpr std::int64_t kPollMsMax = 120'000;
constexpr std::int32_t kBeginAtEnd = 1;
constexpr int kSettlesMax = 65'536;

/// The number stock clients know, or Gantry's.
ResponseCode refused(const Call& call, ResponseCode stock) {
    return call.is_native() ? ResponseCode::kInvalidParameter : stock;
}

std::string not_within(std::string_view field, std::int64_t value, std::int64_t max) {
    return std::string(field) + ' ' + std::to_string(value) + " is not within 1 to " +
           std::to_string(max);
}

/// Of something that came in for `span`: the messages exist, or did.
bool exists(const storage::Queue& queue, OffsetSpan span) {
    return span.from.value >= 0 && span.from < span.end && span.end <= queue.max();
}

}  // namespace

void PopHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kPopMessage, *this, &PopHandler::pop);
    dispatcher.add(RequestCode::kAckMessage, *this, &PopHandler::acknowledge);
    dispatcher.add(RequestCode::kBatchAckMessage, *this, &PopHandler::acknowledge_many);
    dispatcher.add(RequestCode::kChangeMessageInvisibleTime, *this, &PopHandler::change_time);
    dispatcher.add(RequestCode::kSettlePops, *this, &PopHandler::settle);
}

void PopHandler::pop(Call& call, const wire::PopMessageRequest& request) {
    context_.counters.pops.asked.add();
    PopQuery query;
    std::optional<Refusal> refusal = check_group(call, request.consumergroup());
    if (!refusal) {
        refusal = check_topic(call, request.topic(), request.queueid(), query.topic);
    }
    if (!refusal) {
        refusal = check_numbers(call, request);
    }
    if (!refusal) {
        refusal = check_expression(call, request, query);
    }
    if (refusal) {
        call.fail(refusal->code, refusal->remark);
        return;
    }
    if (call.to.is_oneway) {
        return;
    }
    query.to = call.addressee();
    query.group = request.consumergroup();
    query.queue_id = request.queueid();
    query.count_max = static_cast<std::uint32_t>(request.maxmsgnums());
    query.bytes_max = kStockBytesMax;
    if (call.is_native() && request.maxmsgbytes() > 0) {
        query.bytes_max =
            static_cast<std::uint32_t>(std::min(request.maxmsgbytes(), kNativeBytesMax));
    }
    query.invisible_ms = request.invisibletime();
    query.begins_at_end = request.initmode() == kBeginAtEnd;
    query.may_wait = request.polltime() > 0;
    query.until = context_.clock.steady() +
                  std::chrono::milliseconds(std::min(request.polltime(), kPollMsMax));
    if (query.may_wait && call.loop.pop_parking().count() >=
                              static_cast<std::size_t>(context_.options.parked_pulls_max)) {
        call.fail(ResponseCode::kPollingFull,
                  "limits.parked_pulls_max " + std::to_string(context_.options.parked_pulls_max) +
                      " pops wait");
        return;
    }
    pops_.pop(std::move(query));
}

std::optional<PopHandler::Refusal> PopHandler::check_group(const Call& call,
                                                           const std::string& name) const {
    const auto group = context_.store->state().group(name);
    if (!group) {
        if (const Status named = wire::check_group_name(name); !named) {
            return Refusal{refused(call, ResponseCode::kSystemError), named.error().detail};
        }
        if (!context_.options.group_auto_create) {
            return Refusal{ResponseCode::kSubscriptionGroupNotExist,
                           "subscription group [" + name + "] does not exist"};
        }
    } else if (!group->consumeenable()) {
        return Refusal{ResponseCode::kNoPermission, "subscription group no permission, " + name};
    }
    return std::nullopt;
}

std::optional<PopHandler::Refusal> PopHandler::check_topic(const Call& call,
                                                           const std::string& name,
                                                           std::int32_t queue_id,
                                                           storage::Topic*& topic) const {
    topic = name == storage::kStateTopic ? nullptr : context_.store->find_topic(name);
    if (topic == nullptr) {
        return Refusal{ResponseCode::kTopicNotExist,
                       "topic[" + name + "] not exist, apply first please!"};
    }
    if ((topic->perm() & storage::perm::kRead) == 0) {
        return Refusal{ResponseCode::kNoPermission,
                       "the topic[" + name + "] pulling message is forbidden"};
    }
    if (queue_id < -1 || queue_id >= topic->read_queues()) {
        return Refusal{refused(call, ResponseCode::kSystemError),
                       "queueId[" + std::to_string(queue_id) + "] is illegal, topic:[" + name +
                           "] topicConfig.readQueueNums:[" + std::to_string(topic->read_queues()) +
                           "] consumer:[" + call.frame.connection.peer() + "]"};
    }
    return std::nullopt;
}

std::optional<PopHandler::Refusal> PopHandler::check_time(const Call& call,
                                                          std::int64_t invisible_ms) const {
    const std::int64_t max = context_.options.pop_invisible_ms_max;
    if (invisible_ms < 0 || invisible_ms > max) {
        return Refusal{refused(call, ResponseCode::kInvalidParameter),
                       "invisibleTime " + std::to_string(invisible_ms) +
                           " ms is not within 0 to pop.invisible_ms_max " + std::to_string(max)};
    }
    return std::nullopt;
}

std::optional<PopHandler::Refusal> PopHandler::check_numbers(
    const Call& call, const wire::PopMessageRequest& request) const {
    const std::int32_t count_max = call.is_native() ? kCountMax : kStockCountMax;
    if (request.maxmsgnums() < 1 || request.maxmsgnums() > count_max) {
        return Refusal{ResponseCode::kInvalidParameter,
                       not_within("maxMsgNums", request.maxmsgnums(), count_max)};
    }
    if (request.invisibletime() < 1) {
        return Refusal{
            ResponseCode::kInvalidParameter,
            not_within(
                "invisibleTime", request.invisibletime(), context_.options.pop_invisible_ms_max)};
    }
    if (request.order()) {
        return Refusal{
            call.is_native() ? ResponseCode::kRequestCodeNotSupported : ResponseCode::kSystemError,
            "order: this broker pops without order"};
    }
    return check_time(call, request.invisibletime());
}

std::optional<PopHandler::Refusal> PopHandler::check_expression(
    const Call& call, const wire::PopMessageRequest& request, PopQuery& query) const {
    if (request.exp().empty()) {
        return std::nullopt;
    }
    Result<MessageFilter> filter =
        parse_expression({request.exptype(), request.exp()}, context_.sql_filters);
    if (filter) {
        query.filter = std::move(*filter);
        return std::nullopt;
    }
    if (filter.error().code == Errc::kUnsupported) {
        return Refusal{
            call.is_native() ? ResponseCode::kRequestCodeNotSupported : ResponseCode::kSystemError,
            filter.error().detail};
    }
    return Refusal{ResponseCode::kSubscriptionParseFailed,
                   "parse the consumer's subscription failed: " + filter.error().detail};
}

template <class Request>
std::optional<PopHandler::Refusal> PopHandler::check_receipt(const Call& call,
                                                             const Request& request,
                                                             storage::Topic*& topic,
                                                             PopService::Piece& piece) const {
    if (auto refusal = check_topic(call, request.topic(), request.queueid(), topic)) {
        return refusal;
    }
    const Result<PopReceipt> receipt = parse_receipt(request.extrainfo());
    if (!receipt) {
        return Refusal{refused(call, ResponseCode::kMessageIllegal), receipt.error().detail};
    }
    if (request.queueid() < 0 || receipt->queue_id != request.queueid()) {
        return Refusal{refused(call, ResponseCode::kMessageIllegal),
                       "extraInfo is of queue " + std::to_string(receipt->queue_id) +
                           ", queueId is " + std::to_string(request.queueid())};
    }
    piece.queue_id = request.queueid();
    piece.pop_ms = receipt->pop_ms;
    piece.span = {QueueOffset(request.offset()), QueueOffset(request.offset()) + 1};
    const storage::Queue& queue = *topic->queue(request.queueid());
    if (!exists(queue, piece.span)) {
        return Refusal{ResponseCode::kNoMessage,
                       "offset " + std::to_string(request.offset()) + " is not within 0 to " +
                           std::to_string(queue.max().value - 1)};
    }
    return std::nullopt;
}

void PopHandler::acknowledge(Call& call, const wire::AckMessageRequest& request) {
    storage::Topic* topic = nullptr;
    PopService::Piece piece;
    if (const auto refusal = check_receipt(call, request, topic, piece)) {
        call.fail(refusal->code, refusal->remark);
        return;
    }
    pops_.acknowledge(request.consumergroup(), topic->name(), piece);
    call.reply();
}

std::optional<PopHandler::Refusal> PopHandler::check_ack(
    const Call& call, const wire::BatchAckRequestBody::Ack& ack) const {
    storage::Topic* topic = nullptr;
    if (auto refusal = check_topic(call, ack.t(), ack.q(), topic)) {
        return refusal;
    }
    if (ack.q() < 0 || ack.so() < 0) {
        return Refusal{refused(call, ResponseCode::kMessageIllegal),
                       "queueId " + std::to_string(ack.q()) + " or startOffset " +
                           std::to_string(ack.so()) + " < 0"};
    }
    const auto spans = parse_ack_bits(ack.b(), QueueOffset(ack.so()));
    if (!spans) {
        return Refusal{refused(call, ResponseCode::kMessageIllegal), spans.error().detail};
    }
    return std::nullopt;
}

/// All are looked at before any is taken.
void PopHandler::acknowledge_many(Call& call) {
    wire::BatchAckRequestBody body;
    if (const Status decoded = wire::decode_body(call.to.codec, call.body(), body); !decoded) {
        call.fail({Errc::kRefused, "body: " + decoded.error().detail},
                  ResponseCode::kMessageIllegal);
        return;
    }
    for (const auto& ack : body.acks()) {
        if (const auto refusal = check_ack(call, ack)) {
            call.fail(refusal->code, refusal->remark);
            return;
        }
    }
    for (const auto& ack : body.acks()) {
        const auto spans = parse_ack_bits(ack.b(), QueueOffset(ack.so()));
        for (const OffsetSpan& span : *spans) {
            pops_.acknowledge(ack.c(), ack.t(), {ack.q(), span, ack.pt()});
        }
    }
    call.reply();
}

void PopHandler::change_time(Call& call, const wire::ChangeInvisibleTimeRequest& request) {
    storage::Topic* topic = nullptr;
    PopService::Piece piece;
    std::optional<Refusal> refusal = check_receipt(call, request, topic, piece);
    if (!refusal) {
        refusal = check_time(call, request.invisibletime());
    }
    if (refusal) {
        call.fail(refusal->code, refusal->remark);
        return;
    }
    const PopService::Renewed renewed = pops_.renew(
        call.loop, request.consumergroup(), *topic, piece, {request.invisibletime(), true, false});
    if (renewed.count == 0) {
        call.fail(refused(call, ResponseCode::kMessageIllegal),
                  "the message at offset " + std::to_string(request.offset()) +
                      " is acknowledged, or was handed out to another consumer");
        return;
    }
    pops_.replies(call.loop).add([&loop = call.loop,
                                  to = call.addressee(),
                                  pop_ms = renewed.pop_ms,
                                  invisible_ms = request.invisibletime()] {
        wire::ChangeInvisibleTimeResponse fields;
        fields.set_poptime(pop_ms);
        fields.set_invisibletime(invisible_ms);
        fields.set_reviveqid(0);
        loop.reply(to, ResponseCode::kSuccess, {}, &fields);
    });
}

std::optional<PopHandler::Refusal> PopHandler::check_settles(
    const Call& call, const wire::SettlePopsRequest& request) const {
    storage::Topic* topic = nullptr;
    if (auto refusal = check_topic(call, request.topic(), -1, topic)) {
        return refusal;
    }
    if (request.settles_size() > kSettlesMax) {
        return Refusal{ResponseCode::kInvalidParameter,
                       not_within("number of settles", request.settles_size(), kSettlesMax)};
    }
    for (const auto& settle : request.settles()) {
        if (settle.queueid() < 0 || settle.queueid() >= topic->read_queues()) {
            return Refusal{ResponseCode::kInvalidParameter,
                           "queueId " + std::to_string(settle.queueid()) + " is not within 0 to " +
                               std::to_string(topic->read_queues() - 1)};
        }
        const storage::Queue& queue = *topic->queue(settle.queueid());
        if (settle.from() < 0 || settle.count() < 1 ||
            settle.count() > queue.max().value - settle.from()) {
            return Refusal{ResponseCode::kNoMessage,
                           "from " + std::to_string(settle.from()) + ", count " +
                               std::to_string(settle.count()) +
                               " are not within the queue's 0 to " +
                               std::to_string(queue.max().value)};
        }
        if (settle.has_invisibletime()) {
            if (auto refusal = check_time(call, settle.invisibletime())) {
                return refusal;
            }
        }
    }
    return std::nullopt;
}

void PopHandler::settle(Call& call, const wire::SettlePopsRequest& request) {
    if (const auto refusal = check_settles(call, request)) {
        call.fail(refusal->code, refusal->remark);
        return;
    }
    const storage::Topic& topic = *context_.store->find_topic(request.topic());
    auto response = std::make_shared<wire::SettlePopsResponse>();
    bool has_renewed = false;
    for (const auto& settle : request.settles()) {
        const QueueOffset from(settle.from());
        const PopService::Piece piece{
            settle.queueid(), {from, from + settle.count()}, settle.poptime()};
        if (!settle.has_invisibletime()) {
            response->add_settled(pops_.acknowledge(request.consumergroup(), topic.name(), piece));
            continue;
        }
        has_renewed = true;
        const PopService::Renewed renewed =
            pops_.renew(call.loop,
                        request.consumergroup(),
                        topic,
                        piece,
                        {settle.invisibletime(), false, settle.undelivered()});
        response->add_settled(renewed.count);
    }
    if (!has_renewed) {
        call.reply(response.get());
        return;
    }
    pops_.replies(call.loop).add([&loop = call.loop, to = call.addressee(), response] {
        loop.reply(to, ResponseCode::kSuccess, {}, response.get());
    });
}

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "broker/reply/reply_handler.h"

#include "broker/dispatcher.h"
#include "broker/flow/flow_gate.h"
#include "broker/topic_creator.h"
#include "common/log.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/names.h"
#include "protocol/wire/properties.h"

#include <memory>

namespace gantry::broker {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

constexpr Logger kLog("broker");
constexpr std::int32_t kReadWrite = storage::perm::kRead | storage::perm::kWrite;
constexpr std::string_view kTopicSuffix = "_REPLY_TOPIC";

/// The reply as whoever asked gets it.
wire::PushReplyMessageRequest push_of(const Context& context,
                                      const wire::SendMessageRequest& request,
                                      const net::Connection& from) {
    const WallMs now = context.clock.wall_ms();
    std::string properties = request.properties();
    if (!properties.empty() && properties.back() != wire::kPropertySeparator) {
        properties += wire::kPropertySeparator;
    }
    static_cast<void>(
        wire::append_property(properties, wire::property::kReplyPushedAt, std::to_string(now)));
    wire::PushReplyMessageRequest push;
    push.set_producergroup(request.producergroup());
    push.set_topic(request.topic());
    push.set_defaulttopic(request.defaulttopic());
    push.set_defaulttopicqueuenums(request.defaulttopicqueuenums());
    push.set_queueid(request.queueid());
    push.set_sysflag(request.sysflag());
    push.set_borntimestamp(request.borntimestamp());
    push.set_flag(request.flag());
    push.set_properties(std::move(properties));
    push.set_reconsumetimes(request.reconsumetimes());
    push.set_unitmode(request.unitmode());
    push.set_bornhost(from.peer());
    push.set_storehost(context.address);
    push.set_storetimestamp(now);
    return push;
}

}  // namespace

std::string reply_topic(const BrokerOptions& options) {
    return options.cluster + std::string(kTopicSuffix);
}

void ReplyHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kSendReplyMessage, *this, &ReplyHandler::reply);
    dispatcher.add(RequestCode::kSendReplyMessageV2, *this, &ReplyHandler::reply);
}

Status ReplyHandler::open(LoopState& loop) {
    topic_ = reply_topic(context_.options);
    if (const Status named = wire::check_topic_name(topic_); !named) {
        kLog.warn("no_reply_topic", {{"error", named.error()}});
        topic_.clear();
        return ok();
    }
    // A store that takes no writes serves all the same: replies are pushed, and not stored.
    if (const auto made = creator_.ensure(loop, topic_, 1, kReadWrite); !made) {
        kLog.warn("reply_topic_not_created", {{"error", made.error()}});
    }
    return ok();
}

Status ReplyHandler::check(const Call& call, const Request& request) const {
    const auto bytes_max = static_cast<std::size_t>(context_.options.message_bytes_max);
    if (call.body().size() > bytes_max) {
        return Error{Errc::kRefused,
                     "the reply is illegal: body " + std::to_string(call.body().size()) +
                         " B > limits.message_bytes_max " + std::to_string(bytes_max) + " B"};
    }
    if (request.properties().size() > wire::kPropertiesBytesMax) {
        return Error{Errc::kRefused,
                     "the reply is illegal: properties " +
                         std::to_string(request.properties().size()) + " B > " +
                         std::to_string(wire::kPropertiesBytesMax) + " B"};
    }
    return ok();
}

void ReplyHandler::reply(Call& call, const Request& request) {
    if (const Status checked = check(call, request); !checked) {
        call.fail(checked.error(), ResponseCode::kMessageIllegal);
        return;
    }
    const FlowAmount amount{1, static_cast<std::int64_t>(call.body().size())};
    if (const auto limited = call.loop.flow().refuses(call.peer, topic_, amount)) {
        refuse(call, *limited, ResponseCode::kSystemBusy);
        return;
    }
    const std::string_view who =
        wire::find_property(request.properties(), wire::property::kReplyTo);
    if (who.empty()) {
        call.fail({Errc::kRefused, "REPLY_TO_CLIENT is null, can not reply message"},
                  ResponseCode::kSystemError);
        return;
    }
    const auto receiver = context_.groups.client(who);
    if (!receiver) {
        context_.counters.replies.unserved.add();
        call.fail(call.is_native() ? ResponseCode::kConsumerNotOnline : ResponseCode::kSystemError,
                  "push reply message fail, channel of <" + std::string(who) + "> not found.");
        return;
    }
    push(call, request, *receiver);
    call.loop.flow().sent(call.peer, topic_, amount);
    store(call, request);
}

void ReplyHandler::push(const Call& call,
                        const Request& request,
                        const GroupRegistry::Receiver& to) const {
    const auto fields = std::make_shared<const wire::PushReplyMessageRequest>(
        push_of(context_, request, call.frame.connection));
    LoopState& home = *context_.loops[static_cast<std::size_t>(to.peer & kPeerLoopMask)];
    const auto send = [&home, to, fields](std::string_view body) {
        if (Peer* const peer = home.find_peer(to.peer)) {
            // Stock clients take callbacks in JSON only.
            const wire::Codec codec =
                to.codec == wire::Codec::kNative ? wire::Codec::kNative : wire::Codec::kJson;
            peer->connection->send_oneway(
                codec, RequestCode::kPushReplyMessageToClient, fields.get(), body);
        }
    };
    context_.counters.replies.pushed.add();
    if (&home == &call.loop) {
        send(as_text(call.body()));
        return;
    }
    home.post(
        [send, body = std::make_shared<const std::string>(as_text(call.body()))] { send(*body); });
}

void ReplyHandler::store(Call& call, const Request& request) {
    wire::SendMessageResponse response;
    response.set_msgid("0");
    response.set_queueid(0);
    response.set_queueoffset(0);
    storage::Topic* const topic = context_.store->find_topic(topic_);
    storage::Queue* const queue = topic == nullptr ? nullptr : topic->queue(0);
    if (!context_.options.reply_store || queue == nullptr || !call.loop.room_for_message()) {
        call.reply(&response);
        return;
    }
    wire::Record record;
    record.topic = queue->topic;
    record.flag = request.flag();
    record.sys_flag = request.sysflag();
    record.born_ms = request.borntimestamp();
    record.born_host = call.frame.connection.peer_host();
    record.body = call.body();
    record.properties = request.properties();
    const Result<storage::Appended> stored = context_.store->append_messages(*queue, {&record, 1});
    if (!stored) {
        // It was pushed, which is what the one who asked waits for.
        kLog.debug("reply_not_stored", {{"error", stored.error()}});
        call.reply(&response);
        return;
    }
    call.loop.appended(*queue, stored->end);
    context_.counters.messages_in.add();
    context_.counters.bytes_in.add(static_cast<std::uint64_t>(stored->end - stored->first));
    response.set_msgid(wire::format_message_id({context_.store_host, stored->first}));
    response.set_queueoffset(stored->queue_offset.value);
    call.loop.when_durable(
        stored->end, [&loop = call.loop, to = call.addressee(), response](const Status& status) {
            if (status) {
                loop.reply(to, ResponseCode::kSuccess, {}, &response);
            } else {
                loop.fail(to, status.error(), ResponseCode::kFlushDiskTimeout, &response);
            }
        });
}

}  // namespace gantry::broker

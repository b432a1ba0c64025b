// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/send_handler.h"

#include "broker/dispatcher.h"
#include "broker/timers/delayed_frames.h"
#include "broker/timers/delayed_message.h"
#include "broker/timers/timer_service.h"
#include "broker/topic_creator.h"
#include "broker/trace_topic.h"
#include "broker/transaction/transaction_service.h"
#include "protocol/wire/batch.h"
#include "protocol/wire/header.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/names.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/status.h"

#include <algorithm>

namespace gantry::broker {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

constexpr std::uint32_t kBatchMessagesMax = 65'536;
constexpr std::string_view kAutoCreateTopic = "TBW102";
constexpr std::int32_t kReadWrite = storage::perm::kRead | storage::perm::kWrite;

Error unknown_topic(std::string_view name) {
    return {Errc::kNotFound, "topic[" + std::string(name) + "] not exist, apply first please!"};
}

/// Stock peers' number for a failed send.
ResponseCode stock_code(Errc code) {
    return code == Errc::kRefused ? ResponseCode::kMessageIllegal
                                  : wire::response_code(code, wire::Codec::kJson);
}

Status check_writable(const Context& context, const storage::Topic& topic) {
    if ((topic.perm() & storage::perm::kWrite) == 0) {
        return Error{Errc::kDenied,
                     "the broker[" + context.address + "] sending message to topic[" +
                         topic.name() + "] is forbidden: perm " + std::to_string(topic.perm())};
    }
    return ok();
}

/// Only where a frame is larger than a message may be can one of its messages be too large.
Status check_body_sizes(Bytes records, std::int64_t bytes_max) {
    if (static_cast<std::int64_t>(records.size()) <= bytes_max) {
        return ok();
    }
    return wire::for_each_record(records, [&](const std::byte*, const wire::Record& r) -> Status {
        if (static_cast<std::int64_t>(r.body.size()) > bytes_max) {
            return Error{Errc::kRefused,
                         "body " + std::to_string(r.body.size()) +
                             " B > limits.message_bytes_max " + std::to_string(bytes_max) + " B"};
        }
        return ok();
    });
}

bool is_prepared(const wire::SendMessageRequest& request) {
    return (request.sysflag() & wire::sys_flag::kTransactionMask) != 0 ||
           wire::find_property(request.properties(), wire::property::kHalf) == "true";
}

}  // namespace

SendHandler::SendHandler(Context& context, TopicCreator& creator)
    : context_(context), creator_(creator) {}

void SendHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kSendRecords, *this, &SendHandler::send_records);
    dispatcher.add(RequestCode::kSendMessage, *this, &SendHandler::send_message);
    dispatcher.add(RequestCode::kSendMessageV2, *this, &SendHandler::send_message);
    dispatcher.add(RequestCode::kSendBatchMessage, *this, &SendHandler::send_message);
}

Result<storage::Topic*> SendHandler::find_topic(Call& call, std::string_view name) const {
    Peer& peer = call.peer;
    if (peer.topic != nullptr && peer.send_topic == name && !peer.topic->is_deleted()) {
        return peer.topic;
    }
    GANTRY_TRY(wire::check_topic_name(name));
    const bool is_trace = name == kTraceTopic && context_.options.trace_topic;
    if (wire::is_system_topic(name) && name != kAutoCreateTopic && !is_trace) {
        return Error{Errc::kDenied,
                     "Sending message to topic[" + std::string(name) + "] is forbidden."};
    }
    storage::Topic* const topic = context_.store->find_topic(name);
    if (topic == nullptr) {
        return unknown_topic(name);
    }
    peer.send_topic = name;
    peer.topic = topic;
    return topic;
}

Result<storage::Queue*> SendHandler::find_queue(storage::Topic& topic,
                                                std::int32_t queue_id) const {
    storage::Queue* const queue = queue_id < 0 ? nullptr : topic.queue(queue_id);
    if (queue == nullptr) {
        return Error{Errc::kRefused,
                     "request queueId[" + std::to_string(queue_id) + "] is illegal, topic[" +
                         topic.name() + "] has " + std::to_string(topic.write_queues()) +
                         " write and " + std::to_string(topic.read_queues()) + " read queues"};
    }
    return queue;
}

void SendHandler::send_records(Call& call) {
    wire::SendRecordsRequest& request = call.loop.send_request;
    if (!call.is_native()) {
        call.fail(ResponseCode::kRequestCodeNotSupported, "10001 is spoken natively only");
        return;
    }
    request.Clear();
    if (const Status decoded = wire::decode_fields(call.header(), request); !decoded) {
        call.fail(decoded.error());
        return;
    }
    if (const auto lacking = lacks_copies(call, request.topic())) {
        call.fail(ResponseCode::kInSyncTooFew, *lacking);
        return;
    }
    const FlowAmount amount{request.count(), static_cast<std::int64_t>(call.body().size())};
    std::optional<FlowRefusal> limited;
    std::optional<wire::SendRecordsResponse> delayed;
    const Result<storage::Appended> appended =
        append_frame(call, request, amount, limited, delayed);
    if (limited) {
        refuse(call, *limited, ResponseCode::kSystemBusy);
        return;
    }
    if (!appended) {
        refuse_records(call, appended.error());
        return;
    }
    if (appended->is_repeat) {
        answer_repeat(call, *appended, request.isdelayed());
        return;
    }
    context_.counters.messages_in.add(appended->count);
    context_.counters.bytes_in.add(call.body().size());
    call.loop.flow().sent(call.peer, request.topic(), amount);
    if (delayed) {
        reply_when_durable(call, appended->end, *delayed);
    } else {
        answer_stored(call, *appended);
    }
}

std::optional<std::string> SendHandler::lacks_copies(Call& call, std::string_view name) const {
    std::optional<std::string> why = call.loop.lacks_copies();
    if (!why) {
        return std::nullopt;
    }
    const Result<storage::Topic*> topic = find_topic(call, name);
    if ((topic ? call.loop.ack_at(**topic) : call.loop.ack_at()) == AckAt::kLocal) {
        return std::nullopt;
    }
    return *why + ", and replication of topic[" + std::string(name) + "] is sync";
}

void SendHandler::answer_stored(Call& call, const storage::Appended& appended) {
    const AckAt ack_at = call.loop.ack_at(*call.peer.topic);
    if (call.loop.is_acked_at_once(ack_at)) {
        wire::SendRecordsResponse& response = call.loop.send_response;
        response.set_queueoffset(appended.queue_offset.value);
        response.set_logoffset(appended.first.value);
        response.set_storetimestamp(appended.store_ms);
        call.reply(&response);
    } else {
        call.loop.acknowledge_send(call.addressee(), appended, ack_at);
    }
}

Result<storage::Appended> SendHandler::append_frame(
    Call& call,
    const wire::SendRecordsRequest& request,
    const FlowAmount& amount,
    std::optional<FlowRefusal>& limited,
    std::optional<wire::SendRecordsResponse>& delayed) {
    GANTRY_ASSIGN_OR_RETURN(storage::Topic* const topic, find_topic(call, request.topic()));
    GANTRY_TRY(check_writable(context_, *topic));
    GANTRY_TRY(call.loop.room_for_message());
    limited = call.loop.flow().refuses(call.peer, request.topic(), amount);
    if (limited) {
        return Error{Errc::kBusy, {}};
    }
    GANTRY_ASSIGN_OR_RETURN(storage::Queue* const queue, find_queue(*topic, request.queueid()));
    GANTRY_TRY(check_body_sizes(call.body(), context_.options.message_bytes_max));
    if (request.isdelayed()) {
        return store_delayed_frame(call, request, *queue, delayed.emplace());
    }
    GANTRY_ASSIGN_OR_RETURN(
        const storage::Appended appended,
        context_.store->append_records(*queue, call.body(), request.count(), request.haskeys()));
    if (!appended.is_repeat) {
        call.loop.appended(*queue, appended.end);
    }
    return appended;
}

void SendHandler::refuse_records(Call& call, const Error& error) {
    if (error.code != Errc::kConflict && error.code != Errc::kGone) {
        call.fail(error);
        return;
    }
    context_.counters.sends_misnumbered.add();
    call.fail(
        error.code == Errc::kConflict ? ResponseCode::kSequenceGap : ResponseCode::kNumbersUnknown,
        error.detail);
}

/// The first one may not be durable yet, or never become so.
void SendHandler::answer_repeat(Call& call, const storage::Appended& stored, bool is_delayed) {
    context_.counters.sends_repeated.add();
    if (!call.loop.is_acked(call.loop.ack_at(*call.peer.topic), stored.end)) {
        if (const std::string reason = context_.store->read_only_reason(); !reason.empty()) {
            call.fail({Errc::kUnknown, "may or may not be stored: " + reason});
            return;
        }
    }
    if (is_delayed) {
        answer_delayed_repeat(call, stored);
        return;
    }
    wire::SendRecordsResponse response;
    response.set_queueoffset(stored.queue_offset.value);
    response.set_logoffset(stored.first.value);
    response.set_storetimestamp(stored.store_ms);
    reply_when_durable(call, stored.end, response);
}

void SendHandler::reply_when_durable(Call& call,
                                     LogOffset end,
                                     const wire::SendRecordsResponse& response) {
    const AckAt ack_at = call.loop.ack_at(*call.peer.topic);
    call.loop.when_acked(
        ack_at, end, [&loop = call.loop, to = call.addressee(), response](const Status& status) {
            if (status) {
                loop.reply(to, ResponseCode::kSuccess, {}, &response);
            } else {
                loop.fail(to, status.error());
            }
        });
}

Result<storage::Topic*> SendHandler::topic_for_stock(Call& call, const Request& request) const {
    Result<storage::Topic*> topic = find_topic(call, request.topic());
    if (topic || topic.error().code != Errc::kNotFound) {
        return topic;
    }
    if (request.topic().starts_with(wire::kRetryPrefix)) {
        return creator_.ensure_retry(
            call.loop, std::string_view(request.topic()).substr(wire::kRetryPrefix.size()));
    }
    if (!context_.options.topic_auto_create || request.topic() == kAutoCreateTopic) {
        return topic;
    }
    const auto queues = std::clamp<std::int64_t>(
        request.defaulttopicqueuenums(), 1, context_.options.topic_auto_create_queues);
    return creator_.ensure(
        call.loop, request.topic(), static_cast<std::int32_t>(queues), kReadWrite);
}

bool SendHandler::is_dead(const Call& call, const Request& request) const {
    constexpr std::int32_t kSendsOwnMaximum = 121;  // clients from 3.4.9 on
    if (!request.topic().starts_with(wire::kRetryPrefix)) {
        return false;
    }
    const auto group = context_.store->state().group(
        std::string_view(request.topic()).substr(wire::kRetryPrefix.size()));
    std::int32_t maximum = group ? group->retrymaxtimes() : 16;
    if (request.has_maxreconsumetimes() && call.header().version >= kSendsOwnMaximum) {
        maximum = request.maxreconsumetimes();
    }
    return request.reconsumetimes() > maximum;
}

void SendHandler::send_message(Call& call, const Request& request) {
    const bool is_half = is_prepared(request);
    if (is_half && (request.batch() || request.topic().starts_with(wire::kRetryPrefix))) {
        call.fail({Errc::kRefused,
                   "a half message in a batch, or for the retry topic " + request.topic()},
                  ResponseCode::kMessageIllegal);
        return;
    }
    if (const auto lacking = lacks_copies(call, request.topic())) {
        call.fail(ResponseCode::kServiceNotAvailable, *lacking);
        return;
    }
    AckAt ack_at = call.loop.ack_at();
    const auto prepare = [&]() -> Result<storage::Queue*> {
        GANTRY_TRY(call.loop.room_for_message());
        GANTRY_ASSIGN_OR_RETURN(storage::Topic * topic, topic_for_stock(call, request));
        ack_at = call.loop.ack_at(*topic);
        GANTRY_TRY(check_writable(context_, *topic));
        if (is_dead(call, request)) {
            GANTRY_ASSIGN_OR_RETURN(
                topic,
                creator_.ensure_dead_letter(
                    call.loop,
                    std::string_view(request.topic()).substr(wire::kRetryPrefix.size())));
            context_.counters.dead_letters.add();
            return find_queue(*topic, 0);
        }
        const auto writable = static_cast<std::uint64_t>(std::max(topic->write_queues(), 1));
        const auto picked = static_cast<std::int32_t>(call.loop.random().below(writable));
        return find_queue(*topic, request.queueid() < 0 ? picked : request.queueid());
    };
    const Result<storage::Queue*> queue = prepare();
    if (!queue) {
        const bool is_refused = queue.error().code == Errc::kRefused;
        call.fail(queue.error(),
                  is_refused ? ResponseCode::kSystemError : stock_code(queue.error().code));
        return;
    }
    std::vector<std::string> properties;
    Result<std::vector<wire::Record>> records = records_of(call, request, properties);
    if (!records) {
        call.fail(records.error(), ResponseCode::kMessageIllegal);
        return;
    }
    for (wire::Record& record : *records) {
        record.topic = (*queue)->topic;
        record.queue_id = (*queue)->queue_id;
    }
    const FlowAmount amount{static_cast<std::int64_t>(records->size()),
                            static_cast<std::int64_t>(call.body().size())};
    if (const auto limited = call.loop.flow().refuses(call.peer, request.topic(), amount)) {
        refuse(call, *limited, ResponseCode::kSystemBusy);
        return;
    }
    if (is_half) {
        store_half(call, request, records->front());
    } else {
        store_stock(call, request, **queue, *records, ack_at);
    }
}

Result<std::vector<wire::Record>> SendHandler::records_of(
    const Call& call, const Request& request, std::vector<std::string>& properties) const {
    const auto bytes_max = static_cast<std::size_t>(context_.options.message_bytes_max);
    if (call.body().size() > bytes_max) {
        return Error{Errc::kRefused,
                     "the message is illegal: body " + std::to_string(call.body().size()) +
                         " B > limits.message_bytes_max " + std::to_string(bytes_max) + " B"};
    }
    std::vector<wire::BatchElement> elements;
    if (request.batch()) {
        if (request.topic().starts_with(wire::kRetryPrefix)) {
            return Error{Errc::kRefused, "a batch to the retry topic " + request.topic()};
        }
        GANTRY_ASSIGN_OR_RETURN(elements, wire::parse_batch(call.body(), kBatchMessagesMax));
        if (elements.empty()) {
            return Error{Errc::kRefused, "the message is illegal: a batch without messages"};
        }
    } else {
        elements.push_back({request.flag(), call.body(), request.properties()});
    }
    std::vector<wire::Record> records;
    records.reserve(elements.size());
    properties.reserve(elements.size());
    for (const wire::BatchElement& element : elements) {
        std::string& text = properties.emplace_back(element.properties);
        if (!text.empty() && text.back() != wire::kPropertySeparator) {
            text += wire::kPropertySeparator;
        }
        GANTRY_TRY(wire::append_property(text, wire::property::kCluster, context_.options.cluster));
        if (text.size() > wire::kPropertiesBytesMax) {
            return Error{Errc::kRefused,
                         "the message is illegal: properties " + std::to_string(text.size()) +
                             " B > " + std::to_string(wire::kPropertiesBytesMax) + " B"};
        }
        wire::Record& record = records.emplace_back();
        record.flag = element.flag;
        record.sys_flag = request.sysflag();
        record.born_ms = request.borntimestamp();
        record.born_host = call.frame.connection.peer_host();
        record.reconsume_times = request.reconsumetimes();
        record.body = element.body;
        record.properties = text;
    }
    return records;
}

void SendHandler::store_stock(Call& call,
                              const Request& request,
                              storage::Queue& queue,
                              std::vector<wire::Record>& records,
                              AckAt ack_at) {
    const bool may_wait = !request.batch() && !queue.topic.starts_with(wire::kDeadLetterPrefix);
    Result<std::optional<WallMs>> due = std::optional<WallMs>();
    if (may_wait) {
        due = due_of(request.properties(), context_.clock.wall_ms(), context_.options.delay_ms_max);
    }
    if (!due) {
        call.fail(due.error(), ResponseCode::kMessageIllegal);
        return;
    }
    WaitingMessage waiting;
    if (*due) {
        waiting = wait_until_due(records[0], **due, &call.loop.random());
        records[0] = waiting.record;
        records[0].properties = waiting.properties;
    }
    const Result<storage::Appended> appended =
        *due ? context_.timers->store(call.loop, waiting)
             : context_.store->append_messages(queue, records);
    if (!appended) {
        call.fail(appended.error(), stock_code(appended.error().code));
        return;
    }
    wire::SendMessageResponse response = response_of(queue.queue_id, *appended, records);
    if (*due) {
        response.set_recallhandle(recall_handle_of(waiting.properties, context_.options.name));
    } else {
        call.loop.appended(queue, appended->end);
    }
    acknowledge(call, request, *appended, response, ack_at);
}

/// A delay of it counts from its commit on.
void SendHandler::store_half(Call& call, const Request& request, const wire::Record& message) {
    const auto due =
        due_of(request.properties(), context_.clock.wall_ms(), context_.options.delay_ms_max);
    if (!due) {
        call.fail(due.error(), ResponseCode::kMessageIllegal);
        return;
    }
    const Result<storage::Appended> appended =
        context_.transactions->store_half(call.loop, message, request.producergroup());
    if (!appended) {
        call.fail(appended.error(), stock_code(appended.error().code));
        return;
    }
    wire::SendMessageResponse response = response_of(message.queue_id, *appended, {message});
    response.set_transactionid(
        std::string(wire::find_property(request.properties(), wire::property::kUniqueKey)));
    acknowledge(call, request, *appended, response, call.loop.ack_at());
}

void SendHandler::acknowledge(Call& call,
                              const Request& request,
                              const storage::Appended& appended,
                              const wire::SendMessageResponse& response,
                              AckAt ack_at) {
    context_.counters.messages_in.add(appended.count);
    context_.counters.bytes_in.add(static_cast<std::uint64_t>(appended.end - appended.first));
    call.loop.flow().sent(call.peer,
                          request.topic(),
                          {appended.count, static_cast<std::int64_t>(call.body().size())});
    const bool waits = wire::find_property(request.properties(), wire::property::kWait) != "false";
    if (!waits || call.loop.is_acked_at_once(ack_at)) {
        call.reply(&response);
        return;
    }
    call.loop.when_acked(
        ack_at,
        appended.end,
        [this, &loop = call.loop, to = call.addressee(), response](const Status& status) {
            if (status) {
                loop.reply(to, ResponseCode::kSuccess, {}, &response);
                return;
            }
            const bool is_deposed = !context_.replica->may_acknowledge();
            const ResponseCode stock =
                is_deposed ? ResponseCode::kFlushSlaveTimeout : ResponseCode::kFlushDiskTimeout;
            loop.fail(to, status.error(), stock, &response);
        });
}

wire::SendMessageResponse SendHandler::response_of(std::int32_t queue_id,
                                                   const storage::Appended& appended,
                                                   const std::vector<wire::Record>& records) const {
    std::string ids;
    LogOffset at = appended.first;
    for (const wire::Record& record : records) {
        if (!ids.empty()) {
            ids += ',';
        }
        ids += wire::format_message_id({context_.store_host, at});
        at += static_cast<std::int64_t>(wire::record_bytes(record));
    }
    wire::SendMessageResponse response;
    response.set_msgid(std::move(ids));
    response.set_queueid(queue_id);
    response.set_queueoffset(appended.queue_offset.value);
    response.set_msg_region("DefaultRegion");
    response.set_trace_on(context_.options.trace_topic ? "true" : "false");
    return response;
}

}  // namespace gantry::broker

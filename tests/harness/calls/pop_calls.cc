// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/calls/pop_calls.h"

#include "protocol/wire/record.h"

#include <map>
#include <sstream>
#include <utility>

namespace gantry::harness {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
    std::vector<std::string> parts;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, separator);) {
        parts.push_back(part);
    }
    return parts;
}

/// What startOffsetInfo and msgOffsetInfo say of each queue.
std::map<std::int32_t, std::string> by_queue(const std::string& info) {
    std::map<std::int32_t, std::string> values;
    for (const std::string& entry : split(info, ';')) {
        const std::vector<std::string> fields = split(entry, ' ');
        if (fields.size() == 3) {
            values[std::stoi(fields[1])] = fields[2];
        }
    }
    return values;
}

template <class Request>
Request receipt_request(const PoppedRecord& message, const std::string& group) {
    Request request;
    request.set_consumergroup(group);
    request.set_topic(message.topic);
    request.set_queueid(message.queue_id);
    request.set_extrainfo(message.extra_info);
    request.set_offset(message.offset);
    return request;
}

}  // namespace

wire::PopMessageRequest pop_of(const PopAsk& ask) {
    wire::PopMessageRequest request;
    request.set_consumergroup(ask.group);
    request.set_topic(ask.topic);
    request.set_queueid(ask.queue_id);
    request.set_maxmsgnums(ask.count);
    request.set_invisibletime(ask.invisible_ms);
    request.set_polltime(ask.poll_ms);
    request.set_borntime(0);
    request.set_initmode(ask.begins_at_end ? 1 : 0);
    if (!ask.expression.empty()) {
        request.set_exptype(ask.expression_type);
        request.set_exp(ask.expression);
    }
    return request;
}

std::string Popped::summary() const {
    std::string text = std::to_string(static_cast<std::int32_t>(answer.code));
    for (const PoppedRecord& message : messages) {
        text += ' ' + message.body;
    }
    return answer.transport ? text : answer.summary();
}

Popped popped_of(Answer answer) {
    Popped popped;
    popped.fields = answer.fields<wire::PopMessageResponse>();
    const auto starts = by_queue(popped.fields.startoffsetinfo());
    const auto offsets = by_queue(popped.fields.msgoffsetinfo());
    std::map<std::int32_t, std::size_t> seen;
    (void)wire::for_each_record(
        as_bytes(answer.body), [&](const std::byte*, const wire::Record& record) {
            PoppedRecord& message = popped.messages.emplace_back();
            message.topic = record.topic;
            message.body = as_text(record.body);
            message.queue_id = record.queue_id;
            message.offset = record.queue_offset.value;
            message.reconsume_times = record.reconsume_times;
            message.pop_time = popped.fields.poptime();
            std::string start = "0";
            std::string offset = std::to_string(message.offset);
            if (starts.contains(record.queue_id)) {
                start = starts.at(record.queue_id);
                const auto listed = split(offsets.at(record.queue_id), ',');
                const std::size_t index = seen[record.queue_id]++;
                offset = index < listed.size() ? listed[index] : "none";
            }
            message.extra_info = start + ' ' + std::to_string(message.pop_time) + ' ' +
                                 std::to_string(popped.fields.invisibletime()) + " 0 0 broker-a " +
                                 std::to_string(record.queue_id) + ' ' + offset;
            return ok();
        });
    popped.answer = std::move(answer);
    return popped;
}

Popped pop(RpcClient& client, const PopAsk& ask) {
    const wire::PopMessageRequest request = pop_of(ask);
    return popped_of(client.call(wire::RequestCode::kPopMessage, &request));
}

Answer acknowledge(RpcClient& client, const PoppedRecord& message, const std::string& group) {
    const auto request = receipt_request<wire::AckMessageRequest>(message, group);
    return client.call(wire::RequestCode::kAckMessage, &request);
}

Answer change_time(RpcClient& client,
                   const PoppedRecord& message,
                   std::int64_t invisible_ms,
                   const std::string& group) {
    auto request = receipt_request<wire::ChangeInvisibleTimeRequest>(message, group);
    request.set_invisibletime(invisible_ms);
    return client.call(wire::RequestCode::kChangeMessageInvisibleTime, &request);
}

}  // namespace gantry::harness

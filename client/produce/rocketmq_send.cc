// SPDX-License-Identifier: Apache-2.0
#include "client/produce/rocketmq_send.h"

#include "client/core/loop_slot.h"
#include "client/produce/record_writer.h"
#include "protocol/wire/batch.h"
#include "protocol/wire/names.h"
#include "protocol/wire/properties.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::string_view kTemplateTopic = "TBW102";
constexpr std::int32_t kTemplateQueues = 4;
constexpr std::int32_t kVersionWithTimers = 413;  // 5.0.0

constexpr std::int64_t kSecond = 1'000;
constexpr std::int64_t kMinute = 60 * kSecond;
/// RocketMQ's messageDelayLevel, unless its broker is set to others.
constexpr std::array<std::int64_t, 18> kLevels = {1 * kSecond,
                                                  5 * kSecond,
                                                  10 * kSecond,
                                                  30 * kSecond,
                                                  1 * kMinute,
                                                  2 * kMinute,
                                                  3 * kMinute,
                                                  4 * kMinute,
                                                  5 * kMinute,
                                                  6 * kMinute,
                                                  7 * kMinute,
                                                  8 * kMinute,
                                                  9 * kMinute,
                                                  10 * kMinute,
                                                  20 * kMinute,
                                                  30 * kMinute,
                                                  60 * kMinute,
                                                  120 * kMinute};

/// Properties that make a broker store the message elsewhere first.
bool is_special(std::string_view property) noexcept {
    return property == wire::property::kDelay || property == wire::property::kTimerDelayMs ||
           property == wire::property::kTimerDelaySeconds ||
           property == wire::property::kTimerDeliverMs || property == wire::property::kHalf;
}

std::string properties_of(const Message& message, WallMs born_ms, bool by_level) {
    if (!by_level) {
        return stored_properties(message, born_ms);
    }
    Message plain;
    plain.tag = message.tag;
    plain.keys = message.keys;
    plain.properties = message.properties;
    plain.properties.emplace_back(wire::property::kDelay, std::to_string(delay_level_of(message)));
    return stored_properties(plain, born_ms);
}

std::string batch_body(const Frame& frame) {
    std::string body;
    body.reserve(frame.bytes);
    for (const Outgoing& outgoing : frame.sends) {
        const std::string properties = stored_properties(outgoing.message, frame.born_ms);
        wire::append_batch_element(
            body, {outgoing.message.flag, as_bytes(outgoing.message.body), properties});
    }
    return body;
}

std::vector<std::string> split_ids(std::string_view joined) {
    std::vector<std::string> ids;
    while (!joined.empty()) {
        const std::size_t end = std::min(joined.find(','), joined.size());
        ids.emplace_back(joined.substr(0, end));
        joined.remove_prefix(std::min(end + 1, joined.size()));
    }
    return ids;
}

Errc class_of_system_error(std::string_view remark) noexcept {
    if (remark.find("AclException") != std::string_view::npos) {
        return Errc::kDenied;
    }
    return remark.find("busy") != std::string_view::npos ? Errc::kBusy : Errc::kUnknown;
}

}  // namespace

bool travels_alone(const Message& message, std::int32_t body_flags) {
    return body_flags != 0 || message.is_delayed() ||
           message.topic.starts_with(wire::kRetryPrefix) ||
           std::any_of(message.properties.begin(), message.properties.end(), [](const auto& one) {
               return is_special(one.first);
           });
}

std::int32_t delay_level_of(const Message& message) noexcept {
    const auto* const found =
        std::find(kLevels.begin(), kLevels.end(), message.deliver_after.count());
    return found == kLevels.end() ? 0 : static_cast<std::int32_t>(found - kLevels.begin()) + 1;
}

bool delays_by_level(const wire::Header& answer) noexcept {
    return answer.language == wire::Language::kJava && answer.version < kVersionWithTimers;
}

wire::SendMessageRequest rocketmq_fields(const QueueId& queue,
                                         const std::string& group,
                                         WallMs born_ms,
                                         bool is_batch) {
    wire::SendMessageRequest fields;
    fields.set_producergroup(group);
    fields.set_topic(queue.topic);
    fields.set_defaulttopic(std::string(kTemplateTopic));
    fields.set_defaulttopicqueuenums(kTemplateQueues);
    fields.set_queueid(queue.queue);
    fields.set_borntimestamp(born_ms);
    fields.set_reconsumetimes(0);
    fields.set_unitmode(false);
    fields.set_batch(is_batch);
    fields.set_sysflag(0);
    fields.set_flag(0);
    fields.set_properties("");
    return fields;
}

RocketMqSend rocketmq_send(const Frame& frame, const std::string& group, bool by_level) {
    const Outgoing& first = frame.sends.front();
    const bool is_batch = frame.sends.size() > 1;
    RocketMqSend send;
    send.fields = rocketmq_fields(
        {first.message.topic, {}, frame.lane->queue}, group, frame.born_ms, is_batch);
    if (is_batch) {
        send.code = wire::RequestCode::kSendBatchMessage;
        send.body = batch_body(frame);
    } else {
        send.fields.set_sysflag(first.body_flags);
        send.fields.set_flag(first.message.flag);
        send.fields.set_properties(properties_of(first.message, frame.born_ms, by_level));
        send.body = first.message.body;
    }
    return send;
}

Result<RocketMqStored> read_rocketmq_stored(const Result<net::Received>& result,
                                            const std::string& peer) {
    if (!result) {
        return result.error();
    }
    const wire::ResponseCode code = result->header.response();
    const bool is_stored = code == wire::ResponseCode::kSuccess ||
                           code == wire::ResponseCode::kFlushDiskTimeout ||
                           code == wire::ResponseCode::kFlushSlaveTimeout ||
                           code == wire::ResponseCode::kSlaveNotAvailable;
    if (!is_stored) {
        Error error = check_response(*result, peer).error();
        if (code == wire::ResponseCode::kSystemError) {
            error.code = class_of_system_error(result->header.remark);
        }
        return error;
    }
    wire::SendMessageResponse fields;
    GANTRY_TRY(wire::decode_fields(result->header, fields));
    return RocketMqStored{
        fields.queueoffset(), split_ids(fields.msgid()), std::string(fields.recallhandle())};
}

}  // namespace gantry::client

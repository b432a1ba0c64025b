// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/hot_fields.h"

#include "protocol/wire/codec/ext_fields.h"
#include "protocol/wire/codec/java_text.h"
#include "protocol/wire/codec/utf8.h"
#include "protocol/wire/message.pb.h"

#include <array>
#include <string_view>

namespace gantry::wire {
namespace {

using Send = SendMessageRequest;
using Pull = PullMessageRequest;

enum class Need : bool { kOptional, kRequired };

template <class Message>
struct HotField {
    std::string_view name;
    Need need = Need::kOptional;
    std::string_view type;
    bool (*set)(Message&, std::string_view) = nullptr;
};

template <class Message, auto Mutable>
bool set_text(Message& message, std::string_view text) {
    if (!is_utf8(text)) {
        return false;
    }
    (message.*Mutable)()->assign(text);
    return true;
}

template <class Message, auto Set, auto Parse>
bool set_number(Message& message, std::string_view text) {
    const auto value = Parse(text);
    if (!value) {
        return false;
    }
    (message.*Set)(*value);
    return true;
}

template <class Message, auto Set>
bool set_bool(Message& message, std::string_view text) {
    (message.*Set)(parse_java_bool(text));
    return true;
}

template <class Message, auto Mutable>
constexpr HotField<Message> text_field(std::string_view name, Need need) {
    return {name, need, "string", &set_text<Message, Mutable>};
}

template <class Message, auto Set>
constexpr HotField<Message> int32_field(std::string_view name, Need need) {
    return {name, need, "int32", &set_number<Message, Set, &parse_java_int32>};
}

template <class Message, auto Set>
constexpr HotField<Message> int64_field(std::string_view name, Need need) {
    return {name, need, "int64", &set_number<Message, Set, &parse_java_int64>};
}

template <class Message, auto Set>
constexpr HotField<Message> bool_field(std::string_view name, Need need) {
    return {name, need, "bool", &set_bool<Message, Set>};
}

// In the order of the schema, which is that of the one-letter names: a, b, c, ...
constexpr std::array kSendFields = {
    text_field<Send, &Send::mutable_producergroup>("producerGroup", Need::kRequired),
    text_field<Send, &Send::mutable_topic>("topic", Need::kRequired),
    text_field<Send, &Send::mutable_defaulttopic>("defaultTopic", Need::kRequired),
    int32_field<Send, &Send::set_defaulttopicqueuenums>("defaultTopicQueueNums", Need::kRequired),
    int32_field<Send, &Send::set_queueid>("queueId", Need::kRequired),
    int32_field<Send, &Send::set_sysflag>("sysFlag", Need::kRequired),
    int64_field<Send, &Send::set_borntimestamp>("bornTimestamp", Need::kRequired),
    int32_field<Send, &Send::set_flag>("flag", Need::kRequired),
    text_field<Send, &Send::mutable_properties>("properties", Need::kOptional),
    int32_field<Send, &Send::set_reconsumetimes>("reconsumeTimes", Need::kOptional),
    bool_field<Send, &Send::set_unitmode>("unitMode", Need::kOptional),
    int32_field<Send, &Send::set_maxreconsumetimes>("maxReconsumeTimes", Need::kOptional),
    bool_field<Send, &Send::set_batch>("batch", Need::kOptional),
    text_field<Send, &Send::mutable_brokername>("brokerName", Need::kOptional),
};

constexpr std::array kPullFields = {
    text_field<Pull, &Pull::mutable_consumergroup>("consumerGroup", Need::kRequired),
    text_field<Pull, &Pull::mutable_topic>("topic", Need::kRequired),
    int32_field<Pull, &Pull::set_queueid>("queueId", Need::kRequired),
    int64_field<Pull, &Pull::set_queueoffset>("queueOffset", Need::kRequired),
    int32_field<Pull, &Pull::set_maxmsgnums>("maxMsgNums", Need::kRequired),
    int32_field<Pull, &Pull::set_sysflag>("sysFlag", Need::kRequired),
    int64_field<Pull, &Pull::set_commitoffset>("commitOffset", Need::kRequired),
    int64_field<Pull, &Pull::set_suspendtimeoutmillis>("suspendTimeoutMillis", Need::kRequired),
    text_field<Pull, &Pull::mutable_subscription>("subscription", Need::kOptional),
    int64_field<Pull, &Pull::set_subversion>("subVersion", Need::kRequired),
    text_field<Pull, &Pull::mutable_expressiontype>("expressionType", Need::kOptional),
    int32_field<Pull, &Pull::set_maxmsgbytes>("maxMsgBytes", Need::kOptional),
    int64_field<Pull, &Pull::set_locktoken>("lockToken", Need::kOptional),
};

constexpr std::string_view kTextType = "string";

template <class Message, std::size_t N>
std::size_t find(const std::array<HotField<Message>, N>& table, std::string_view name) noexcept {
    std::size_t index = 0;
    while (index < N && table[index].name != name) {
        ++index;
    }
    return index;
}

// `index_of` yields N for an unknown name.
template <class Message, std::size_t N, class IndexOf>
Status fill(std::span<const ExtField> ext,
            const std::array<HotField<Message>, N>& table,
            IndexOf index_of,
            Message& fields) {
    fields.Clear();
    std::uint32_t seen = 0;
    for (const ExtField& each : ext) {
        const std::size_t index = index_of(each.name);
        if (index >= N || (each.value.empty() && table[index].type != kTextType)) {
            continue;
        }
        if (!table[index].set(fields, each.value)) {
            return bad_field_error(table[index].name, each.value, table[index].type);
        }
        seen |= 1U << index;
    }
    for (std::size_t i = 0; i < N; ++i) {
        if (table[i].need == Need::kRequired && (seen & (1U << i)) == 0) {
            return missing_field_error(table[i].name);
        }
    }
    return ok();
}

}  // namespace

Status send_fields_from_ext(std::span<const ExtField> ext, SendMessageRequest& fields) {
    const auto index_of = [](std::string_view name) noexcept -> std::size_t {
        if (name.size() == 1) {
            return static_cast<unsigned char>(name[0]) - std::size_t{'a'};
        }
        return find(kSendFields, name);
    };
    return fill(ext, kSendFields, index_of, fields);
}

Status pull_fields_from_ext(std::span<const ExtField> ext, PullMessageRequest& fields) {
    const auto index_of = [](std::string_view name) noexcept { return find(kPullFields, name); };
    return fill(ext, kPullFields, index_of, fields);
}

}  // namespace gantry::wire

// SPDX-License-Identifier: Apache-2.0
#include "client/produce/record_writer.h"

#include "protocol/wire/properties.h"

#include <algorithm>
#include <string_view>

namespace gantry::client {
namespace {

constexpr std::size_t kSeparatorBytes = 2;  // of one property: behind its name, behind its value
constexpr std::size_t kExpiryDigits = 13;   // enough for 300 years
constexpr std::chrono::hours kTimeToLiveMax{24 * 3'653};

Error refused(std::string detail) {
    return Error{Errc::kRefused, std::move(detail)};
}

bool has_separator(std::string_view text) noexcept {
    return text.find(wire::kNameValueSeparator) != std::string_view::npos ||
           text.find(wire::kPropertySeparator) != std::string_view::npos;
}

Status check_key(std::string_view key) {
    const bool has_blank = std::any_of(key.begin(), key.end(), [](char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
    });
    if (key.empty() || has_blank || has_separator(key)) {
        return refused("key \"" + std::string(key) +
                       "\" is empty or contains a blank or a separator (0x01, 0x02)");
    }
    return ok();
}

Status check_property(std::string_view name, std::string_view value) {
    if (name == wire::property::kKeys || name == wire::property::kTags) {
        return refused("property \"" + std::string(name) +
                       "\" is reserved: set keys or tag of the message");
    }
    if (name == wire::property::kSendNumber) {
        return refused("property \"" + std::string(name) + "\" is reserved");
    }
    if (name.empty() || value.empty()) {
        return refused("property \"" + std::string(name) + "\": empty name or value");
    }
    if (has_separator(name) || has_separator(value)) {
        return refused("property \"" + std::string(name) +
                       "\": a separator (0x01, 0x02) inside name or value");
    }
    return ok();
}

std::size_t property_bytes_of(const Message& message) noexcept {
    std::size_t bytes = 0;
    if (!message.keys.empty()) {
        bytes += wire::property::kKeys.size() + kSeparatorBytes + message.keys.size() - 1;
        for (const std::string& key : message.keys) {
            bytes += key.size();
        }
    }
    if (!message.tag.empty()) {
        bytes += wire::property::kTags.size() + kSeparatorBytes + message.tag.size();
    }
    for (const auto& [name, value] : message.properties) {
        bytes += name.size() + value.size() + kSeparatorBytes;
    }
    if (message.deliver_after.count() != 0) {
        bytes += wire::property::kTimerDelayMs.size() + kSeparatorBytes +
                 std::to_string(message.deliver_after.count()).size();
    }
    if (message.deliver_at != 0) {
        bytes += wire::property::kTimerDeliverMs.size() + kSeparatorBytes +
                 std::to_string(message.deliver_at).size();
    }
    if (message.time_to_live.count() > 0) {
        bytes += wire::property::kExpiresAt.size() + kSeparatorBytes + kExpiryDigits;
    }
    return bytes;
}

void append_property_to(std::string& out, std::string_view name, std::string_view value) {
    out.append(name);
    out.push_back(wire::kNameValueSeparator);
    out.append(value);
    out.push_back(wire::kPropertySeparator);
}

/// Of as many digits for every time, so that its size is known before.
std::string expiry_text(WallMs at) {
    const std::string digits = std::to_string(std::max<WallMs>(at, 0));
    return std::string(kExpiryDigits - std::min(digits.size(), kExpiryDigits), '0') + digits;
}

void append_properties(std::string& out, const Message& message, WallMs born_ms) {
    if (!message.keys.empty()) {
        out.append(wire::property::kKeys);
        out.push_back(wire::kNameValueSeparator);
        for (const std::string& key : message.keys) {
            out.append(key);
            out.push_back(' ');
        }
        out.back() = wire::kPropertySeparator;
    }
    if (!message.tag.empty()) {
        append_property_to(out, wire::property::kTags, message.tag);
    }
    for (const auto& [name, value] : message.properties) {
        append_property_to(out, name, value);
    }
    if (message.deliver_after.count() != 0) {
        append_property_to(
            out, wire::property::kTimerDelayMs, std::to_string(message.deliver_after.count()));
    }
    if (message.deliver_at != 0) {
        append_property_to(
            out, wire::property::kTimerDeliverMs, std::to_string(message.deliver_at));
    }
    if (message.time_to_live.count() > 0) {
        append_property_to(
            out, wire::property::kExpiresAt, expiry_text(born_ms + message.time_to_live.count()));
    }
}

}  // namespace

std::string stored_properties(const Message& message, WallMs born_ms) {
    std::string properties;
    append_properties(properties, message, born_ms);
    return properties;
}

Status check_sizes(const Message& message, const MessageLimits& limits) {
    if (message.body.size() > limits.message_bytes_max) {
        return refused("body " + std::to_string(message.body.size()) + " B > message_bytes_max " +
                       std::to_string(limits.message_bytes_max) + " B");
    }
    const std::size_t properties = property_bytes_of(message);
    const std::size_t properties_max = wire::kPropertiesBytesMax - limits.own_property_bytes;
    if (properties > properties_max) {
        return refused("properties " + std::to_string(properties) + " B > limit " +
                       std::to_string(properties_max) + " B");
    }
    return ok();
}

Status check_message(const Message& message, const MessageLimits& limits) {
    for (const std::string& key : message.keys) {
        GANTRY_TRY(check_key(key));
    }
    if (has_separator(message.tag) || message.tag.find('|') != std::string::npos) {
        return refused("tag \"" + message.tag + "\" contains '|' or a separator (0x01, 0x02)");
    }
    for (const auto& [name, value] : message.properties) {
        GANTRY_TRY(check_property(name, value));
    }
    if (message.time_to_live.count() < 0 || message.time_to_live > kTimeToLiveMax) {
        return refused("time_to_live " + std::to_string(message.time_to_live.count()) +
                       " ms is not within 0 to 10 years");
    }
    if (message.time_to_live.count() > 0 && !limits.can_expire) {
        return Error{Errc::kUnsupported,
                     "time_to_live " + std::to_string(message.time_to_live.count()) +
                         " ms: RocketMQ has no such thing, and the client's dialect is rocketmq"};
    }
    if (message.deliver_after.count() < 0 || message.deliver_at < 0 ||
        (message.deliver_after.count() > 0 && message.deliver_at > 0)) {
        return refused("deliver_after " + std::to_string(message.deliver_after.count()) +
                       " ms and deliver_at " + std::to_string(message.deliver_at) +
                       ": one of them may be above 0, neither below");
    }
    return check_sizes(message, limits);
}

std::size_t record_bytes_of(const Message& message, bool born_v6, bool store_v6) noexcept {
    constexpr std::size_t kHostGrowth = 12;  // an IPv6 host beside an IPv4 one
    constexpr std::size_t kShortTopic = 127;
    return wire::kRecordBytesMin + message.body.size() + message.topic.size() +
           (message.topic.size() > kShortTopic ? 1U : 0U) + property_bytes_of(message) +
           (born_v6 ? kHostGrowth : 0U) + (store_v6 ? kHostGrowth : 0U);
}

std::size_t number_bytes_of(const wire::SendNumber& number) {
    return wire::property::kSendNumber.size() + kSeparatorBytes +
           wire::format_send_number(number).size();
}

void RecordWriter::append(std::string& out, const Message& message, std::int32_t body_flags) {
    properties_.clear();
    append_properties(properties_, message, origin_.born_ms);
    append_with(out, message, body_flags);
}

void RecordWriter::append_first(std::string& out,
                                const Message& message,
                                std::int32_t body_flags,
                                const wire::SendNumber& number) {
    properties_.clear();
    append_properties(properties_, message, origin_.born_ms);
    append_property_to(properties_, wire::property::kSendNumber, wire::format_send_number(number));
    append_with(out, message, body_flags | wire::sys_flag::kNumbered);
}

void RecordWriter::append_with(std::string& out, const Message& message, std::int32_t sys_flag) {
    wire::Record record;
    record.sys_flag = sys_flag;
    record.queue_id = origin_.queue_id;
    record.flag = message.flag;
    record.born_ms = origin_.born_ms;
    record.born_host = origin_.born_host;
    record.store_host.is_v6 = origin_.store_v6;
    record.body = as_bytes(message.body);
    record.topic = message.topic;
    record.properties = properties_;
    const std::size_t bytes = wire::record_bytes(record);
    const std::size_t at = out.size();
    out.resize(at + bytes);
    wire::encode_record(record, {reinterpret_cast<std::byte*>(out.data()) + at, bytes});
}

}  // namespace gantry::client

// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/names.h"

#include <algorithm>
#include <array>

namespace gantry::wire {
namespace {

constexpr std::array<std::string_view, 10> kSystemTopics = {
    "TBW102",
    "SELF_TEST_TOPIC",
    "BenchmarkTest",
    "OFFSET_MOVED_EVENT",
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "RMQ_SYS_TRACE_TOPIC",
    "CHECKPOINT_TOPIC",
};

constexpr bool is_name_character(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '%' ||
           c == '|' || c == '_' || c == '-';
}

Status check_name(std::string_view field, std::string_view name, std::size_t bytes_max) {
    if (name.empty()) {
        return Error{Errc::kRefused, std::string(field) + " is empty"};
    }
    if (name.size() > bytes_max) {
        return Error{Errc::kRefused,
                     std::string(field) + " of " + std::to_string(name.size()) + " B > " +
                         std::to_string(bytes_max) + " B: \"" + std::string(name.substr(0, 32)) +
                         "...\""};
    }
    const auto* const bad = std::find_if_not(name.begin(), name.end(), is_name_character);
    if (bad != name.end()) {
        return Error{Errc::kRefused,
                     std::string(field) + " \"" + std::string(name) + "\": byte " +
                         std::to_string(static_cast<unsigned char>(*bad)) + " at " +
                         std::to_string(bad - name.begin()) +
                         " is none of letters, digits, '%', '|', '_', '-'"};
    }
    return ok();
}

bool is_derived(std::string_view topic) noexcept {
    return topic.starts_with(kRetryPrefix) || topic.starts_with(kDeadLetterPrefix);
}

}  // namespace

Status check_topic_name(std::string_view topic) {
    return check_name(
        "topic", topic, is_derived(topic) ? kDerivedTopicNameBytesMax : kTopicNameBytesMax);
}

Status check_group_name(std::string_view group) {
    return check_name("group", group, kGroupNameBytesMax);
}

std::string retry_topic(std::string_view group) {
    return std::string(kRetryPrefix).append(group);
}

std::string dead_letter_topic(std::string_view group) {
    return std::string(kDeadLetterPrefix).append(group);
}

bool is_system_topic(std::string_view topic) noexcept {
    return is_internal_topic(topic) || topic.starts_with("rmq_sys_") ||
           std::find(kSystemTopics.begin(), kSystemTopics.end(), topic) != kSystemTopics.end();
}

bool is_internal_topic(std::string_view topic) noexcept {
    return topic.starts_with(kInternalPrefix);
}

}  // namespace gantry::wire

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace gantry::wire {

inline constexpr std::string_view kRetryPrefix = "%RETRY%";
inline constexpr std::string_view kDeadLetterPrefix = "%DLQ%";
/// Topics of the broker's own records; never routed or listed.
inline constexpr std::string_view kInternalPrefix = "GANTRY_SYS_";

inline constexpr std::size_t kTopicNameBytesMax = 127;
inline constexpr std::size_t kDerivedTopicNameBytesMax = 255;  ///< retry and dead-letter topics
inline constexpr std::size_t kGroupNameBytesMax = 120;

/// kRefused: empty, longer than 127 bytes (retry and dead-letter topics 255), or a character other
/// than letters, digits, '%', '|', '_', '-'.
Status check_topic_name(std::string_view topic);

/// kRefused: empty, longer than 120 bytes, or a character check_topic_name refuses.
Status check_group_name(std::string_view group);

/// Where failed messages of `group` wait for their next delivery.
std::string retry_topic(std::string_view group);

/// Where messages of `group` go that were delivered too often.
std::string dead_letter_topic(std::string_view group);

/// Whether `topic` belongs to the broker: Gantry's internal ones and RocketMQ's reserved names.
/// Retry and dead-letter topics are not among them.
bool is_system_topic(std::string_view topic) noexcept;

/// Whether `topic` starts with kInternalPrefix.
bool is_internal_topic(std::string_view topic) noexcept;

}  // namespace gantry::wire

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/types.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::wire {
class TopicConfig;
}

namespace gantry::storage {

/// Attributes of a topic that say when its messages may go.
namespace retention_attribute {
inline constexpr std::string_view kMs = "retention.ms";
inline constexpr std::string_view kBytes = "retention.bytes";
inline constexpr std::string_view kUntilConsumed = "retention.until_consumed";
}  // namespace retention_attribute

/// When messages of one topic may go. 0 of a number: no such limit.
struct TopicRetention {
    std::int64_t keep_ms = 0;
    std::uint64_t bytes_max = 0;
    bool until_consumed = false;  ///< not before every group has consumed them, but
    std::int64_t cap_ms = 0;      ///< at that age at the latest
    std::uint64_t cap_bytes = 0;  ///< or beyond that size

    bool operator==(const TopicRetention&) const = default;
};

/// What a topic's attributes make of the defaults; nothing when it has none of these attributes.
/// kRefused: a value that is none, with attribute, value and what is allowed.
Result<std::optional<TopicRetention>> retention_of(const wire::TopicConfig& topic,
                                                   const RetentionOptions& defaults);

/// One segment, as far as its deletion is concerned.
struct SegmentAge {
    LogOffset base;
    LogOffset end;
    WallMs first_ms = 0;  ///< store time of its first record; 0: not known
};

/// How far the log has expired by the defaults: the end of the last segment that may go. A segment
/// is as old as the first message behind it; of those whose time lies in the future the next
/// earlier one counts, for a clock that was wrong then. `segments` ascend without a gap.
LogOffset expired_end(const std::vector<SegmentAge>& segments,
                      const RetentionOptions& defaults,
                      WallMs now);

/// Where the oldest message of a queue may be moved to, by each rule alone.
struct QueueLimits {
    QueueOffset expired;   ///< below: older than allowed, or more bytes than allowed
    QueueOffset consumed;  ///< below: consumed by every group
    QueueOffset cap;       ///< below: goes whether consumed or not
};

/// The new oldest message of a queue.
QueueOffset queue_min(const QueueLimits& limits, const TopicRetention& rules);

}  // namespace gantry::storage

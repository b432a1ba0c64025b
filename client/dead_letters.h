// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/clock.h"

#include <cstdint>
#include <optional>
#include <string>

namespace gantry::client {

/// Dead letters of one group in one queue. Those in [first, end) wait; older ones were redriven or
/// purged, or retention deleted them.
struct DeadLetterQueue {
    std::string group;
    QueueId queue;                ///< of %DLQ%group
    std::int64_t min_offset = 0;  ///< of the oldest that can still be read
    std::int64_t first = 0;       ///< of the oldest that waits
    std::int64_t end = 0;
    WallMs oldest_ms = 0;  ///< when the oldest that waits was stored; 0: none does
    WallMs newest_ms = 0;

    std::int64_t count() const noexcept { return end - first; }
};

/// Which dead letters of a group to redrive, and where to.
struct Redrive {
    std::string group;
    /// Empty: the group's retry topic, so that nobody else gets them again.
    std::string to_topic;
    std::string broker;  ///< only those on it; empty: on all
    /// Only the one at this offset, redriven before or not; needs a broker when several have some.
    std::optional<std::int64_t> offset;
    /// Only what has this as its id, its id before it died, or its offset message id.
    std::string message_id;
    bool is_dry_run = false;  ///< counts, and changes nothing
};

/// How far a redrive came.
struct RedriveReport {
    std::uint64_t redriven = 0;  ///< copies that a broker has acknowledged; of a dry run: would be
    std::uint64_t lost = 0;      ///< stepped over: lost to damage in the broker's store
};

}  // namespace gantry::client

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "storage/log/lost_ranges.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gantry::storage {

class ConsumeQueues;

/// Messages [from, to) of one queue.
struct LostMessages {
    std::string topic{};
    std::int32_t queue_id = 0;
    QueueOffset from{};
    QueueOffset to{};

    std::uint64_t count() const noexcept { return static_cast<std::uint64_t>(to - from); }
};

/// Finds the messages whose units point into one of `ranges`, and counts them there. Returns the
/// runs of neighbours in their queues, all of them. Holes are not counted: they were before.
/// Blocks on the disk where units are not cached.
std::vector<LostMessages> find_lost_messages(const ConsumeQueues& queues, LostRangeList& ranges);

/// Writes one line a range and one a run of messages to the log, a hundred of each at most.
/// `where`: what was going on.
void tell_damaged(const char* where,
                  const LostRangeList& ranges,
                  const std::vector<LostMessages>& messages);

/// The same, and one line with the totals of what is quarantined.
void tell_lost(const char* where,
               const LostRangeList& ranges,
               const std::vector<LostMessages>& messages);

}  // namespace gantry::storage

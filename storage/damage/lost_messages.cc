// SPDX-License-Identifier: Apache-2.0
#include "storage/damage/lost_messages.h"

#include "common/log.h"
#include "storage/index/consume_queues.h"
#include "storage/topic_table.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

constexpr std::size_t kLinesMax = 100;
constexpr std::size_t kUnitsAtOnce = 256;

struct NamedQueue {
    std::string topic;
    std::int32_t queue_id = 0;
    const QueueIndex* index = nullptr;
};

/// Adds the units of [from, to) whose messages overlap `range`.
void add_units(const NamedQueue& queue,
               QueueOffset from,
               QueueOffset to,
               LostRange& range,
               std::vector<LostMessages>& found) {
    std::array<QueueUnit, kUnitsAtOnce> units;
    while (from < to) {
        const auto room = std::min<std::size_t>(units.size(), static_cast<std::size_t>(to - from));
        const std::size_t count = queue.index->read(from, std::span(units).first(room));
        for (std::size_t i = 0; i < count; ++i, from += 1) {
            if (units[i].is_hole() || !range.overlaps(units[i].at, units[i].end())) {
                continue;
            }
            const bool is_same_queue = !found.empty() && found.back().queue_id == queue.queue_id &&
                                       found.back().topic == queue.topic;
            if (is_same_queue && from < found.back().to) {
                continue;  // it reaches into the range before as well
            }
            ++range.messages;
            if (is_same_queue && from == found.back().to) {
                found.back().to += 1;
            } else {
                found.push_back({queue.topic, queue.queue_id, from, from + 1});
            }
        }
        if (count == 0) {
            return;
        }
    }
}

}  // namespace

std::vector<LostMessages> find_lost_messages(const ConsumeQueues& queues, LostRangeList& ranges) {
    std::vector<LostMessages> found;
    if (ranges.empty()) {
        return found;
    }
    std::vector<NamedQueue> all;
    queues.for_each([&all](std::string_view topic, std::int32_t id, QueueIndex& index) {
        all.push_back({std::string(topic), id, &index});
    });
    std::sort(all.begin(), all.end(), [](const NamedQueue& a, const NamedQueue& b) {
        return std::pair(std::string_view(a.topic), a.queue_id) <
               std::pair(std::string_view(b.topic), b.queue_id);
    });
    for (const NamedQueue& queue : all) {
        for (LostRange& range : ranges) {
            // The message before may reach into the range.
            const QueueOffset first = queue.index->lower_bound(range.from);
            const QueueOffset from = first > queue.index->min() ? first - 1 : first;
            add_units(queue, from, queue.index->lower_bound(range.to), range, found);
        }
    }
    return found;
}

void tell_damaged(const char* where,
                  const LostRangeList& ranges,
                  const std::vector<LostMessages>& messages) {
    for (std::size_t i = 0; i < std::min(ranges.size(), kLinesMax); ++i) {
        const LostRange& range = ranges[i];
        kLog.error("log damaged",
                   {{"found", where},
                    {"from", range.from.value},
                    {"to", range.to.value},
                    {"messages", range.messages},
                    {"reason", range.reason}});
    }
    for (std::size_t i = 0; i < std::min(messages.size(), kLinesMax); ++i) {
        const LostMessages& lost = messages[i];
        kLog.error("messages lost",
                   {{"topic", lost.topic},
                    {"queue", lost.queue_id},
                    {"from", lost.from.value},
                    {"to", lost.to.value}});
    }
}

void tell_lost(const char* where,
               const LostRangeList& ranges,
               const std::vector<LostMessages>& messages) {
    tell_damaged(where, ranges, messages);
    std::uint64_t bytes = 0;
    for (const LostRange& range : ranges) {
        bytes += range.bytes();
    }
    std::uint64_t count = 0;
    std::uint64_t state_records = 0;
    for (const LostMessages& lost : messages) {
        count += lost.count();
        state_records += lost.topic == kStateTopic ? lost.count() : 0;
    }
    kLog.error("damage quarantined",
               {{"ranges", ranges.size()}, {"bytes", bytes}, {"messages", count}});
    if (state_records > 0) {
        kLog.error("changes of topics, groups or offsets are lost", {{"records", state_records}});
    }
}

}  // namespace gantry::storage

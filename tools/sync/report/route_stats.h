// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/clock.h"
#include "sync/copy/queue_copier.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gantry::sync {

/// How one source queue of a route is doing.
struct QueueReport {
    client::QueueId source;
    std::vector<client::QueueId> targets;
    QueueCopier::State state = QueueCopier::State::kWaiting;
    std::string reason;
    std::int64_t done = 0;    ///< everything below it is stored or not wanted
    std::int64_t end = -1;    ///< of the source queue; -1: not known
    std::int64_t flying = 0;  ///< frames
    WallMs oldest_ms = 0;     ///< store time of the oldest message that is not stored
    CopyCounts counts;

    /// Messages not done yet; 0 while the end is not known.
    std::int64_t lag() const noexcept { return end > done ? end - done : 0; }

    /// Age of the oldest of them.
    double lag_seconds(WallMs now) const noexcept {
        constexpr double kMsPerSecond = 1'000;
        return lag() > 0 && oldest_ms > 0 ? static_cast<double>(now - oldest_ms) / kMsPerSecond : 0;
    }

    /// About, by the size of what was copied.
    double lag_bytes() const noexcept {
        return counts.messages == 0
                   ? 0
                   : static_cast<double>(lag()) * static_cast<double>(counts.bytes) /
                         static_cast<double>(counts.messages);
    }
};

/// How a route is doing.
struct RouteReport {
    std::string name;
    std::string from;
    std::string to;
    std::string problem;  ///< of the route as a whole; empty: none
    std::vector<QueueReport> queues;

    CopyCounts total() const {
        CopyCounts sum;
        for (const QueueReport& queue : queues) {
            sum.messages += queue.counts.messages;
            sum.bytes += queue.counts.bytes;
            sum.skipped += queue.counts.skipped;
            sum.lost += queue.counts.lost;
            sum.retries += queue.counts.retries;
            sum.rewinds += queue.counts.rewinds;
            sum.repeats += queue.counts.repeats;
        }
        return sum;
    }
};

}  // namespace gantry::sync

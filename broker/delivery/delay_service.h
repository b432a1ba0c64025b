// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/result.h"
#include "protocol/net/event_loop.h"
#include "protocol/wire/record.h"
#include "storage/store.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::broker {

struct Context;
class LoopState;
class TopicCreator;

/// A message rewritten to wait in a delay level's queue.
struct DelayedRecord {
    wire::Record record;     ///< its properties view `properties` once the caller has set them
    std::string properties;  ///< the message's own and where it is really to go
    storage::Queue* queue = nullptr;
};

/// Delivers messages later, by RocketMQ's 18 levels (1 s to 2 h). A delayed message is stored in
/// the queue of its level of SCHEDULE_TOPIC_XXXX, which is in due order by itself; a timer copies
/// due messages to their real queues and commits how far it got.
///
/// Delivery  at least once: after a crash the messages since the last committed progress come
///           again.
/// Threads   level_of, delay, stored: any loop. Delivery: the first loop, a bounded number of
///           messages a pass. Messages that left the page cache are read in the pool.
/// Lifetime  destroyed after its loop has stopped.
class DelayService {
public:
    static constexpr std::int32_t kLevels = 18;
    static constexpr std::string_view kTopic = "SCHEDULE_TOPIC_XXXX";
    static constexpr std::string_view kGroup = "GANTRY_SYS_DELAY";

    DelayService(Context& context, LoopState& loop);

    /// Makes the schedule topic when it is missing and finds out how far delivery got. Before the
    /// loop runs.
    Status open(TopicCreator& creator);
    /// Starts delivering. On the first loop.
    void start();
    void stop();

    /// The level a message's properties ask for: 0 for none, at most kLevels.
    static std::int32_t level_of(std::string_view properties) noexcept;
    static std::int64_t level_ms(std::int32_t level) noexcept;

    /// `record`, addressed to its real queue, rewritten for `level` (1 to kLevels).
    DelayedRecord delay(const wire::Record& record, std::int32_t level) const;
    /// To be called after a delayed record was appended.
    void stored(std::int32_t level);

    /// Stored and not yet delivered. Threads: the first loop.
    std::int64_t waiting(std::int32_t level) const;
    /// Queue offset of the next message of `level`. Threads: the first loop.
    std::int64_t progress(std::int32_t level) const;

private:
    static constexpr WallMs kIdle = INT64_MAX;

    struct Level {
        storage::Queue* queue = nullptr;
        QueueOffset next;
        WallMs look_at = kIdle;   ///< when something may be due
        bool is_loading = false;  ///< the pool reads for it
    };

    void run();
    void arm();
    void deliver(Level& level, std::int32_t number);
    void load(std::int32_t number, storage::ReadResult result);
    /// False when the level has to wait: the record is not due, or could not be stored.
    bool deliver_one(Level& level, std::int32_t number, const wire::Record& record);
    bool deliver_all(Level& level, std::int32_t number, Bytes records);
    Status restore(const wire::Record& record);

    Context& context_;
    LoopState& loop_;
    net::Timer timer_;
    std::array<Level, kLevels> levels_;
    std::int32_t budget_ = 0;  ///< messages the level at work may still deliver in this pass
    bool is_started_ = false;
};

}  // namespace gantry::broker

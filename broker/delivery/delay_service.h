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

/// Delivers what waits in the queues of RocketMQ's 18 delay levels (1 s to 2 h): of a store that
/// was RocketMQ's, or an earlier version's. SCHEDULE_TOPIC_XXXX has a queue for each level, in due
/// order by itself; a timer copies due messages to their real queues and commits how far it got.
/// What is delayed now waits elsewhere: see TimerService.
///
/// Delivery  at least once: after a crash the messages since the last committed progress come
///           again.
/// Threads   level_of: any. Delivery: the first loop, a bounded number of
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

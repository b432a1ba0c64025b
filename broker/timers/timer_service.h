// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/timers/delayed_message.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/result.h"
#include "protocol/wire/record.h"
#include "storage/timers/timers.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory_resource>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::broker {

struct Context;
class LoopState;
class TopicCreator;

/// Delivers messages when they are due: any time up to a year ahead, by RocketMQ's levels and timer
/// properties. A thread takes what is due from the timer index, some at a time, reads the waiting
/// records and stores the messages in their queues.
///
/// Delivery  once, across kill -9: see storage::Timers. Never early; while the clock is set back,
///           nothing is due that was not before. A message whose topic is gone, or that the store
///           refuses, is dropped and counted.
/// Limits    1,024 messages or 4 MiB of them at a time.
/// Errors    no room, a store that is read-only: told, and tried again every second.
/// Threads   store, waiting: any loop. One inside, which may block on the disk.
/// Lifetime  stop() before the loops stop and the store closes.
class TimerService {
public:
    TimerService(Context& context, LoopState& loop) : context_(context), loop_(loop) {}

    ~TimerService() { stop(); }

    TimerService(const TimerService&) = delete;
    TimerService& operator=(const TimerService&) = delete;

    /// Makes the topic of waiting messages when it is missing, and a new index. Before the loops
    /// run.
    Status open(TopicCreator& creator);
    void start();
    /// Ends the thread after the messages at hand. Blocks. Idempotent.
    void stop();

    /// The queue of waiting messages.
    storage::Queue& queue() noexcept { return *queue_; }

    /// Stores a message that waits. Any loop.
    Result<storage::Appended> store(LoopState& loop, const WaitingMessage& waiting);
    /// Stores those of a native frame for `real`, which may be numbered, in one step. Any loop.
    Result<storage::Appended> store_frame(LoopState& loop,
                                          const storage::Queue& real,
                                          std::span<const wire::Record> waiting);
    /// To be called after waiting messages were appended otherwise. Any loop.
    void stored(LoopState& loop, const storage::Appended& appended);

    /// How much later than due the last messages were stored.
    std::int64_t late_ms() const noexcept { return late_ms_.load(std::memory_order_relaxed); }

private:
    void run();
    Status step(bool& has_more);
    Status keep_up(bool& has_more);
    Status deliver(std::span<const storage::TimerEntry> due);
    void add(const storage::TimerEntry& timer, const Result<wire::Record>& record);
    storage::Queue* queue_of(const RealPlace& place);
    storage::TimerBatch& batch_of(storage::Queue& queue);
    std::string_view keep(std::string_view bytes);
    void drop(const storage::TimerEntry& timer, std::string_view why);
    void wake_readers(LogOffset end);
    void rest(bool has_failed);

    Context& context_;
    LoopState& loop_;
    storage::Queue* queue_ = nullptr;
    std::thread thread_;
    Mutex mutex_;
    std::condition_variable woken_;
    bool is_stopping_ GANTRY_GUARDED_BY(mutex_) = false;
    bool has_news_ GANTRY_GUARDED_BY(mutex_) = false;
    std::atomic<bool> is_resting_{false};
    std::atomic<std::int64_t> late_ms_{0};

    // The thread's.
    std::vector<storage::TimerBatch> batches_;
    std::pmr::monotonic_buffer_resource memory_{1U << 20U};  ///< of bodies and properties at hand
    std::string properties_;
    storage::Topic* topic_ = nullptr;  ///< the last one looked up
    SteadyTime commit_at_{};
    SteadyTime roll_at_{};
};

}  // namespace gantry::broker

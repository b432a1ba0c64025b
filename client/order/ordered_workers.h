// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/consume/queue_buffers.h"
#include "client/order/key_scheduler.h"
#include "client/order/ordered_queues.h"
#include "client/order/parked_calls.h"
#include "client/order/queue_leases.h"
#include "client/ordered_consumer.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "protocol/net/channel.h"
#include "protocol/net/event_loop.h"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace gantry::client {

/// The engine of an OrderedConsumer: threads that run the listener, commits, and dead letters.
///
///   fetchers --> QueueBuffers --one thread at a time--> KeyScheduler of the queue --> any thread
///
/// Threads   start, stop: the application's, once each; stop not from the listener. Others: any.
/// Errors    a dead letter that no broker takes is given to the listener again after retry_delay.
class OrderedWorkers : public std::enable_shared_from_this<OrderedWorkers> {
public:
    OrderedWorkers(Runtime& runtime, LoopSlot& slot, const OrderedConsumer::Options& options);
    ~OrderedWorkers();
    OrderedWorkers(const OrderedWorkers&) = delete;
    OrderedWorkers& operator=(const OrderedWorkers&) = delete;

    /// Joins the group and starts the threads. Errors of OrderedQueues::join.
    Status start(const std::map<std::string, Subscription>& subscriptions,
                 OrderedConsumer::Listener listener);
    /// Ends the threads after their running listener calls, commits, unlocks, leaves the group.
    void stop();

    /// The listener gets nothing of the queue until resume().
    void suspend(const QueueId& queue);
    /// Ends suspend().
    void resume(const QueueId& queue);
    /// The listener gets nothing at all, or what is not suspended singly.
    void suspend_all(bool is_suspended);

    std::vector<QueueId> assignment() const { return buffers_->queues(); }

private:
    /// A batch of QueueBuffers, and the offset behind it.
    struct Batch {
        Taken taken;
        std::int64_t end = 0;
    };

    /// Messages of a queue that began anew: their offsets are below those that are held.
    struct Stash {
        Taken taken;
        std::vector<MessageView> messages;
    };

    struct Queue;
    using QueuePtr = std::shared_ptr<Queue>;

    /// Messages for the listener, or on their way to the dead letters or to be parked.
    struct Job {
        QueuePtr queue;
        KeyScheduler::Work work;
        bool is_released = false;  ///< one that was parked; its lane is held
    };

    struct Queue {
        explicit Queue(const OpenedQueue& opened)
            : id(opened.id),
              token(opened.token),
              scheduler(opened.offset),
              committed(opened.offset) {}

        const QueueId id;
        const std::int64_t token;
        std::uint64_t epoch = 0;  // 0: not read yet
        KeyScheduler scheduler;
        std::deque<Batch> batches;
        std::size_t running = 0;
        bool is_full = false;
        std::optional<Stash> stash;             // comes when all that is held is done
        std::optional<std::int64_t> committed;  // last acknowledged
        std::int64_t floor = 0;                 // closing: what may be committed at least
        bool is_closing = false;                // and stays so
        OrderedQueues::OnClosed closed;
        FetchOptions fetch;
        TagFilter filter;
        std::map<std::string, ParkedLane, std::less<>> parked;  // by key
        std::uint64_t parked_changes = 0;                       // made here
        std::deque<Job> released;                               // for any thread
    };

    struct DeadLetters;

    void open(const OpenedQueue& opened);
    void close(const QueueId& id, OrderedQueues::OnClosed closed);
    void read(Queue& queue) GANTRY_REQUIRES(mutex_);

    void work();
    bool next_job(Job& job);
    bool take_job(Job& job, SteadyTime now) GANTRY_REQUIRES(mutex_);
    SteadyTime next_look(SteadyTime now) const GANTRY_REQUIRES(mutex_);
    void feed(SteadyTime until);
    void hold(Queue& queue, Stash stash) GANTRY_REQUIRES(mutex_);
    void run(Job job);
    void failed(Job job);
    void finish(const Job& job);
    void again(Job job, std::chrono::milliseconds delay, bool has_failed);
    /// After work of the queue ended; what must be called without the lock.
    UniqueFunction<void()> after_work(Queue& queue) GANTRY_REQUIRES(mutex_);
    void bury(Job job);
    void buried(Job job, const Status& status);

    void settled();

    // ordered_settling.cc, with bury, buried and settled
    bool parks() const noexcept { return options_.poisoned == Poisoned::kPark; }

    bool is_parked(const Job& job);
    void refresh_in_loop();
    void ask_parked(const QueuePtr& queue);
    void take_parked(const QueuePtr& queue,
                     const std::vector<ParkedCalls::Key>& keys,
                     std::uint64_t changes);
    void park(Job job, bool is_new);
    void parked(Job job, const Result<ParkedLane>& lane);
    void fetch_released(const QueuePtr& queue, const std::string& key, std::int64_t offset);
    void give_released(Job job);
    void handled_released(Job job, const OrderedResult& result);
    void settle_released(Job job, ParkedCalls::Action action);
    void note_left(Queue& queue, const std::string& key, const ParkedLane& left);
    /// `next` in the slot's loop, after a while; when the queue is closing then the release ends.
    void after(const QueuePtr& queue,
               const std::string& key,
               std::chrono::milliseconds delay,
               UniqueFunction<void()> next);
    void end_release(const QueuePtr& queue, const std::string& key);

    void commit_in_loop();
    static std::int64_t commit_offset(const Queue& queue, std::int64_t read);
    std::string key_of(const MessageView& message) const;
    std::chrono::milliseconds backoff(std::uint32_t attempts) const;

    Runtime& runtime_;
    LoopSlot& slot_;
    const OrderedConsumer::Options options_;
    const std::size_t take_max_;
    OrderedConsumer::Listener listener_;
    const std::shared_ptr<QueueBuffers> buffers_;
    const std::shared_ptr<QueueLeases> leases_;
    const std::shared_ptr<OrderedQueues> assigner_;
    ParkedCalls parked_calls_;
    Counter& dead_count_;
    Counter& parked_count_;
    std::vector<std::thread> threads_;
    std::unique_ptr<net::Timer> commit_timer_;  // the slot's loop
    std::unique_ptr<net::Timer> parked_timer_;  // the slot's loop
    bool is_committing_ = false;                // the slot's loop

    Mutex mutex_;
    std::condition_variable changed_;
    std::map<QueueId, QueuePtr> queues_ GANTRY_GUARDED_BY(mutex_);
    QueueId last_ GANTRY_GUARDED_BY(mutex_);  // whose turn it was
    std::set<QueueId> suspended_ GANTRY_GUARDED_BY(mutex_);
    std::size_t settling_ GANTRY_GUARDED_BY(mutex_) = 0;
    bool all_suspended_ GANTRY_GUARDED_BY(mutex_) = false;
    bool is_feeding_ GANTRY_GUARDED_BY(mutex_) = false;
    bool is_stopping_ GANTRY_GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::client

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/consume/local_offsets.h"
#include "client/consume/queue_assigner.h"
#include "client/consume/queue_buffers.h"
#include "client/consumer.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "protocol/net/channel.h"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace gantry::client {

class Tracer;

/// The engine of a PushConsumer: threads that take batches from the buffers and run the listener,
/// commits, and the sending back of what failed.
///
/// Threads   start, stop: the application's, once each; stop not from the listener.
/// Errors    a message that no broker takes back stays unfinished and is given to the listener
///           again after retry_delay, as every one that fails is when `local` is there.
class PushWorkers : public std::enable_shared_from_this<PushWorkers> {
public:
    PushWorkers(Runtime& runtime,
                LoopSlot& slot,
                const PushConsumer::Options& options,
                PushConsumer::Listener listener,
                std::shared_ptr<LocalOffsets> local);
    ~PushWorkers();
    PushWorkers(const PushWorkers&) = delete;
    PushWorkers& operator=(const PushWorkers&) = delete;

    /// Joins the group and starts the threads. Errors of QueueAssigner::join.
    Status start(const std::map<std::string, Subscription>& subscriptions);
    /// Ends the threads after their running listener calls, commits, and leaves the group.
    void stop();

    std::vector<QueueId> assignment() const { return buffers_->queues(); }

private:
    struct Batch {
        Taken taken;
        std::vector<MessageView> messages;
        SteadyTime not_before;
        std::uint32_t attempts = 0;  ///< that failed, of a broadcast
    };

    struct SendBack;

    void work();
    bool next_batch(Batch& batch);
    void consume(Batch batch);
    ConsumeResult call_traced(const std::vector<MessageView>& messages);
    void failed_here(Batch batch);
    void send_back(Batch batch);
    void sent_back(Batch& batch);
    void commit_in_loop();
    void commit_lost(const QueueId& queue);
    bool may_release(const QueueId& queue);
    void commit_and_wait();
    void again_later(Batch batch) GANTRY_REQUIRES(mutex_);
    std::map<QueueId, std::int64_t> uncommitted();
    void committed(const std::map<QueueId, std::int64_t>& offsets);

    Runtime& runtime_;
    LoopSlot& slot_;
    const PushConsumer::Options options_;
    PushConsumer::Listener listener_;
    std::shared_ptr<QueueBuffers> buffers_;
    std::shared_ptr<QueueAssigner> assigner_;
    const std::shared_ptr<LocalOffsets> local_;  ///< of a broadcast consumer; else null
    Counter& given_up_count_;
    std::shared_ptr<Tracer> tracer_;  ///< null: nothing is traced
    std::vector<std::thread> threads_;
    std::unique_ptr<net::Timer> commit_timer_;  // the slot's loop
    bool has_stopped_ = false;

    Mutex mutex_;
    std::condition_variable changed_;
    std::deque<Batch> again_ GANTRY_GUARDED_BY(mutex_);  // by time
    std::map<QueueId, std::int64_t> committed_ GANTRY_GUARDED_BY(mutex_);
    std::size_t sending_back_ GANTRY_GUARDED_BY(mutex_) = 0;
    bool is_stopping_ GANTRY_GUARDED_BY(mutex_) = false;
    bool is_committing_ GANTRY_GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::client

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/consume/fetcher.h"
#include "client/consume/loss_teller.h"
#include "client/consume/record_reader.h"
#include "client/message.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/result.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace gantry::client {

class LoopSlot;
class Runtime;

/// How much is fetched ahead.
struct BufferLimits {
    std::uint64_t queue_bytes_max = std::uint64_t{16} << 20U;
    std::uint64_t total_bytes_max = std::uint64_t{64} << 20U;
};

/// What one call of take() has appended.
struct Taken {
    QueueId queue;
    std::uint64_t epoch = 0;
    std::int64_t begin = 0;  ///< names the batch in finish()
    std::size_t count = 0;
    LostRun lost{};  ///< with a count of 0 only
};

/// The queues a consumer reads: a fetcher and the chunks it has brought for each, and which of the
/// messages handed out are finished.
///
///   committed ... | begin of the oldest unfinished batch | ... | position | fetched ahead ...
///                   commit_offset()                            next of take()
///
/// Losses    are told in take(), when their turn has come: in the caller's thread, behind all that
///           was handed out before them; unfinished until told.
/// Limits    a queue with something buffered is not fetched further while it, all queues together,
///           or the client's memory budget are full; every queue may always hold one answer.
/// Threads   any.
class QueueBuffers final : public FetchSink, public std::enable_shared_from_this<QueueBuffers> {
public:
    QueueBuffers(Runtime& runtime, LoopSlot& slot, const BufferLimits& limits, OnLost on_lost = {});
    ~QueueBuffers() override;

    /// Starts to read a queue at `offset`; the epoch of what is taken of it from then on. 0, and
    /// nothing happens, when it is read already or after close.
    std::uint64_t add(const QueueId& queue,
                      const FetchOptions& options,
                      const TagFilter& filter,
                      std::int64_t offset);
    /// Drops the queue and what is buffered of it.
    void remove(const QueueId& queue);
    /// Ends fetching and hands out nothing more of it; what was handed out is to be finished.
    void drain(const QueueId& queue);
    /// Everything below it is finished, when nothing handed out is unfinished or `by_force`; -1:
    /// not read here.
    std::optional<std::int64_t> drained(const QueueId& queue, bool by_force) const;
    /// Queues of that broker, now and later, are handed out until then; time goes on by further
    /// calls.
    void set_lease(const std::string& broker, SteadyTime until);
    bool contains(const QueueId& queue) const;
    std::vector<QueueId> queues() const;

    /// Appends up to `count_max` messages of one queue to `into`, in order. Waits until `deadline`
    /// for the first; nothing when there is none by then, or after close. `tracked`: the batch is
    /// unfinished until finish().
    std::optional<Taken> take(std::vector<MessageView>& into,
                              std::size_t count_max,
                              SteadyTime deadline,
                              bool tracked);
    /// The batch is done with. Ignored when the queue was dropped or moved meanwhile.
    void finish(const Taken& batch);

    /// kNotFound: not read here.
    Status seek(const QueueId& queue, std::int64_t offset);
    void pause(const QueueId& queue);
    void resume(const QueueId& queue);

    /// Offset of the next message to hand out; -1: not read here.
    std::int64_t position(const QueueId& queue) const;
    /// Everything below it is finished.
    std::map<QueueId, std::int64_t> commit_offsets() const;
    std::optional<std::int64_t> commit_offset(const QueueId& queue) const;

    std::uint64_t moved_count() const noexcept { return moved_.load(std::memory_order_relaxed); }

    /// Ends every wait: take() gives nothing any more.
    void stop_taking();
    /// Drops everything, too.
    void close();

    bool on_chunk(const QueueId& queue, Chunk chunk) override;
    bool has_room_for(const QueueId& queue, std::size_t bytes) override;
    void on_moved(const QueueId& queue,
                  std::int64_t from,
                  std::int64_t offset,
                  std::uint64_t epoch) override;

private:
    struct Queue {
        QueueId id;
        TagFilter filter;
        std::shared_ptr<Fetcher> fetcher;
        std::deque<Chunk> chunks;
        std::map<std::int64_t, std::size_t> unfinished;  // begin of a batch to its messages
        std::size_t unfinished_messages = 0;
        std::int64_t position = 0;
        std::uint64_t epoch = 0;
        std::uint64_t bytes = 0;
        SteadyTime lease = SteadyTime::max();
        bool is_draining = false;
        bool is_paused = false;
        bool is_stalled = false;  // the fetcher waits for resume()
        bool is_ready = false;    // in ready_
    };

    std::optional<Taken> take_next(std::vector<MessageView>& into,
                                   std::size_t count_max,
                                   SteadyTime deadline,
                                   bool tracked);
    Taken take_lost_locked(Queue& queue) GANTRY_REQUIRES(mutex_);
    void pop_chunk_locked(Queue& queue) GANTRY_REQUIRES(mutex_);
    std::optional<Taken> take_locked(std::vector<MessageView>& into,
                                     std::size_t count_max,
                                     bool tracked) GANTRY_REQUIRES(mutex_);
    std::size_t read_chunk_locked(Queue& queue,
                                  std::vector<MessageView>& into,
                                  std::size_t count_max) GANTRY_REQUIRES(mutex_);
    void make_ready_locked(Queue& queue) GANTRY_REQUIRES(mutex_);
    void drop_chunks_locked(Queue& queue) GANTRY_REQUIRES(mutex_);
    void release_locked(Queue& queue, std::uint64_t bytes) GANTRY_REQUIRES(mutex_);
    void resume_stalled_locked() GANTRY_REQUIRES(mutex_);
    bool is_full_locked(const Queue& queue, std::uint64_t more = 0) const GANTRY_REQUIRES(mutex_);
    static bool is_leased(const Queue& queue);
    Queue* find_locked(const QueueId& queue) GANTRY_REQUIRES(mutex_);

    Runtime& runtime_;
    LoopSlot& slot_;
    const BufferLimits limits_;
    std::atomic<std::uint64_t> moved_{0};
    Counter& received_count_;
    Counter& corrupt_count_;
    LossTeller losses_;

    mutable Mutex mutex_;
    std::condition_variable arrived_;
    std::map<QueueId, Queue> queues_ GANTRY_GUARDED_BY(mutex_);
    std::map<std::string, SteadyTime> leases_ GANTRY_GUARDED_BY(mutex_);  // by broker
    std::deque<Queue*> ready_ GANTRY_GUARDED_BY(mutex_);
    std::uint64_t total_bytes_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::uint64_t next_epoch_ GANTRY_GUARDED_BY(mutex_) = 1;
    std::uint32_t stalled_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::uint32_t waiting_ GANTRY_GUARDED_BY(mutex_) = 0;
    bool is_stopped_ GANTRY_GUARDED_BY(mutex_) = false;
    bool is_closed_ GANTRY_GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::client

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "storage/cold/cold_memory.h"
#include "storage/cold/cold_pace.h"
#include "storage/cold/fair_queue.h"
#include "storage/cold/log_blocks.h"
#include "storage/cold/record_check.h"
#include "storage/cold/run_delay.h"
#include "storage/log/segment.h"
#include "storage/topic_table.h"
#include "storage/types.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace gantry::storage {

/// What a cold read needs of the store. Calls may block on the disk, and come from its threads.
class ColdSource {
public:
    ColdSource() = default;
    ColdSource(const ColdSource&) = delete;
    ColdSource& operator=(const ColdSource&) = delete;
    virtual ~ColdSource() = default;

    /// Units of the queue, as Store::read; fetches those that are not in memory.
    virtual ReadResult find(const Queue& queue, const ReadRequest& request) = 0;
    virtual SegmentPtr segment(LogOffset at) = 0;
    /// Bytes below it never change.
    virtual LogOffset end() = 0;
    /// [from, to) of the log is damaged.
    virtual void damage_found(LogOffset from, LogOffset to, std::string why) = 0;
    /// Syncs of the log that producers waited for so far, and microseconds spent in them.
    virtual std::pair<std::uint64_t, std::uint64_t> flushes() = 0;
};

/// Reads of what is not in memory, by a few threads: large, sequential, ahead of the readers.
///
///   reader -> group's turn -> units -> chunks of 1 MiB (shared, read ahead) -> reply: copied,
///             (fair, paced)                                                    checked, handed
///             over
///
/// A reader that goes on where it stopped gets the next 1 to 4 MiB of the log read while its reply
/// is on the way. Readers near one another share chunks. Records that lie alone are read alone.
/// Each record is checked, body CRC included; the reply ends before a damaged one.
///
/// Units     bytes; microseconds where named so.
/// Threads   read, answered_after: any. Threads "cold-0" ... inside, at a lower priority; they call
///           ColdDone.
/// Errors    given to ColdDone: kIo when the disk does not give the bytes of the first record;
///           kCorrupt is a status of the result. read: kBusy above kWaitingMax; kClosed.
/// Lifetime  `source`, `clock`, `metrics` outlive it.
/// Limits    memory_bytes of chunks, a chunk per thread, and replies: above half of memory_bytes
///           not taken yet they shrink to one record. A group's rate and the rate of all: ColdPace.
class ColdReader {
public:
    static constexpr std::size_t kWaitingMax = 100'000;
    /// Part of a chunk below which a lone reader's records are read without the rest.
    static constexpr std::uint64_t kSparseShare = 16;
    static constexpr std::uint64_t kAheadBytesMax = std::uint64_t{4} << 20U;

    ColdReader(ColdSource& source,
               const Clock& clock,
               MetricRegistry& metrics,
               const ColdOptions& options);
    ~ColdReader();
    ColdReader(const ColdReader&) = delete;
    ColdReader& operator=(const ColdReader&) = delete;

    /// Starts the threads, also after stop(). Idempotent. Not while another thread stops it.
    void start();
    /// Answers what waits with kClosed, finishes what runs. Idempotent. Blocks.
    void stop();

    /// Queues the request; `done` is called once if it is taken. Does not block.
    Status read(ColdRequest request, ColdDone done);
    /// How long a loop took to get to a reply after it was handed over. Called by that loop's
    /// thread.
    void answered_after(std::chrono::nanoseconds lag);

    /// Bytes of the log have changed that were damaged: what was read of them is not used again.
    void forget_chunks();

private:
    struct Job;
    using JobPtr = std::unique_ptr<Job>;

    /// Where one reader of one queue is.
    struct Stream {
        QueueOffset next;
        LogOffset at;              ///< of the log, about where `next` is
        std::uint64_t window = 0;  ///< bytes of the log to read ahead; 0: not sequential so far
        SteadyTime used{};
    };

    using StreamKey = std::pair<const Queue*, std::uint64_t>;

    /// Where a reply was read, and where its reader goes on.
    struct Position {
        StreamKey key{};
        QueueOffset from, next;
        LogOffset first, last;  ///< what it spans of the log
        bool is_sparse = false;
    };

    /// Read by gauges, which may outlive the reader.
    struct Levels {
        std::atomic<std::uint64_t> rate{0};
        std::atomic<std::uint64_t> memory_bytes{0};
        std::atomic<std::uint64_t> waiting{0};
        std::atomic<std::uint64_t> lag_us{0};  ///< smoothed
    };

    struct Numbers {
        explicit Numbers(MetricRegistry& metrics);
        std::shared_ptr<Levels> levels = std::make_shared<Levels>();
        Counter& reads;
        Counter& bytes;
        Counter& disk_reads;
        Counter& disk_bytes;
        Counter& errors;
        Counter& damaged;
    };

    void run();
    bool pick(JobPtr& job, LogOffset& ahead);
    bool pick_locked(SteadyTime now, JobPtr& job, LogOffset& ahead) GANTRY_REQUIRES(mutex_);
    void wait_locked(MutexLock& lock, SteadyTime now) GANTRY_REQUIRES(mutex_);

    void work(JobPtr job);
    bool begin(Job& job);
    void plan(Job& job);
    Result<bool> advance(JobPtr& job);
    void copy(Job& job, const ChunkCache::Chunk& chunk);
    Status read_alone(Job& job);
    void finish(JobPtr job, const Status& status);
    void check(Job& job);
    bool keep_whole_records(Job& job);
    void trim(Job& job, std::uint32_t count);
    void follow(const Position& at, SteadyTime now) GANTRY_REQUIRES(mutex_);
    std::int64_t place_of(const ColdRequest& request) const GANTRY_REQUIRES(mutex_);
    void want(LogOffset from, LogOffset to) GANTRY_REQUIRES(mutex_);
    void forget_streams(SteadyTime now) GANTRY_REQUIRES(mutex_);

    static LogOffset chunk_of(const Segment& segment, LogOffset at) noexcept;
    void read_ahead(LogOffset at);
    Status fill(const Segment& segment, ChunkCache::Chunk& chunk);
    void filled(ChunkCache::ChunkPtr chunk, const Status& status);

    ColdSource& source_;
    const Clock& clock_;
    const ColdOptions options_;
    Numbers numbers_;
    LogBlocks blocks_;
    ReplyMemory replies_;

    mutable Mutex mutex_;
    std::condition_variable wake_;
    bool is_stopping_ GANTRY_GUARDED_BY(mutex_) = false;
    ColdPace pace_ GANTRY_GUARDED_BY(mutex_);
    RunDelay loop_delay_ GANTRY_GUARDED_BY(mutex_);
    FairQueue<JobPtr> waiting_ GANTRY_GUARDED_BY(mutex_);
    std::deque<JobPtr> runnable_ GANTRY_GUARDED_BY(mutex_);  ///< their chunk has come
    std::unordered_map<std::int64_t, std::vector<JobPtr>> for_chunk_ GANTRY_GUARDED_BY(mutex_);
    ChunkCache chunks_ GANTRY_GUARDED_BY(mutex_);
    std::deque<LogOffset> ahead_ GANTRY_GUARDED_BY(mutex_);
    std::unordered_set<LogOffset> is_ahead_ GANTRY_GUARDED_BY(mutex_);
    std::map<StreamKey, Stream> streams_ GANTRY_GUARDED_BY(mutex_);
    SteadyTime swept_at_ GANTRY_GUARDED_BY(mutex_){};
    SteadyTime busy_at_ GANTRY_GUARDED_BY(mutex_){};
    std::vector<std::thread> threads_;
};

}  // namespace gantry::storage

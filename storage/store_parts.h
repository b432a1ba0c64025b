// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/metrics.h"
#include "common/mutex.h"
#include "storage/checkpoint.h"
#include "storage/cold/cold_reader.h"
#include "storage/index/consume_queues.h"
#include "storage/index/key_index.h"
#include "storage/log/commit_log.h"
#include "storage/log/lost_ranges.h"
#include "storage/retention/retention.h"
#include "storage/state_machine.h"
#include "storage/store.h"
#include "storage/topic_table.h"
#include "storage/transaction/transactions.h"

#include <condition_variable>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

namespace gantry::storage {

class Mender;
class Pops;
class ReplicaLog;
class Scrubber;
class Timers;

/// Writes a checkpoint whenever checkpoint_bytes of log became durable since the last one, and at
/// close. Its cost grows with the queues that were written to, so one that took long is followed by
/// a rest of kRestPart times as long, or of kLateFactor times checkpoint_bytes when that is sooner.
///
/// Threads   one inside; flushed: any.
/// Lifetime  `parts` outlives it.
class Checkpointer {
public:
    static constexpr int kRestPart = 8;
    static constexpr std::int64_t kLateFactor = 4;
    /// How long one waits for other copies to have what it covers.
    static constexpr std::chrono::milliseconds kConfirmWaitMax{5'000};

    explicit Checkpointer(Store::Parts& parts) noexcept : parts_(parts) {}

    /// Starts the thread; the next checkpoint is due checkpoint_bytes behind `last`.
    void start(LogOffset last);
    /// Tells how far the log is durable.
    void flushed(LogOffset at);
    /// Ends the thread after the checkpoint under way, and writes none. Blocks. Idempotent.
    void stop();
    /// Writes one now, of nothing that a cut may take away. Blocks on the disk, and while another
    /// thread writes one. kBusy: other copies do not have it in time.
    Status write();
    /// Blocks until the log below `end` is durable here and confirmed. kBusy: not in time.
    Status wait_safe(LogOffset end);
    /// Sees to it that no start needs the log below `at`, even one that finds the newest snapshot
    /// damaged. Blocks on the disk.
    Status reach(LogOffset at);

private:
    void run();
    void set_due(LogOffset last) GANTRY_REQUIRES(mutex_);
    bool may_wait();

    Store::Parts& parts_;
    Mutex write_mutex_;  ///< one checkpoint at a time
    LogOffset newest_ GANTRY_GUARDED_BY(write_mutex_);
    LogOffset older_
        GANTRY_GUARDED_BY(write_mutex_);  ///< the one before it, whose snapshot is kept
    Mutex mutex_;
    std::condition_variable woken_;
    LogOffset due_ GANTRY_GUARDED_BY(mutex_);
    LogOffset late_ GANTRY_GUARDED_BY(mutex_);           ///< due here in any case
    SteadyTime rest_until_ GANTRY_GUARDED_BY(mutex_){};  ///< not due before, unless late
    bool is_due_ GANTRY_GUARDED_BY(mutex_) = false;
    bool is_stopping_ GANTRY_GUARDED_BY(mutex_) = false;
    std::thread thread_;
};

/// What checking a record learns about it and storing it needs.
struct RecordShape {
    std::uint32_t bytes = 0;
    std::int64_t tag = 0;         ///< of its unit
    std::string_view properties;  ///< in the caller's bytes
};

/// Checked records of one queue, stored in one step.
struct Batch {
    Bytes records;
    const std::vector<RecordShape>& shapes;
    bool has_keys = false;
};

/// What a Store is made of, in the order in which it comes to life.
struct Store::Parts {
    Parts(FileSystem& file_system,
          Clock& wall,
          MetricRegistry& registry,
          const StoreOptions& store_options);
    ~Parts();

    std::filesystem::path path(const char* name) const { return options.directory / name; }

    /// Brings the parts to life, one after the other, and fills `report`. Errors: of Store::open.
    Status open(RecoveryReport& report);
    /// Reads the list of lost ranges; before the log.
    Status open_lost();
    /// The last checkpoint, and the mark of a clean stop; neither when other copies lack some of
    /// it.
    Status close_cleanly();
    /// What Store's functions of the same names do.
    Status close();
    Result<Appended> append_records(Queue& queue,
                                    Bytes records,
                                    std::uint32_t count,
                                    bool has_keys);
    Result<Appended> append_batch(Queue& queue, const Batch& batch);
    /// `marks`: Gantry's bits of sysFlag that the messages bring and keep.
    Result<Appended> append_messages(Queue& queue,
                                     std::span<const wire::Record> messages,
                                     std::int32_t marks = 0);
    /// Adds the keys of a message to the key index. A key that cannot be added costs its search,
    /// never the message.
    void index_keys(std::string_view topic,
                    std::string_view properties,
                    LogOffset at,
                    WallMs store_ms);
    Result<std::string> record_at(LogOffset at) const;
    /// Quarantines [from, to) of the log, where whole records or blocks were found damaged while
    /// the store runs: readers step over what overlaps it from now on, and after a restart. Tells
    /// it once. Any thread but a loop: blocks on the disk.
    void damage_found(LogOffset from, LogOffset to, std::string why);
    /// Store time of a queue's message; -1 when there is none.
    WallMs store_time_at(const QueueIndex& queue, QueueOffset at) const;
    /// The first of a queue's messages [from, to) that was stored at or behind `time` (`is_after`:
    /// behind it), or `to`. A lost message counts as stored with the next one that is not; those
    /// with none behind them as stored later. Binary search.
    QueueOffset first_stored(const QueueIndex& queue,
                             QueueOffset from,
                             QueueOffset to,
                             WallMs time,
                             bool is_after = false) const;
    /// Store time of the record at `at`; -1 when the log has no bytes there.
    WallMs store_time_of(LogOffset at) const;

    /// Units above it are not shown to readers.
    LogOffset confirmed() const noexcept { return log->watermarks().confirmed; }

    FileSystem& files;
    Clock& clock;
    MetricRegistry& metrics;
    const StoreOptions options;
    Counter& appended_messages;
    Counter& appended_bytes;

    std::unique_ptr<File> lock;
    std::unique_ptr<ConsumeQueues> queues;
    std::unique_ptr<KeyIndex> keys;
    std::unique_ptr<TopicTable> topics;
    std::unique_ptr<LogStateMachine> state;
    std::unique_ptr<Transactions> transactions;
    std::unique_ptr<Pops> pops;
    std::unique_ptr<Timers> timers;
    std::unique_ptr<CommitLog> log;
    std::unique_ptr<LostRanges> lost;
    std::unique_ptr<ReplicaLog> replica;
    std::unique_ptr<Checkpointer> checkpointer;
    std::unique_ptr<Retention> retention;
    std::unique_ptr<Mender> mender;      ///< so does that of this one
    std::unique_ptr<Scrubber> scrubber;  ///< its thread ends before anything it uses

    Mutex progress_mutex;
    std::function<void()> on_progress GANTRY_GUARDED_BY(progress_mutex);
    bool is_closed = false;

    std::unique_ptr<ColdSource> cold_source;
    std::unique_ptr<ColdReader> cold;  ///< last: its threads end before anything they use
};

}  // namespace gantry::storage

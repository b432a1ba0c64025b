// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/result.h"
#include "storage/index/queue_index.h"
#include "storage/log/block_sums.h"
#include "storage/log/log_numbers.h"
#include "storage/log/segment.h"
#include "storage/log/volume_room.h"
#include "storage/replica/epochs.h"
#include "storage/types.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

namespace gantry::storage {

class Flusher;
class Preparer;
class RawAppend;

/// What is left of a segment behind its last record: marked, so that readers skip it.
struct BlankTail {
    std::byte* memory = nullptr;
    std::uint32_t bytes = 0;
};

/// A place in the log that one appender fills and then publishes.
struct Reservation {
    LogOffset from;   ///< where the log ended before; below `first` when a segment was left
    LogOffset first;  ///< of the first record
    LogOffset end;
    std::byte* memory = nullptr;  ///< [first, end)
    WallMs store_ms = 0;          ///< never below that of an earlier reservation
    QueueIndex* queue = nullptr;
    QueueOffset queue_offset;  ///< of the first record
    std::uint32_t count = 0;
    BlankTail blank;
};

/// The commit log: every record in arrival order, in segment files.
///
///   reserve (lock: offsets, segment roll) -> fill `memory` (no lock) -> publish (in log order)
///
///   first              flushed              appended         tail
///     o-------------------o--------------------o---------------o
///     | survives power    | whole, readable    | being filled  | next reservation
///
/// Units     bytes; layout in docs/formats/commit-log.md.
/// Threads   reserve, publish, watermarks, read: any. Two helper threads inside: the flusher
///           makes bytes durable, the preparer makes the next segment and prefaults.
/// Errors    kDiskFull: the next segment cannot be allocated; nothing was reserved; goes away by
///           itself. kReadOnly: a sync failed, for good. kClosed. kBusy: the next segment was not
///           ready within segment_wait_max.
/// Lifetime  `files`, `clock`, `metrics` outlive the log.
class CommitLog {
public:
    static constexpr std::chrono::milliseconds kSegmentWaitMax{5'000};

    /// Opens or creates the files; appends nothing before start(). kCorrupt: see open_segments.
    static Result<std::unique_ptr<CommitLog>> open(FileSystem& files,
                                                   Clock& clock,
                                                   MetricRegistry& metrics,
                                                   const StoreOptions& options);
    ~CommitLog();
    CommitLog(const CommitLog&) = delete;
    CommitLog& operator=(const CommitLog&) = delete;

    /// Takes `tail` as the end of the log and starts the helper threads. After an unclean stop,
    /// `unclean_from` says from where bytes may not be durable: they are synced, and everything at
    /// and behind `tail` is removed durably, so that stale bytes never come back. No room for the
    /// next segment is no error: appends get kDiskFull until there is.
    Status start(LogOffset tail, std::optional<LogOffset> unclean_from);

    /// Room for `bytes` of records that take `count` offsets of `queue`. Then fill memory, put the
    /// units and publish, without delay: later reservations cannot be published before this one.
    /// kRefused: larger than a segment. Errors of QueueIndex::ensure_room too. Nothing is reserved
    /// when it fails.
    Result<Reservation> reserve(std::uint64_t bytes, QueueIndex& queue, std::uint32_t count);

    /// Makes a filled reservation readable, its queue first, then the log. Waits for reservations
    /// before it, which their threads are filling.
    void publish(const Reservation& reserved);

    /// Asks the flusher for a sync of everything appended so far, and does not wait for it.
    void flush_soon();
    /// Blocks until everything below `at` is durable. kReadOnly: it never will be.
    Status wait_flushed(LogOffset at);
    /// As long as that does not take longer than to `deadline`, and without asking for it. False:
    /// it is not durable by then.
    Result<bool> wait_flushed_until(LogOffset at, SteadyTime deadline) const;
    Watermarks watermarks() const noexcept;
    /// See ReplicaLog::confirm. Tells on_progress when readers see more.
    void confirm(LogOffset to);
    /// Appends get `why` from now on; nothing: they are taken again.
    void refuse_appends(std::optional<Error> why);
    /// What checksums of blocks say of their epochs.
    void set_epochs(EpochList epochs);
    /// Recovery: a log without segments begins at `first`.
    void begin_at(LogOffset first);

    LogOffset appended() const noexcept {
        return LogOffset(numbers_->appended.load(std::memory_order_acquire));
    }

    LogOffset flushed() const noexcept {
        return LogOffset(numbers_->flushed.load(std::memory_order_acquire));
    }

    LogOffset first() const noexcept {
        return LogOffset(numbers_->first.load(std::memory_order_acquire));
    }

    std::string read_only_reason() const;

    /// What the log takes of its volumes, and what they have left. kIo.
    Result<std::vector<VolumeRoom>> volumes() const;

    VolumeLimits volume_limits() const noexcept {
        return {options_.volume_bytes_max, options_.free_bytes_min};
    }

    /// How far the log may be deleted at most: where the segment that holds the newest durable and
    /// confirmed byte starts, so that the log always knows where it ends.
    LogOffset deletable_end() const;
    /// Where the segment of `at` starts; `at` itself when there is none.
    LogOffset segment_start(LogOffset at) const;
    /// Whether appends get, or soon will get, kDiskFull.
    bool lacks_room() const;
    /// Tries at once again to make the next segment.
    void room_was_made();
    /// Whether segments below first() wait for detach_deleted.
    bool has_undetached() const;
    /// Moves first() up to `to`, where a segment starts, not above deletable_end(): readers see
    /// nothing below it from now on. Takes effect for good with detach_deleted.
    void advance_first(LogOffset to);
    /// Takes the segments below first() off the log for good: their checksums go, then their files
    /// get a name that says so, durably, then nobody finds them here. A stop in between leaves
    /// segments that are there or not. Readers that have one keep it. Blocks. One at a time.
    Result<std::vector<DeletedFile>> detach_deleted();

    /// For lost bytes that no file holds: makes the file of the segment [base, base + bytes), of
    /// zeros and durable, or gives one that is too short that size. Readers find it from then on.
    /// Blocks. kDiskFull: there is no room for it beside free_bytes_min.
    Result<SegmentPtr> restore_segment(LogOffset base, std::uint64_t bytes);

    /// Runs after flushed or confirmed moved or appends are refused, in the thread that did it.
    void on_progress(std::function<void()> on_progress);

    const SegmentSet& segments() const noexcept { return segments_; }

    /// Checksums of durable bytes; for recovery, before start.
    const BlockSums& sums() const noexcept { return sums_; }

    /// Copies log bytes of one segment, appended or not, from the mapping or the file. kNotFound:
    /// `at` is in no segment. Shorter than `into` at the segment's end.
    Result<std::size_t> copy(LogOffset at, MutableBytes into) const;

    /// Syncs what is appended and stops the threads; appends get kClosed. Idempotent.
    Status close();

private:
    friend class Flusher;
    friend class Preparer;
    friend class RawAppend;

    CommitLog(FileSystem& files,
              Clock& clock,
              MetricRegistry& metrics,
              const StoreOptions& options);

    bool take_room(std::uint64_t bytes, Reservation& reserved) GANTRY_REQUIRES(mutex_);
    bool roll(Reservation& reserved) GANTRY_REQUIRES(mutex_);
    Status wait_for_segment(std::uint64_t bytes);
    void finish_before(const Reservation& reserved);
    void after_publish(const Reservation& reserved);
    Status cut_at(LogOffset tail, std::optional<LogOffset> unclean_from);
    void register_metrics(MetricRegistry& metrics);
    void add_volume_gauges(MetricRegistry& metrics);

    // For the helper threads.
    LogOffset next_base() const;
    bool needs_next() const;
    void install_next(Result<SegmentPtr> made);
    void retire_cold_segments();
    void note_volumes();
    void flushed_to(LogOffset at);
    void add_sums(LogOffset from, LogOffset to);
    void poison(const Error& why);

    bool is_poisoned() const noexcept { return is_poisoned_.load(std::memory_order_acquire); }

    void report_progress();

    FileSystem& files_;
    Clock& clock_;
    const StoreOptions options_;
    std::vector<std::filesystem::path> directories_;  ///< of segments; set by open
    std::shared_ptr<LogNumbers> numbers_ = std::make_shared<LogNumbers>();
    SegmentSet segments_;
    BlockSums sums_;  ///< the flusher's once started, as is the next
    bool is_missing_sums_ = false;

    std::atomic<std::int64_t> confirm_;  ///< how far others have it
    std::atomic<bool> is_poisoned_{false};
    std::atomic<std::int64_t> wake_preparer_at_{0};
    std::atomic<std::int64_t> wake_flusher_at_{0};

    mutable Mutex mutex_;
    LogOffset tail_ GANTRY_GUARDED_BY(mutex_);
    SegmentPtr active_ GANTRY_GUARDED_BY(mutex_);  ///< null before the first one could be made
    SegmentPtr next_ GANTRY_GUARDED_BY(mutex_);
    std::optional<Error> next_error_ GANTRY_GUARDED_BY(mutex_);
    WallMs last_store_ms_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::optional<Error> stopped_ GANTRY_GUARDED_BY(mutex_);  ///< read-only or closed, and why
    std::optional<Error> refused_ GANTRY_GUARDED_BY(mutex_);  ///< see refuse_appends
    bool is_next_wanted_ GANTRY_GUARDED_BY(mutex_) = false;   ///< somebody waits for it
    EpochList epochs_ GANTRY_GUARDED_BY(mutex_);
    std::condition_variable next_changed_;

    mutable Mutex progress_mutex_;
    mutable std::condition_variable progressed_;
    std::function<void()> on_progress_ GANTRY_GUARDED_BY(progress_mutex_);

    Counter& segment_waits_;
    std::unique_ptr<Preparer> preparer_;
    std::unique_ptr<Flusher> flusher_;
};

}  // namespace gantry::storage

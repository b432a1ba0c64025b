// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/file_system.h"
#include "common/metrics.h"
#include "common/result.h"
#include "storage/state_machine.h"
#include "storage/topic_table.h"
#include "storage/transaction/transactions.h"
#include "storage/types.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::storage {

class Pops;
class ReplicaLog;
class ReplicaSource;
class Timers;

/// The storage engine of one broker: the commit log, its consume queues, key index and state
/// machine, and the threads that flush and prepare segments.
///
///   loop thread              flusher thread         preparer thread
///   append -> reserve        fdatasync, one for     next segment: fallocate, map;
///          -> fill, publish  all that waited        prefault ahead of the tail
///          -> appended       -> flushed, confirmed
///
/// Threads   append_*, read, find_*, watermarks: any thread; none waits for a disk, unless a page
///           of the log must be faulted in (prefaulted ahead). warm_up, query: a pool thread, they
///           block on the disk. Listeners are called from the flusher or the appender: they post.
/// Errors    kDiskFull: no room for the next segment, nothing was written, resumes by itself.
///           kReadOnly: a sync or write failed before (reason in detail); readers go on.
///           kRefused: a limit, names field, value and limit. kCorrupt: stored bytes are damaged.
/// Lifetime  `files`, `clock`, `metrics` outlive the store. Topic* and Queue* live as long as the
///           store.
/// Source    docs/architecture.md, docs/formats/commit-log.md.
class Store {
public:
    /// A store ready for appends, and what it took to recover it.
    struct Opened {
        std::unique_ptr<Store> store;
        RecoveryReport recovery;
    };

    /// Takes the store lock, recovers, starts the threads. kConflict: another process has the
    /// store. kCorrupt: something recovery must not repair by itself, with the file's name.
    static Result<Opened> open(FileSystem& files,
                               Clock& clock,
                               MetricRegistry& metrics,
                               const StoreOptions& options);
    ~Store();
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;

    /// Flushes, snapshots, marks the stop as clean. Later appends get kClosed. Idempotent. Blocks.
    Status close();

    /// One round of the scrubber over all that is durable, now and without its limit: damage is
    /// quarantined, see docs/durability.md. Blocks on the disk. kClosed.
    Result<ScrubReport> scrub();

    /// Other copies of the log that lost pieces of this one are taken from, in the background, from
    /// now on; null: there are none. Any thread, does not block. See docs/durability.md.
    void repair_from(std::shared_ptr<ReplicaSource> source);
    /// Tries that now, for all that is lost. Blocks. kNotFound: there are no other copies. kClosed.
    Result<MendReport> repair();

    /// The living topic of that name, or null.
    Topic* find_topic(std::string_view name) const;
    /// Living topics, by name.
    std::vector<Topic*> topics() const;

    /// Appends `count` records laid end to end in stored form, as Gantry's producers send them:
    /// checked (sizes, topic, queue id, count, body CRC left to readers), copied as they are,
    /// patched in place. All of them or none. A first record with sysFlag kNumbered and a
    /// SendNumber makes them a numbered send, stored once however often it is sent; besides:
    /// kConflict: one before it is missing. kGone: its numbers are not known, or of an earlier
    /// epoch. kUnknown: stored before, where is not known. See ProducerTable.
    Result<Appended> append_records(Queue& queue,
                                    Bytes records,
                                    std::uint32_t count,
                                    bool has_keys);
    /// Encodes and appends messages of one queue; offsets, times, store host are set here.
    Result<Appended> append_messages(Queue& queue, std::span<const wire::Record> messages);

    /// Asks the flusher for a sync of everything appended so far (sync mode: once a pass).
    void flush_soon();
    /// Waits until this copy holds the log up to `to` as its flush mode asks; false: not by then.
    /// Asks for no flush. kReadOnly: it never will. Blocks: not on a loop.
    Result<bool> wait_local(LogOffset to, SteadyTime deadline) const;

    Watermarks watermarks() const noexcept;
    FlushMode flush_mode() const noexcept;
    /// Empty while writable, else why not.
    std::string read_only_reason() const;

    /// `on_progress` runs after flushed or confirmed moved, or the store became read-only. Set
    /// before the first append.
    void on_progress(std::function<void()> on_progress);

    /// Finds records of a queue by its consume queue: no bytes are copied, adjacent ones merged.
    ReadResult read(const Queue& queue, const ReadRequest& request) const;
    /// The same for what must come from the disk: shared, read ahead, paced, by turns of groups,
    /// and each record checked. Does not block; `done` comes later. kBusy: too many wait. kClosed.
    Status read_cold(ColdRequest request, ColdDone done) const;
    /// How long a loop took to get to a cold reply: cold reads slow down when loops are late.
    void cold_answered_after(std::chrono::nanoseconds lag) const;
    /// Answers cold reads that wait with kClosed and takes no more: none calls back when it
    /// returns. Blocks. Idempotent.
    void stop_cold_reads();
    /// Takes them again.
    void start_cold_reads();
    /// Brings the runs of a cold result into the page cache, sequentially.
    void warm_up(const ReadResult& result) const;
    /// End of the queue as readers may see it.
    QueueOffset confirmed_max(const Queue& queue) const;

    /// Copy of the record that starts at `at`. kNotFound: outside the log, or no record starts
    /// there. kCorrupt: damaged.
    Result<std::string> record_at(LogOffset at) const;
    /// First offset whose store time is >= `time` (upper: last one <= `time`).
    QueueOffset offset_by_time(const Queue& queue, WallMs time, bool upper) const;
    /// Store time of the message at `at`; -1 when there is none.
    WallMs store_time_at(const Queue& queue, QueueOffset at) const;

    /// Messages of a topic with one key, stored within [begin, end] (give or take a second).
    struct KeyQuery {
        std::string_view topic;
        std::string_view key;  ///< a word of KEYS, or a UNIQ_KEY
        WallMs begin = 0;
        WallMs end = 0;
        std::uint32_t count_max = 32;
    };

    /// Log offsets of messages with exactly that key, newest first.
    std::vector<LogOffset> find_by_key(const KeyQuery& query) const;

    /// Deletes what may go by now, instead of waiting for the next look. Errors: of the disk; what
    /// could not be deleted is tried again. Blocks.
    Status delete_expired();
    /// What deletion has done and is about to do.
    RetentionStatus retention_status() const;

    /// Topics, groups and committed offsets. Lives as long as the store.
    StateMachine& state() noexcept;
    /// Half messages and what became of them. Lives as long as the store.
    Transactions& transactions() noexcept;
    /// Of how many producers and queues numbered sends are remembered.
    std::size_t numbered_queues() const noexcept;
    /// What groups that pop have in flight. Lives as long as the store.
    Pops& pops() noexcept;

    /// The store as one of several copies of a log. Lives as long as the store.
    ReplicaLog& replica() noexcept;

    /// Delayed messages. Lives as long as the store.
    Timers& timers() noexcept;

    /// What it is made of; for the room's own sources.
    struct Parts;

private:
    explicit Store(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/wire/record.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace gantry::storage {

struct Queue;

/// What a start does about damage in the middle of the log: bytes that were durable once.
enum class OnDamage : std::uint8_t {
    kQuarantine,  ///< keeps the damaged pieces from readers, serves everything else
    kRefuse,      ///< does not start: kCorrupt
};

/// When an acknowledgement may leave. The promise of each mode is in docs/durability.md.
enum class FlushMode : std::uint8_t {
    kAsync,  ///< at once; written back every flush_interval
    kSync,   ///< when fdatasync has returned for the bytes
};

/// Positions in the log, always first <= flushed <= appended and confirmed <= appended.
///
///   first            flushed            appended
///     o-----------------o-------------------o
///     | survives power  | in memory, whole  | next append lands here
///
/// local: this copy holds it as the flush mode asks. Async: appended; sync: flushed.
/// confirmed: readers see records that end at or below it: local, and in every in-sync copy.
struct Watermarks {
    LogOffset first, flushed, appended, local, confirmed;
};

/// Where a batch was put. `end` is what the flushed watermark must reach for sync mode.
struct Appended {
    LogOffset first;
    LogOffset end;
    QueueOffset queue_offset;
    std::uint32_t count = 0;
    WallMs store_ms = 0;
    bool is_repeat = false;  ///< of a numbered send: it was stored before, nothing was appended
};

/// Bytes of the log, adjacent on disk: whole records in queue order. Sent by sendfile from `fd`
/// when long, from `memory` when short; `pin` keeps segment, mapping and descriptor alive.
struct LogRun {
    Bytes memory;  ///< empty when the segment is not mapped
    int fd = -1;
    std::uint64_t file_offset = 0;
    std::uint64_t length = 0;
    std::shared_ptr<const void> pin;
    LogOffset at;  ///< of the first byte
};

/// How a read ended.
enum class ReadStatus : std::uint8_t {
    kFound,
    kNoMatch,   ///< everything examined was filtered out; go on at `next`
    kAtEnd,     ///< asked for the end of the queue: nothing there yet
    kTooSmall,  ///< below the queue's first offset; `next` is that
    kTooLarge,  ///< beyond the end; `next` is the end
    kCorrupt,   ///< [lost_from, next) are lost to damage, all that lie side by side; what is before
                ///< them was filtered out
};

/// What to read of one queue, and how much at most.
struct ReadRequest {
    QueueOffset from;
    std::uint32_t bytes_max = 256U << 10U;  ///< one record is always allowed
    std::uint32_t count_max = 32;
    const std::vector<std::int64_t>* tag_hashes = nullptr;  ///< null: no filter
    std::uint32_t scan_max = 16'384;                        ///< units examined at most
    WallMs now = 0;  ///< messages that expired before are left out; 0: none are
    /// Of what must come from the disk: less, so that no reader holds up the others.
    std::uint32_t cold_bytes_max = 256U << 10U;
    /// Touches no unit that may have to come from the disk: is_cold is set then, without runs.
    bool is_in_loop = false;
    /// Just appended, so in memory: saves asking the kernel.
    bool is_fresh = false;
};

/// What a read found. `min` and `max` are the ends of the queue as readers may see it, `next` where
/// to go on; the bytes of the runs stay valid as long as their pins.
struct ReadResult {
    ReadStatus status = ReadStatus::kAtEnd;
    QueueOffset next, min, max;
    QueueOffset lost_from;  ///< of kCorrupt
    std::vector<LogRun> runs;
    std::uint64_t bytes = 0;
    std::uint32_t count = 0;
    std::uint32_t expired = 0;  ///< left out because their time is over
    bool is_cold = false;       ///< something is not in the page cache: Store::read_cold
};

/// A read that may have to wait for the disk.
struct ColdRequest {
    const Queue* queue = nullptr;
    ReadRequest units;                                      ///< tag_hashes: see tags
    std::shared_ptr<const std::vector<std::int64_t>> tags;  ///< kept until it is done
    std::string group;         ///< whose turn it is and whose rate it counts against
    std::uint64_t stream = 0;  ///< tells readers of one queue apart: who goes on is read ahead for
};

/// Called once, in a thread of the store. What was found is in memory, or in the page cache after
/// all. kIo: the disk does not give it. kClosed: the store is closing.
using ColdDone = UniqueFunction<void(Result<ReadResult>)>;

/// How cold reads go: how fast, in how much memory.
struct ColdOptions {
    std::uint32_t threads = 4;
    std::uint64_t memory_bytes = std::uint64_t{64} << 20U;
    std::uint64_t bytes_per_second = 0;        ///< of all; 0: as fast as others do not suffer
    std::uint64_t group_bytes_per_second = 0;  ///< of one group; 0: no limit
    bool is_direct = true;                     ///< past the page cache where that is possible
};

/// What the deletion of old messages has done, and what presses it.
struct RetentionStatus {
    std::string alarm;                ///< why appends are about to be refused, or empty
    std::uint32_t percent_taken = 0;  ///< of the room the log may take
    std::uint64_t deleted_segments = 0;
    std::uint64_t deleted_bytes = 0;
    std::map<std::string, std::uint64_t> unconsumed;  ///< deleted though not consumed, by group
};

/// How the scrubber goes over the log, again and again.
struct ScrubOptions {
    std::uint64_t bytes_per_second = 0;  ///< read from the disk, at most; 0: it does not
    std::chrono::milliseconds interval{86'400'000};  ///< from round to round, at least
    bool is_direct = true;                           ///< past the page cache where that is possible
};

/// What one round of the scrubber has read and found.
struct ScrubReport {
    LogOffset from, to;  ///< what of the log was there
    std::uint64_t bytes = 0;
    std::uint64_t records = 0;
    std::uint64_t blocks = 0;       ///< compared with their sums
    std::uint64_t units = 0;        ///< compared with their records
    std::uint64_t damage = 0;       ///< pieces of the log that are damaged
    std::uint64_t read_errors = 0;  ///< of them: the disk does not give them
    std::uint64_t wrong_units = 0;
    std::uint64_t mended_units = 0;  ///< of them: written again
    std::uint64_t rereads = 0;       ///< places that were whole when read again
};

/// What one pass over the lost ranges of the log took from other copies.
struct MendReport {
    std::uint64_t ranges = 0;  ///< lost before, joined where they touch
    std::uint64_t blocks = 0;
    std::uint64_t bytes = 0;
    std::uint64_t failures = 0;  ///< ranges that are still lost
    std::string why{};           ///< of the last failure
};

/// A file that recovery or a check found damaged, and what was done about it.
struct RecoveryReport {
    bool was_clean = false;
    std::uint64_t records_replayed = 0;
    std::uint64_t bytes_cut = 0;  ///< of a torn tail
    LogOffset cut_at;
    std::uint64_t milliseconds = 0;
    std::string note;               ///< why the tail was cut; empty when it was not
    std::uint64_t lost_ranges = 0;  ///< pieces in the middle of the log newly quarantined
    std::uint64_t lost_bytes = 0;
    std::uint64_t lost_messages = 0;  ///< as far as known
    LogOffset state_from{};           ///< where the log was folded from, onto a snapshot
};

/// What may be deleted when, for topics that do not say otherwise. 0 of a limit: there is none.
/// The rules are in docs/retention.md.
struct RetentionOptions {
    std::int64_t keep_ms = 0;                ///< since the message was stored
    std::uint64_t bytes_max = 0;             ///< of the whole log
    std::int64_t unconsumed_ms_max = 0;      ///< topics kept until consumed: at the latest then
    std::uint64_t unconsumed_bytes_max = 0;  ///< of one such topic
    bool force = false;                ///< delete rather than refuse appends when there is no room
    std::uint32_t alarm_percent = 85;  ///< of the room for the log that is taken
    std::uint32_t check_ms = 10'000;   ///< between two rounds
    std::int64_t clock_slack_ms = 86'400'000;  ///< a clock that went on while stopped is believed
    std::uint64_t shrink_bytes = std::uint64_t{64} << 20U;  ///< freed of a file in one step
    std::uint32_t shrink_pause_ms = 20;                     ///< between two steps
    std::vector<std::string> held_topics;                   ///< kept until consumed, for ever
};

/// How a store is laid out and when it writes. Sizes in bytes unless the name says otherwise.
struct StoreOptions {
    std::filesystem::path directory;
    /// Where files of the log are; none: commitlog in `directory`.
    std::vector<std::filesystem::path> log_directories{};
    std::uint64_t segment_bytes = std::uint64_t{1} << 30U;
    std::uint64_t prefault_bytes = std::uint64_t{64} << 20U;  ///< faulted in ahead of the tail
    std::uint32_t record_bytes_max = (std::uint32_t{4} << 20U) + (std::uint32_t{64} << 10U);
    FlushMode flush = FlushMode::kAsync;
    bool is_replicated = false;  ///< confirmed waits for ReplicaLog::confirm
    bool is_follower = false;    ///< appends nothing of its own until ReplicaLog::lead
    std::uint32_t flush_interval_ms = 500;
    std::uint64_t flush_bytes = std::uint64_t{64}
                                << 20U;  ///< async: flush at that many dirty bytes
    std::uint64_t checkpoint_bytes = std::uint64_t{256}
                                     << 20U;              ///< log written between checkpoints
    std::uint64_t hot_bytes = std::uint64_t{256} << 20U;  ///< behind the tail: taken as cached
    std::uint64_t cache_bytes = 0;  ///< of the log kept in the page cache; 0: the system decides
    std::uint64_t free_bytes_min = std::uint64_t{256} << 20U;  ///< below: kDiskFull before damage
    std::uint64_t volume_bytes_max = 0;  ///< of the log on one volume, above: kDiskFull; 0: none
    OnDamage on_damage = OnDamage::kQuarantine;
    std::uint32_t queue_file_mib = 8;            ///< first consume queue file; the next double
    std::uint32_t key_file_entries = 256 << 10;  ///< first key index file; the next double
    ColdOptions cold;
    ScrubOptions scrub;
    std::int64_t producer_idle_ms = 86'400'000;  ///< numbered sends are remembered for that long
    std::size_t producer_queues_max = 100'000;   ///< of (producer, queue) remembered
    wire::Host store_host;
    RetentionOptions retention;
};

}  // namespace gantry::storage

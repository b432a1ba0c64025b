// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "common/result.h"
#include "storage/index/queue_index.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::storage {

class ExtentFiles;

/// All consume queues of a store, in few shared files: 100 000 queues take a dozen mappings.
///
///   consumequeue/directory   (topic, queue id) -> uid, min, max, extents; XXH3; written by flush
///   consumequeue/00000000…   files of 1 MiB blocks; a block holds extents of one class
///                            (1, 4, 16, 64, 256, 1024 KiB): 64-byte header, then units
///
/// The directory is the only truth about who owns which extent: it is replaced atomically, and an
/// extent given back is used again only after a directory without it is durable. Everything can be
/// rebuilt from the log.
///
/// Checkpoint  1. from = StateMachine snapshot's log offset, or the published end of the log;
///             2. flush(published end of the log), which syncs the log that far first;
///             3. make `from` durable in the store's checkpoint.
/// Recovery    open(); when needs_rebuild: replay the log from its first record, else from the
///             checkpoint, which retention never passes: queue(topic, id).restore(...) per record,
///             drop(topic) per deletion in log order; finally truncate_after(recovered end of the
///             log).
/// Threads     any, but open/truncate_after/restore (one thread, nobody appends). flush: one at a
///             time, it blocks on the disk. A helper thread ("cq-prepare") keeps blocks allocated
///             and faulted in ahead.
/// Errors      open: kIo, kDiskFull; damage is not an error but needs_rebuild. flush: kIo is final.
/// Lifetime    `files` outlives it; QueueIndex pointers live as long as it.
/// Limits      4 096 files of at most 1 000 blocks each.
class ConsumeQueues {
public:
    /// Where the files are and how they grow.
    struct Options {
        std::filesystem::path directory;      ///< made when missing
        std::uint32_t first_file_blocks = 8;  ///< MiB of the first file; the next have double
        std::uint32_t file_blocks_max = 64;   ///< MiB of a file, at most
        std::uint32_t blocks_ahead = 4;       ///< blocks kept prepared
        bool helper_thread = true;            ///< false: made when asked for, by the asker
    };

    /// The queues, and whether the log has to fill them from its first record.
    struct Opened {
        std::unique_ptr<ConsumeQueues> queues;
        /// Why the queues start empty and the log must be replayed from its first record; empty
        /// when they are as of the last flush, or when there was nothing.
        std::string rebuild_reason;
        bool needs_rebuild = false;  ///< true also when no directory was found
    };

    /// Loads the queues as of the last flush; makes the directory when missing.
    static Result<Opened> open(FileSystem& files, const Options& options);
    ~ConsumeQueues();
    ConsumeQueues(const ConsumeQueues&) = delete;
    ConsumeQueues& operator=(const ConsumeQueues&) = delete;

    /// The queue of that topic and id, made when missing: empty, from offset 0. No system call.
    QueueIndex& queue(std::string_view topic, std::int32_t queue_id);
    /// The same, or null when it does not exist.
    QueueIndex* find(std::string_view topic, std::int32_t queue_id) const;
    /// Calls `each` for every queue, in no order. It must not call back into this object, but
    /// into the QueueIndex.
    void for_each(
        const std::function<void(std::string_view topic, std::int32_t, QueueIndex&)>& each) const;
    std::size_t queue_count() const;

    /// Takes the room of all queues of the topic away, so that no later reserve succeeds: call
    /// before the deletion is appended to the log, then every record of the topic is before it.
    void seal(std::string_view topic);
    /// Takes a seal back (the deletion could not be logged).
    void unseal(std::string_view topic);
    /// Forgets all queues of the topic: handles are empty from now on, queue() makes new ones from
    /// offset 0, extents are used again after the next flush. Reserved offsets that are not
    /// published yet may still be put and published.
    void drop(std::string_view topic);

    /// Removes units of messages that end above `end`. After replay; the cost is one unit a queue
    /// at least, and nothing when `end` is not below what the last flush had seen.
    void truncate_after(LogOffset end);
    /// The same for units that the replay itself has put there.
    void cut(LogOffset end);

    /// A queue whose oldest messages [from, to) are gone.
    struct Moved {
        std::string topic;
        std::int32_t queue_id = 0;
        QueueOffset from;
        QueueOffset to;
    };

    /// Moves min past messages that start below `first` and gives extents back; says of which
    /// queues. Blocks on the disk where the units are not cached.
    std::vector<Moved> advance_min(LogOffset first);

    /// Makes units, extents and the directory durable: every unit published before the call.
    /// `published` returns the published end of the log; called once inside. `sync_log` makes the
    /// log durable up to that, before the directory is replaced: a directory never knows of units
    /// or deletions that a power cut may take from the log. Blocks. Errors of `sync_log` too.
    Status flush(const std::function<LogOffset()>& published,
                 const std::function<Status(LogOffset)>& sync_log);

    /// Bytes of the extent files, for metrics.
    std::uint64_t file_bytes() const;

private:
    friend class QueueIndex;
    struct Parts;
    explicit ConsumeQueues(std::unique_ptr<Parts> parts);
    Mutex& stripe_of(const QueueIndex* queue) const noexcept;
    ExtentFiles& files() const noexcept;
    Status load();
    /// Gives back the extents of dropped queues all of whose reserved units are published. Under
    /// the lock of the map, which guards `dropping`.
    void free_dropped(std::vector<QueueIndex*>& dropping);

    std::unique_ptr<Parts> parts_;
};

}  // namespace gantry::storage

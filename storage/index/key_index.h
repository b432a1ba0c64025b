// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::storage {

/// Hash under which a message's key is indexed: XXH3-64 of topic + '#' + key.
std::uint64_t key_hash(std::string_view topic, std::string_view key);

/// Finds messages by key: hash tables in files of fixed size, the newest one growing.
///
///   index/00000000000000000000   header | slots u32 | entries {hash, log offset, seconds,
///   previous} index/00000000000000000001   … file names count up
///
/// Checkpoint  as for the consume queues: flush(), then make `from` durable.
/// Recovery    open(); when needs_rebuild replay from the log's first record, else call
///             truncate_after(checkpoint) and replay from there.
/// Threads     any; one mutex inside, held for a put of about 100 ns. flush, truncate_after,
///             remove_before block on the disk (flush not under the mutex).
/// Errors      put: kDiskFull, kIo when the next file cannot be made; that key is not indexed.
/// open: damage is not an error but needs_rebuild. Lifetime    `files` outlives it.
class KeyIndex {
public:
    /// Where the files are and how they grow.
    struct Options {
        std::filesystem::path directory;
        std::uint32_t first_file_entries = std::uint32_t{256} << 10U;  ///< 26 bytes each
        std::uint32_t file_entries_max = std::uint32_t{4} << 20U;      ///< the next have double
    };

    /// The index, and whether the log has to fill it from its first record.
    struct Opened {
        std::unique_ptr<KeyIndex> index;
        std::string rebuild_reason;
        bool needs_rebuild = false;  ///< true also when none was ever flushed
    };

    /// What to look for: a hash, within store times, so many at most.
    struct Query {
        std::uint64_t hash = 0;
        WallMs begin = 0;
        WallMs end = 0;
        std::uint32_t count_max = 64;
    };

    /// Loads the index as of the last flush; makes the directory when missing.
    static Result<Opened> open(FileSystem& files, const Options& options);
    ~KeyIndex();
    KeyIndex(const KeyIndex&) = delete;
    KeyIndex& operator=(const KeyIndex&) = delete;

    /// Adds one key of the message at `at`, stored at `store_ms`. Roughly in log order.
    Status put(std::uint64_t hash, LogOffset at, WallMs store_ms);

    /// Log offsets of messages whose key has that hash, the last put first, stored within
    /// [begin, end] give or take a second. The caller checks the key in the record.
    std::vector<LogOffset> find(const Query& query) const;

    /// Makes every put before the call durable. One at a time. kIo is final.
    Status flush();
    /// Removes entries of messages at or above `end`. Before replay, nobody puts.
    Status truncate_after(LogOffset end);
    /// Deletes files all of whose messages are below `first`.
    Status remove_before(LogOffset first);

    std::uint64_t entry_count() const;
    std::uint64_t file_bytes() const;

private:
    struct Parts;
    explicit KeyIndex(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

}  // namespace gantry::storage

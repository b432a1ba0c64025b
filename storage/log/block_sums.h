// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/log/segment.h"
#include "storage/replica/epochs.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace gantry::storage {

/// Log bytes [at, at + bytes) that were durable once, and their XXH3.
struct BlockSum {
    LogOffset at;
    std::uint32_t bytes = 0;
    std::uint64_t sum = 0;
    std::uint32_t epoch = 0;  ///< of the last byte; 0: not replicated

    LogOffset end() const noexcept { return at + static_cast<std::int64_t>(bytes); }
};

/// Checksums of durable log bytes, one side file a segment: tells torn bytes from damaged ones,
/// and how far the log had been durable.
///
///   checksum/<segment name>:  slot 0 | slot 1 | …     slot i: block i of the segment, 64 KiB,
///                                                     or its first part as far as durable
///
/// Written after the sync of the bytes, not synced itself: a sum may be missing after a power cut,
/// it never promises too much.
///
/// Source    docs/formats/commit-log.md.
/// Threads   one at a time: recovery, then the flusher; remove_deleted, load: any.
/// Errors    of add: the sums are then missing; the log does not need them to go on.
/// Lifetime  `files` outlives it.
class BlockSums {
public:
    static constexpr std::uint32_t kBlockBytes = 64 << 10;
    static constexpr std::size_t kSlotBytes = 32;

    BlockSums(FileSystem& files, std::filesystem::path directory) noexcept
        : files_(files), directory_(std::move(directory)) {}

    /// Makes the directory. Blocks.
    Status open();

    /// Sums what became durable in [from, to), which lies in `segment`. Reads the whole of the
    /// first block again.
    Status add(const Segment& segment, LogOffset from, LogOffset to, const EpochList& epochs = {});

    /// The sums of a segment that are whole, in order. Empty when there is no file.
    Result<std::vector<BlockSum>> load(LogOffset segment_base) const;

    /// Bases of the segments that have sums, in order.
    Result<std::vector<LogOffset>> segments() const;

    /// Forgets everything at and behind `tail`, in this segment and later ones, durably.
    Status cut(LogOffset tail);
    /// Forgets the sums of a segment; none is no error.
    Status remove(LogOffset segment_base);
    /// The same, durably, for segments below all that add() may be called for; beside the flusher.
    Status remove_deleted(const std::vector<LogOffset>& segment_bases);

private:
    Result<File*> file_of(LogOffset segment_base);

    FileSystem& files_;
    std::filesystem::path directory_;
    LogOffset open_base_;
    std::unique_ptr<File> open_file_;  ///< of the segment at open_base_
    std::vector<std::byte> block_;
};

}  // namespace gantry::storage

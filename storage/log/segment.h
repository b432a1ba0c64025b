// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "common/result.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::storage {

/// Distance in bytes; `to` is not below `from`.
constexpr std::uint64_t bytes_between(LogOffset from, LogOffset to) noexcept {
    return static_cast<std::uint64_t>(to - from);
}

/// One file of the commit log: the bytes [base, end) of the log. Immutable, so that readers share
/// it without a lock; a pin (shared_ptr) keeps file and mapping alive.
///
/// Threads   any. Bytes at or above the appended watermark belong to the appender that reserved
///           them.
class Segment {
public:
    Segment(LogOffset base,
            std::filesystem::path path,
            std::shared_ptr<File> file,
            Mapping mapping,
            std::uint64_t bytes) noexcept
        : base_(base),
          bytes_(bytes),
          path_(std::move(path)),
          file_(std::move(file)),
          mapping_(std::move(mapping)) {}

    LogOffset base() const noexcept { return base_; }

    LogOffset end() const noexcept { return base_ + static_cast<std::int64_t>(bytes_); }

    std::uint64_t bytes() const noexcept { return bytes_; }

    bool is_mapped() const noexcept { return mapping_.data() != nullptr; }

    const Mapping& mapping() const noexcept { return mapping_; }

    /// Memory of the byte at `at`; the segment is mapped and contains it.
    std::byte* memory(LogOffset at) const noexcept { return mapping_.data() + (at - base_); }

    File& file() const noexcept { return *file_; }

    const std::filesystem::path& path() const noexcept { return path_; }

    /// Expires when nobody has the file open any more, by this segment or another form of it.
    std::weak_ptr<const File> watch_file() const noexcept { return file_; }

    /// Asks the system to drop the clean pages from the one of `from` to the one before that of
    /// `to` from its cache: readers get them from the disk again. Advice: what is in use stays.
    void drop_cached(LogOffset from, LogOffset to) const noexcept;

    /// The same file without the mapping, for cold data.
    std::shared_ptr<const Segment> unmapped() const;

    /// The same file, taken as having `bytes`, not mapped.
    std::shared_ptr<const Segment> resized(std::uint64_t bytes) const;

    /// The same file mapped. kIo: errno text.
    Result<std::shared_ptr<const Segment>> mapped() const;

private:
    LogOffset base_;
    std::uint64_t bytes_;
    std::filesystem::path path_;
    std::shared_ptr<File> file_;
    Mapping mapping_;
};

using SegmentPtr = std::shared_ptr<const Segment>;
using SegmentList = std::vector<SegmentPtr>;

/// "00000000001073741824" for a segment's base.
std::string segment_name(LogOffset base);

/// The base a file name says; nothing when it is not 20 digits.
std::optional<LogOffset> parse_segment_name(std::string_view name);

/// Makes a segment of `bytes` zero bytes with its blocks reserved, durably under its final name;
/// mapped. kDiskFull: no room; nothing is left behind. kReadOnly: a sync failed, which is final.
Result<SegmentPtr> create_segment(FileSystem& files,
                                  const std::filesystem::path& directory,
                                  LogOffset base,
                                  std::uint64_t bytes);

/// Ending of the name of a segment that is no longer part of the log.
inline constexpr std::string_view kDeletedSuffix = ".deleted";

/// The file that says that a directory is one of several with segments.
inline constexpr std::string_view kVolumeMark = "volume";

/// Opens the segments of `directories`, unmapped, in order, maybe with gaps between them.
/// Unfinished ones (".new") and deleted ones (".deleted") are removed; empty ones and other files
/// are left alone, and told. kCorrupt: two files overlap; both are named.
Result<SegmentList> open_segments(FileSystem& files,
                                  const std::vector<std::filesystem::path>& directories);

/// The same for looking only: changes nothing, and takes gaps as they are.
Result<SegmentList> list_segments(FileSystem& files,
                                  const std::vector<std::filesystem::path>& directories);

/// Those of one directory.
Result<SegmentList> list_segments(FileSystem& files, const std::filesystem::path& directory);

/// The file of a segment that is no longer part of the log, still on the disk.
struct DeletedFile {
    std::filesystem::path path;
    std::uint64_t bytes = 0;
    std::weak_ptr<const File> readers;  ///< expires when nobody reads it any more
};

/// The segments that exist. Readers take a snapshot; changes make a new list.
///
/// Threads   any; one short lock.
class SegmentSet {
public:
    /// Replaces all segments; `list` is ascending, gaps are lost ranges.
    void assign(SegmentList list);
    /// Adds the segment that begins where the last one ends.
    void add(SegmentPtr segment);
    /// Puts `with` in the place of the segment of the same base.
    void replace(const SegmentPtr& with);
    /// Puts a segment in its place by order, or in that of the one of the same base.
    void insert(const SegmentPtr& segment);
    /// Takes the segments that end at or below `first` out.
    void remove_before(LogOffset first);

    std::shared_ptr<const SegmentList> snapshot() const;
    /// The segment that contains `at`, or null.
    SegmentPtr find(LogOffset at) const;

private:
    mutable Mutex mutex_;
    std::shared_ptr<const SegmentList> list_ GANTRY_GUARDED_BY(mutex_) =
        std::make_shared<const SegmentList>();
};

/// Copies log bytes of one segment, from its mapping or its file. kNotFound: `at` is in none.
/// Shorter than `into` at the segment's end.
Result<std::size_t> read_log(const SegmentSet& segments, LogOffset at, MutableBytes into);

/// The segment of `list` that contains `at`, or null.
SegmentPtr find_segment(const SegmentList& list, LogOffset at);

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/import/import_copy.h"

#include <algorithm>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kChunkBytes = std::size_t{1} << 20U;

/// A segment of the source and how much of it belongs to the log.
struct Part {
    SegmentPtr segment;
    std::uint64_t bytes = 0;

    bool is_full() const { return bytes == segment->bytes(); }
};

std::vector<Part> parts_of(const ImportSource& source) {
    std::vector<Part> parts;
    for (const SegmentPtr& segment : source.list) {
        if (segment->base() < source.log.end) {
            parts.push_back(
                {segment,
                 bytes_between(segment->base(), std::min(segment->end(), source.log.end))});
        }
    }
    return parts;
}

class LogCopy {
public:
    LogCopy(FileSystem& files, const ImportProgress& on_progress)
        : files_(files), on_progress_(on_progress), buffer_(kChunkBytes) {}

    void expect(std::uint64_t bytes) { total_ = bytes; }

    Status copy(const Part& part, const fs::path& to) {
        GANTRY_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                                files_.open(to, FileSystem::Open::kCreate));
        for (std::uint64_t at = 0; at < part.bytes;) {
            const auto wanted = std::min<std::uint64_t>(part.bytes - at, buffer_.size());
            GANTRY_ASSIGN_OR_RETURN(
                const std::size_t got,
                part.segment->file().read_at(at, MutableBytes(buffer_).first(wanted)));
            if (got == 0) {
                return Error{Errc::kIo,
                             part.segment->path().string() + " ends at " + std::to_string(at) +
                                 " B, it had " + std::to_string(part.segment->bytes()) + " B"};
            }
            GANTRY_TRY(file->write_at(at, Bytes(buffer_).first(got)));
            at += got;
            done_ += got;
            if (on_progress_) {
                on_progress_("copying", done_, total_);
            }
        }
        // The rest of the last one is the store's to fill: of its size, without blocks yet.
        GANTRY_TRY(file->truncate(part.segment->bytes()));
        return file->sync_data();
    }

private:
    FileSystem& files_;
    const ImportProgress& on_progress_;
    std::vector<std::byte> buffer_;
    std::uint64_t done_ = 0;
    std::uint64_t total_ = 0;
};

}  // namespace

std::uint64_t bytes_needed(const ImportSource& source, bool is_linked) {
    constexpr std::uint64_t kIndexBytesPerRecord = 96;
    constexpr std::uint64_t kIndexBytesMin = std::uint64_t{64} << 20U;
    std::uint64_t bytes = kIndexBytesMin + source.log.records * kIndexBytesPerRecord;
    for (const Part& part : parts_of(source)) {
        bytes += is_linked && part.is_full() ? 0 : part.segment->bytes();
    }
    return bytes;
}

Result<CopiedLog> copy_log(FileSystem& files,
                           const ImportSource& source,
                           const fs::path& commitlog,
                           bool is_linked,
                           const ImportProgress& on_progress) {
    CopiedLog copied;
    GANTRY_TRY(files.create_directories(commitlog));
    const std::vector<Part> parts = parts_of(source);
    // Written to by the store that comes out of it, even when it happens to be full.
    const auto may_link = [&](const Part& part) {
        return is_linked && part.is_full() && &part != &parts.back();
    };
    LogCopy copy(files, on_progress);
    std::uint64_t total = 0;
    for (const Part& part : parts) {
        total += may_link(part) ? 0 : part.bytes;
    }
    copy.expect(total);
    for (const Part& part : parts) {
        const fs::path to = commitlog / part.segment->path().filename();
        ++copied.segments;
        if (may_link(part)) {
            std::error_code failed;
            fs::create_hard_link(part.segment->path(), to, failed);
            if (failed) {
                return Error{Errc::kRefused,
                             "link of " + part.segment->path().string() + " as " + to.string() +
                                 ": " + failed.message() + ": import without --link"};
            }
            ++copied.segments_linked;
            continue;
        }
        GANTRY_TRY(copy.copy(part, to));
        copied.bytes_copied += part.bytes;
    }
    GANTRY_TRY(files.sync_directory(commitlog));
    return copied;
}

}  // namespace gantry::storage

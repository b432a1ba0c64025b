// SPDX-License-Identifier: Apache-2.0
#include "storage/log/segment.h"

#include "common/failpoint/failpoint.h"
#include "common/log.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <iterator>
#include <sys/mman.h>
#include <utility>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr Logger kLog("storage");

constexpr std::size_t kNameDigits = 20;
constexpr std::string_view kUnfinished = ".new";

Status check_order(const SegmentList& list) {
    for (std::size_t i = 1; i < list.size(); ++i) {
        if (list[i]->base() < list[i - 1]->end()) {
            return Error{Errc::kCorrupt,
                         "segment " + list[i - 1]->path().string() + " ends at " +
                             std::to_string(list[i - 1]->end().value) + " but the next one is " +
                             list[i]->path().string()};
        }
    }
    return ok();
}

/// A sync that failed is final, whatever it was that could not be written.
Status or_poison(Status synced) {
    return synced ? synced : Status(Error{Errc::kReadOnly, synced.error().detail});
}

Status open_all(FileSystem& files,
                const fs::path& directory,
                FileSystem::Open how,
                SegmentList& list) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.list(directory));
    for (const std::string& name : names) {
        const std::optional<LogOffset> base = parse_segment_name(name);
        if (!base) {
            continue;
        }
        const fs::path path = directory / name;
        GANTRY_ASSIGN_OR_RETURN(std::shared_ptr<File> file, files.open(path, how));
        GANTRY_ASSIGN_OR_RETURN(const std::uint64_t bytes, file->size());
        list.push_back(
            std::make_shared<const Segment>(*base, path, std::move(file), Mapping(), bytes));
    }
    return ok();
}

/// The segments of all directories, in order.
Result<SegmentList> open_all(FileSystem& files,
                             const std::vector<fs::path>& directories,
                             FileSystem::Open how) {
    SegmentList list;
    for (const fs::path& directory : directories) {
        GANTRY_TRY(open_all(files, directory, how, list));
    }
    std::sort(list.begin(), list.end(), [](const SegmentPtr& a, const SegmentPtr& b) {
        return a->base() < b->base();
    });
    return list;
}

Status remove_leftovers(FileSystem& files, const fs::path& directory) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.list(directory));
    for (const std::string& name : names) {
        if (name.ends_with(kUnfinished) || name.ends_with(kDeletedSuffix)) {
            GANTRY_TRY(files.remove(directory / name));
        } else if (!parse_segment_name(name) && name != kVolumeMark) {
            kLog.warn("file ignored",
                      {{"path", (directory / name).string()},
                       {"reason", "a segment's name has 20 digits"}});
        }
    }
    return ok();
}

}  // namespace

SegmentPtr Segment::unmapped() const {
    return std::make_shared<const Segment>(base_, path_, file_, Mapping(), bytes_);
}

SegmentPtr Segment::resized(std::uint64_t bytes) const {
    return std::make_shared<const Segment>(base_, path_, file_, Mapping(), bytes);
}

Result<SegmentPtr> Segment::mapped() const {
    GANTRY_ASSIGN_OR_RETURN(Mapping mapping, file_->map(bytes_, true));
    return SegmentPtr(
        std::make_shared<const Segment>(base_, path_, file_, std::move(mapping), bytes_));
}

void Segment::drop_cached(LogOffset from, LogOffset to) const noexcept {
    constexpr std::uint64_t kPageBytes = 4'096;
    const std::uint64_t begin = bytes_between(base_, from) / kPageBytes * kPageBytes;
    const std::uint64_t end = bytes_between(base_, to) / kPageBytes * kPageBytes;
    if (begin >= end) {
        return;
    }
    if (is_mapped()) {
        // Pages that a mapping holds stay; the bytes are the file's, mapped again when touched.
        ::madvise(mapping_.data() + begin, end - begin, MADV_DONTNEED);
    }
    static_cast<void>(::posix_fadvise(file_->descriptor(),
                                      static_cast<off_t>(begin),
                                      static_cast<off_t>(end - begin),
                                      POSIX_FADV_DONTNEED));
}

std::string segment_name(LogOffset base) {
    std::string digits = std::to_string(base.value);
    return std::string(kNameDigits - std::min(kNameDigits, digits.size()), '0') + digits;
}

std::optional<LogOffset> parse_segment_name(std::string_view name) {
    if (name.size() != kNameDigits) {
        return std::nullopt;
    }
    std::int64_t base = 0;
    const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), base);
    if (failure != std::errc() || end != name.data() + name.size() || base < 0) {
        return std::nullopt;
    }
    return LogOffset(base);
}

Result<SegmentPtr> create_segment(FileSystem& files,
                                  const fs::path& directory,
                                  LogOffset base,
                                  std::uint64_t bytes) {
    const fs::path path = directory / segment_name(base);
    fs::path unfinished = path;
    unfinished += kUnfinished;
    const auto make = [&]() -> Result<SegmentPtr> {
        GANTRY_ASSIGN_OR_RETURN(std::shared_ptr<File> file,
                                files.open(unfinished, FileSystem::Open::kCreate));
        GANTRY_FAILPOINT_TRY("segment.created");
        GANTRY_TRY(file->truncate(0));
        GANTRY_TRY(file->allocate(bytes));
        GANTRY_FAILPOINT_TRY("segment.allocated");
        GANTRY_TRY(or_poison(file->sync_data()));
        GANTRY_FAILPOINT_TRY("segment.synced");
        GANTRY_ASSIGN_OR_RETURN(Mapping mapping, file->map(bytes, true));
        GANTRY_TRY(files.rename(unfinished, path));
        GANTRY_FAILPOINT_TRY("segment.renamed");
        GANTRY_TRY(or_poison(files.sync_directory(directory)));
        GANTRY_FAILPOINT("segment.named");
        return SegmentPtr(std::make_shared<const Segment>(
            base, path, std::move(file), std::move(mapping), bytes));
    };
    Result<SegmentPtr> made = make();
    if (!made) {
        static_cast<void>(files.remove(files.exists(unfinished) ? unfinished : path));
    }
    return made;
}

Result<SegmentList> open_segments(FileSystem& files, const std::vector<fs::path>& directories) {
    for (const fs::path& directory : directories) {
        GANTRY_TRY(remove_leftovers(files, directory));
    }
    GANTRY_ASSIGN_OR_RETURN(SegmentList list,
                            open_all(files, directories, FileSystem::Open::kReadWrite));
    const auto is_empty = [](const SegmentPtr& segment) {
        if (segment->bytes() == 0) {
            kLog.warn("file ignored",
                      {{"path", segment->path().string()}, {"reason", "it is empty"}});
        }
        return segment->bytes() == 0;
    };
    list.erase(std::remove_if(list.begin(), list.end(), is_empty), list.end());
    GANTRY_TRY(check_order(list));
    return list;
}

Result<SegmentList> list_segments(FileSystem& files, const std::vector<fs::path>& directories) {
    return open_all(files, directories, FileSystem::Open::kRead);
}

Result<SegmentList> list_segments(FileSystem& files, const fs::path& directory) {
    return list_segments(files, std::vector<fs::path>{directory});
}

void SegmentSet::assign(SegmentList list) {
    auto next = std::make_shared<const SegmentList>(std::move(list));
    const MutexLock lock(mutex_);
    list_.swap(next);
}

void SegmentSet::add(SegmentPtr segment) {
    std::shared_ptr<const SegmentList> old;  // freed, maybe with a mapping, after the lock
    const MutexLock lock(mutex_);
    auto next = std::make_shared<SegmentList>(*list_);
    next->push_back(std::move(segment));
    old = std::exchange(list_, std::move(next));
}

void SegmentSet::replace(const SegmentPtr& with) {
    std::shared_ptr<const SegmentList> old;
    const MutexLock lock(mutex_);
    auto next = std::make_shared<SegmentList>(*list_);
    for (SegmentPtr& segment : *next) {
        if (segment->base() == with->base()) {
            segment = with;
        }
    }
    old = std::exchange(list_, std::move(next));
}

void SegmentSet::insert(const SegmentPtr& segment) {
    std::shared_ptr<const SegmentList> old;
    const MutexLock lock(mutex_);
    auto next = std::make_shared<SegmentList>(*list_);
    const auto at = std::find_if(next->begin(), next->end(), [&segment](const SegmentPtr& other) {
        return other->base() >= segment->base();
    });
    if (at != next->end() && (*at)->base() == segment->base()) {
        *at = segment;
    } else {
        next->insert(at, segment);
    }
    old = std::exchange(list_, std::move(next));
}

void SegmentSet::remove_before(LogOffset first) {
    std::shared_ptr<const SegmentList> old;
    const MutexLock lock(mutex_);
    auto next = std::make_shared<SegmentList>();
    std::copy_if(list_->begin(), list_->end(), std::back_inserter(*next), [first](const auto& s) {
        return s->end() > first;
    });
    old = std::exchange(list_, std::move(next));
}

std::shared_ptr<const SegmentList> SegmentSet::snapshot() const {
    const MutexLock lock(mutex_);
    return list_;
}

SegmentPtr SegmentSet::find(LogOffset at) const {
    return find_segment(*snapshot(), at);
}

Result<std::size_t> read_log(const SegmentSet& segments, LogOffset at, MutableBytes into) {
    const SegmentPtr segment = segments.find(at);
    if (segment == nullptr) {
        return Error{Errc::kNotFound,
                     "log offset " + std::to_string(at.value) + " is in no segment"};
    }
    const std::uint64_t room = bytes_between(at, segment->end());
    const std::size_t length = std::min<std::uint64_t>(room, into.size());
    if (segment->is_mapped()) {
        std::memcpy(into.data(), segment->memory(at), length);
        return length;
    }
    return segment->file().read_at(bytes_between(segment->base(), at), into.first(length));
}

SegmentPtr find_segment(const SegmentList& list, LogOffset at) {
    const auto after = std::upper_bound(
        list.begin(), list.end(), at, [](LogOffset offset, const SegmentPtr& segment) {
            return offset < segment->base();
        });
    if (after == list.begin()) {
        return nullptr;
    }
    const SegmentPtr& segment = *std::prev(after);
    return at < segment->end() ? segment : nullptr;
}

}  // namespace gantry::storage

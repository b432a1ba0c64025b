// SPDX-License-Identifier: Apache-2.0
// What CommitLog does to give its oldest segments up.
#include "common/check.h"
#include "storage/log/commit_log.h"
#include "storage/log/preparer.h"

#include <algorithm>
#include <utility>

namespace gantry::storage {

Result<std::vector<VolumeRoom>> CommitLog::volumes() const {
    std::vector<VolumeRoom> rooms;
    const auto list = segments_.snapshot();
    for (const std::filesystem::path& directory : directories_) {
        VolumeRoom& room = rooms.emplace_back(VolumeRoom{.directory = directory});
        GANTRY_ASSIGN_OR_RETURN(room.free_bytes, files_.free_bytes(directory));
        for (const SegmentPtr& segment : *list) {
            room.log_bytes += segment->path().parent_path() == directory ? segment->bytes() : 0;
        }
    }
    return rooms;
}

void CommitLog::note_volumes() {
    const Result<std::vector<VolumeRoom>> rooms = volumes();
    std::uint64_t free = 0;
    for (std::size_t i = 0; rooms && i < rooms->size(); ++i) {
        const VolumeRoom& room = (*rooms)[i];
        free = std::max(free, room.free_bytes);
        numbers_->volumes[i].free_bytes.store(room.free_bytes, std::memory_order_relaxed);
        numbers_->volumes[i].log_bytes.store(room.log_bytes, std::memory_order_relaxed);
    }
    numbers_->free_bytes.store(free, std::memory_order_relaxed);
}

void CommitLog::add_volume_gauges(MetricRegistry& metrics) {
    for (std::size_t i = 0; i < directories_.size(); ++i) {
        VolumeNumbers& volume = numbers_->volumes.emplace_back();
        const std::string label = "{directory=\"" + directories_[i].string() + "\"}";
        metrics.gauge(
            "gantry_store_volume_log_bytes" + label,
            "Bytes of the log in a directory",
            [numbers = numbers_, &volume] { return static_cast<double>(volume.log_bytes.load()); });
        metrics.gauge("gantry_store_volume_free_bytes" + label,
                      "Free bytes on the volume of a directory of the log",
                      [numbers = numbers_, &volume] {
                          return static_cast<double>(volume.free_bytes.load());
                      });
    }
}

LogOffset CommitLog::deletable_end() const {
    const LogOffset durable = std::min(flushed(), watermarks().confirmed);
    const auto list = segments_.snapshot();
    LogOffset end = first();
    for (const SegmentPtr& segment : *list) {
        if (segment->base() < durable) {
            end = std::max(end, segment->base());
        }
    }
    return end;
}

void CommitLog::room_was_made() {
    preparer_->wake();
}

LogOffset CommitLog::segment_start(LogOffset at) const {
    const SegmentPtr segment = segments_.find(at);
    return segment != nullptr ? segment->base() : at;
}

bool CommitLog::lacks_room() const {
    const MutexLock lock(mutex_);
    return next_ == nullptr && next_error_ && next_error_->code == Errc::kDiskFull;
}

bool CommitLog::has_undetached() const {
    const auto list = segments_.snapshot();
    return !list->empty() && list->front()->end() <= first();
}

void CommitLog::advance_first(LogOffset to) {
    GANTRY_ASSERT(to <= deletable_end());
    if (to > first()) {
        numbers_->first.store(to.value, std::memory_order_release);
    }
}

Result<std::vector<DeletedFile>> CommitLog::detach_deleted() {
    const LogOffset kept = first();
    std::vector<SegmentPtr> deleted;
    std::vector<LogOffset> bases;
    const auto list = segments_.snapshot();
    for (const SegmentPtr& segment : *list) {
        if (segment->end() <= kept) {
            deleted.push_back(segment);
            bases.push_back(segment->base());
        }
    }
    std::vector<DeletedFile> files;
    if (deleted.empty()) {
        return files;
    }
    // Sums without their segment would look like a loss.
    GANTRY_TRY(sums_.remove_deleted(bases));
    for (const SegmentPtr& segment : deleted) {
        std::filesystem::path path = segment->path();
        path += kDeletedSuffix;
        // One after the other, so that what is left after a power cut has no gap.
        // An earlier call may have failed behind this.
        if (files_.exists(segment->path())) {
            GANTRY_TRY(files_.rename(segment->path(), path));
        }
        GANTRY_TRY(files_.sync_directory(path.parent_path()));
        segments_.remove_before(segment->end());
        files.push_back({std::move(path), segment->bytes(), segment->watch_file()});
    }
    return files;
}

}  // namespace gantry::storage

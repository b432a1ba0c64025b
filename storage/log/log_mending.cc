// SPDX-License-Identifier: Apache-2.0
// What CommitLog does for parts of the log that no file holds any more.
#include "storage/log/commit_log.h"

#include <algorithm>

namespace gantry::storage {

Result<SegmentPtr> CommitLog::restore_segment(LogOffset base, std::uint64_t bytes) {
    const auto list = segments_.snapshot();
    const auto at = std::find_if(list->begin(), list->end(), [base](const SegmentPtr& segment) {
        return segment->end() > base || segment->base() >= base;
    });
    const SegmentPtr near = at != list->end() ? *at : list->empty() ? nullptr : list->back();
    const bool is_short = near != nullptr && near->base() == base;
    const std::filesystem::path directory =
        near != nullptr ? near->path().parent_path() : directories_.front();
    const std::uint64_t more = is_short ? bytes - std::min(bytes, near->bytes()) : bytes;
    GANTRY_ASSIGN_OR_RETURN(const std::uint64_t free, files_.free_bytes(directory));
    if (free < more + options_.free_bytes_min) {
        return Error{Errc::kDiskFull,
                     directory.string() + " has " + std::to_string(free) + " B left, and " +
                         std::to_string(more) + " B are missing beside store.free_bytes_min"};
    }
    SegmentPtr restored;
    if (is_short) {
        GANTRY_TRY(near->file().allocate(bytes));
        GANTRY_TRY(near->file().sync_data());
        restored = near->resized(bytes);
    } else {
        GANTRY_ASSIGN_OR_RETURN(restored, create_segment(files_, directory, base, bytes));
        restored = restored->unmapped();
    }
    segments_.insert(restored);
    return restored;
}

}  // namespace gantry::storage

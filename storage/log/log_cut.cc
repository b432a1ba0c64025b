// SPDX-License-Identifier: Apache-2.0
#include "storage/log/log_cut.h"

#include "common/failpoint/failpoint.h"

#include <algorithm>
#include <filesystem>

namespace gantry::storage {

Status remove_segments(FileSystem& files, LogOffset tail, SegmentList& kept) {
    // From the last one on, and each for good before the next, so that no stop leaves a gap.
    while (!kept.empty() && kept.back()->base() >= tail) {
        const std::filesystem::path path = kept.back()->path();
        GANTRY_TRY(files.remove(path));
        GANTRY_TRY(files.sync_directory(path.parent_path()));
        GANTRY_FAILPOINT_TRY("cut.removed");
        kept.pop_back();
    }
    return ok();
}

Status clear_behind(LogOffset tail, std::uint64_t bytes_min, SegmentList& kept) {
    if (kept.empty() || kept.back()->end() <= tail) {
        return ok();
    }
    // Freed and reserved again, the rest reads as zeros: old bytes cannot come back.
    const SegmentPtr last = kept.back();
    const std::uint64_t bytes = std::max(last->bytes(), bytes_min);
    GANTRY_TRY(last->file().truncate(bytes_between(last->base(), tail)));
    GANTRY_FAILPOINT_TRY("cut.truncated");
    GANTRY_TRY(last->file().allocate(bytes));
    GANTRY_FAILPOINT_TRY("cut.allocated");
    kept.back() = last->resized(bytes);
    return ok();
}

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/retention/file_shrinker.h"

#include "common/log.h"

#include <algorithm>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

}  // namespace

std::uint64_t FileShrinker::bytes() const noexcept {
    std::uint64_t sum = 0;
    for (const DeletedFile& file : waiting_) {
        sum += file.bytes;
    }
    return sum;
}

bool FileShrinker::step() {
    const auto next = std::find_if(waiting_.begin(), waiting_.end(), [](const DeletedFile& file) {
        return file.readers.expired();
    });
    if (next == waiting_.end()) {
        return false;
    }
    if (const Status shrunk = shrink(*next); !shrunk) {
        kLog.warn("cannot remove a deleted segment, the next start will",
                  {{"file", next->path.string()}, {"reason", shrunk.error()}});
        next->bytes = 0;
    }
    if (next->bytes == 0) {
        waiting_.erase(next);
    }
    return true;
}

Status FileShrinker::shrink(DeletedFile& file) {
    if (file.bytes > step_bytes_) {
        GANTRY_ASSIGN_OR_RETURN(const auto open,
                                files_.open(file.path, FileSystem::Open::kReadWrite));
        GANTRY_TRY(open->truncate(file.bytes - step_bytes_));
        file.bytes -= step_bytes_;
        return ok();
    }
    GANTRY_TRY(files_.remove(file.path));
    file.bytes = 0;
    return ok();
}

}  // namespace gantry::storage

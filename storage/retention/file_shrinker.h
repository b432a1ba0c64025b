// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "storage/log/commit_log.h"

#include <cstdint>
#include <deque>

namespace gantry::storage {

/// Gives the room of deleted segments back, a piece at a time: a file system that frees a whole
/// gigabyte at once may hold up the writes of everybody else meanwhile.
///
/// A file that a reader still has open is left alone until it has not. What is left when the
/// process ends goes at the next start.
///
/// Threads   one at a time; blocks on the disk.
/// Lifetime  `files` outlives it.
class FileShrinker {
public:
    FileShrinker(FileSystem& files, std::uint64_t step_bytes) noexcept
        : files_(files), step_bytes_(step_bytes) {}

    /// Takes a file over.
    void add(DeletedFile file) { waiting_.push_back(std::move(file)); }

    /// Cuts one piece off, or removes a file that is short. False: nothing can be done now.
    bool step();

    bool is_empty() const noexcept { return waiting_.empty(); }

    /// Of files that are not removed yet.
    std::uint64_t bytes() const noexcept;

private:
    Status shrink(DeletedFile& file);

    FileSystem& files_;
    const std::uint64_t step_bytes_;
    std::deque<DeletedFile> waiting_;
};

}  // namespace gantry::storage

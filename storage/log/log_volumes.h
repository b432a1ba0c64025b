// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/result.h"
#include "storage/log/segment.h"

#include <filesystem>
#include <vector>

namespace gantry::storage {

/// Directories that hold files of the log, `store`/commitlog when a store says nothing else.
///
///   store/volumes        one directory a line; only when there is any but store/commitlog
///   DIRECTORY/volume     in each of those, so that an empty mount point is not taken for one
///
/// All functions block on the disk.

/// What the store in `store` has noted; store/commitlog when nothing. kIo, kCorrupt.
Result<std::vector<std::filesystem::path>> noted_log_directories(
    FileSystem& files, const std::filesystem::path& store);

/// The segments of the store in `store`, in all its directories, as list_segments has them.
Result<SegmentList> list_log_of(FileSystem& files, const std::filesystem::path& store);

/// The directories the log of `store` uses: `wanted`, or store/commitlog when there are none of
/// those. New ones are made and noted. kNotFound: one that was noted is not there, or is not the
/// one it was. kRefused: one that was noted and has files of the log is not wanted any more. Both
/// name it: without it, its part of the log would look lost.
Result<std::vector<std::filesystem::path>> open_log_directories(
    FileSystem& files,
    const std::filesystem::path& store,
    const std::vector<std::filesystem::path>& wanted);

}  // namespace gantry::storage

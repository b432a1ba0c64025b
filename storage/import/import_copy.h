// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/result.h"
#include "storage/import/import_source.h"

#include <cstdint>
#include <filesystem>

namespace gantry::storage {

/// What copying a log has done.
struct CopiedLog {
    std::uint64_t segments = 0;
    std::uint64_t bytes_copied = 0;
    std::uint64_t segments_linked = 0;
};

/// Bytes the volume must have for the log of `source` and the indexes over it.
std::uint64_t bytes_needed(const ImportSource& source, bool is_linked);

/// Puts the log of `source`, up to its end, into `commitlog` under the same names, durably. With
/// `is_linked` full segments are hard links; the last one is always copied, as it is written to.
///
/// Threads   one; blocks on the disk.
/// Errors    kDiskFull, kIo. kRefused: a file cannot be linked (another volume).
Result<CopiedLog> copy_log(FileSystem& files,
                           const ImportSource& source,
                           const std::filesystem::path& commitlog,
                           bool is_linked,
                           const ImportProgress& on_progress);

}  // namespace gantry::storage

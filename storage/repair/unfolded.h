// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/log/lost_ranges.h"

#include <filesystem>

namespace gantry::storage {

/// Lost parts of the log that a start could not fold into the state: topics, groups, offsets,
/// transactions and numbers that they changed are not as they should be. When such a part is mended
/// the next start has to fold the log from there again, whatever later snapshots say.
///
///   unfolded:  "GANTRYUF", log offset of the first such part, XXH3-64; replaced atomically
///
/// Before recovery: once the part is mended, removes the snapshots that lack it, then the file.
/// Does nothing while it is lost, and nothing but to say so where no older snapshot and no log from
/// 0 on is left. Blocks on the disk. Errors: of the disk.
Status fold_mended(FileSystem& files,
                   const std::filesystem::path& store,
                   const LostRanges& lost,
                   LogOffset log_first);

/// After recovery, which folded the log from `folded_from` on: writes the file when a part behind
/// is lost.
Status note_unfolded(FileSystem& files,
                     const std::filesystem::path& store,
                     const LostRanges& lost,
                     LogOffset folded_from);

}  // namespace gantry::storage

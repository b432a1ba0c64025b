// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/file_system.h"
#include "common/ids.h"

#include <filesystem>
#include <optional>

namespace gantry::storage {

/// How far the scrubber was, kept over a restart.
struct ScrubMark {
    WallMs begun_ms = 0;  ///< when its round began
    WallMs done_ms = 0;   ///< when the last whole round ended; 0: never
    LogOffset segment;    ///< below it everything is checked in this round; begins a segment
    LogOffset end;        ///< of the round; the same as `segment` when it is over
};

/// Nothing when there is none, or when it is damaged: the next round then begins at once, at the
/// first record.
std::optional<ScrubMark> load_scrub_mark(FileSystem& files, const std::filesystem::path& path);
/// Replaces it atomically. Blocks.
Status save_scrub_mark(FileSystem& files, const std::filesystem::path& path, const ScrubMark& mark);

}  // namespace gantry::storage

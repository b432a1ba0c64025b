// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/log/segment.h"

#include <cstdint>

namespace gantry::storage {

/// How a log is ended: what is behind goes for good, and its checksums went before. Both functions
/// block on the disk; a stop in between leaves a log without a gap.

/// Removes the segments that begin at or behind `tail`, durably, the last one first; `kept` is all
/// of them before and what is left after.
Status remove_segments(FileSystem& files, LogOffset tail, SegmentList& kept);

/// Makes the rest of the segment that `tail` is in read as zeros; it has at least `bytes_min` then.
/// Durable once its file is synced. No segment holds `tail`: nothing.
Status clear_behind(LogOffset tail, std::uint64_t bytes_min, SegmentList& kept);

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "storage/log/lost_ranges.h"
#include "storage/log/segment.h"
#include "storage/store_parts.h"

#include <string>
#include <vector>

namespace gantry::storage {

/// Bytes of the log that hold no good records any more, from record to record.
struct ScrubDamage {
    LogOffset from;
    LogOffset to;
    std::string why{};
    bool is_read_error = false;  ///< the disk does not give them
};

/// Where to look closely.
struct ProbeArea {
    LogOffset from;  ///< a record begins here
    LogOffset until;
    LogOffset limit;  ///< end of what was durable of this segment
    bool is_direct = true;
};

/// What was found there.
struct Probed {
    std::vector<ScrubDamage> damage;  ///< ascending; empty when the second look found nothing
    LogOffset behind;                 ///< not below `until`: a record begins here, or the limit
};

/// Reads an area that did not look good a second time, from the disk, and says what is damaged by
/// the rules of a start: a damaged record is lost alone, up to the next whole one; where only the
/// sum of a block tells, the block's records are. What is in `known` is passed over.
///
/// Blocks on the disk. Reads the page cache only where the file system cannot do otherwise.
/// kIo: a file with checksums cannot be read. kBusy: no memory.
Result<Probed> probe_damage(const Store::Parts& parts,
                            const SegmentPtr& segment,
                            const ProbeArea& area,
                            const LostRangeList& known);

}  // namespace gantry::storage

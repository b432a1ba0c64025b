// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "storage/log/block_sums.h"
#include "storage/log/log_reader.h"
#include "storage/log/lost_ranges.h"
#include "storage/log/segment.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::storage {

/// The blocks of a stretch of the log whose bytes are not what their sums say, and what that means
/// for the records in them. A start asks it about the records it walks, in log order.
///
///   block    o--------------------------------o   its sum does not match
///   records     o-----o-------o-----------o-------o
///               all whole: any may have changed in a field without a CRC, all are doubtful
///               one damaged: that explains the sum, the others are as good as they look
///
/// Threads   one. Lifetime: the log's segments and sums outlive it.
class BlockCheck {
public:
    BlockCheck(const SegmentSet& segments, const BlockSums& sums) noexcept
        : segments_(segments), sums_(sums), reader_(segments) {}

    /// Compares every block that lies in [from, to) whole, but for those that overlap one of
    /// `known`. Blocks on the disk. kIo: the disk does not give the bytes.
    Status compare(LogOffset from, LogOffset to, const LostRangeList& known);

    /// Blocks whose sum does not match, ascending.
    const std::vector<BlockSum>& wrong() const noexcept { return wrong_; }

    /// Damage that the walk has found in [from, to) explains the blocks it lies in.
    void explain(LogOffset from, LogOffset to);

    /// Why the whole record [at, end) cannot be trusted; empty when it can. `at` ascends from call
    /// to call. kIo: as above.
    Result<std::string> doubt(const LogEntry& entry);

private:
    Result<bool> is_explained(LogOffset at, std::size_t number);

    const SegmentSet& segments_;
    const BlockSums& sums_;
    LogReader reader_;  ///< of its own: entries are views into their reader
    std::vector<BlockSum> wrong_;
    std::vector<std::byte> bytes_;
    std::vector<std::optional<bool>> explained_;  ///< as wrong_, once asked for
    std::size_t next_ = 0;                        ///< of wrong_
};

/// Whether a record's properties are `name 0x01 value 0x02 …`, without zeros.
bool are_properties_sound(std::string_view properties) noexcept;

}  // namespace gantry::storage

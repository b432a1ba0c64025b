// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "common/result.h"
#include "storage/log/block_sums.h"
#include "storage/log/segment.h"
#include "storage/repair/replica_source.h"
#include "storage/store_parts.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gantry::storage {

/// Where a copy of the log is taken from, and for which part.
struct MendOrder {
    LogOffset from;  ///< a record begins here, or the file of a segment
    LogOffset to;    ///< lost up to here; the same
    std::size_t copy = 0;
};

/// Writes the bytes of a lost part of the log again, from another copy, in the place where they
/// were. Nothing that it writes is served before the caller takes the part off the lost ranges.
///
///   fetch whole blocks -> sums of the blocks, records in a row -> write -> sync -> read back
///
///   block    o------------------o------------------o     fetched, compared with the sums
///   lost           o----------------o                    checked record by record, written
///
/// A file that is missing or too short is made first, of zeros.
///
/// Threads   one. Blocks on the disk and on the source.
/// Errors    kCorrupt: the copy's bytes are not what was here, or the disk does not keep them: what
///           was not right is not written. kBusy: not confirmed yet. Others: of the source, of the
///           disk. The part is then as lost as before.
/// Lifetime  `parts` and `source` outlive it.
class RangeMend {
public:
    RangeMend(Store::Parts& parts, ReplicaSource& source, const MendOrder& order);

    /// Does it; once.
    Status run();

    /// Blocks that were written to, whole or in part.
    std::uint64_t blocks() const noexcept { return blocks_; }

    std::uint64_t bytes() const noexcept { return bytes_; }

private:
    /// Bytes that were written, to find them again.
    struct Written {
        std::uint64_t at;  ///< in the file
        std::uint64_t bytes;
        std::uint64_t sum;
    };

    /// What stands at a place.
    struct Judged {
        std::uint64_t whole = 0;  ///< bytes that are right; 0: more are needed
        LogOffset needed;         ///< up to here at least
    };

    Result<SegmentPtr> segment_at(LogOffset at);
    Status mend_segment(const SegmentPtr& segment, LogOffset from, LogOffset to);
    Status open(const SegmentPtr& segment, LogOffset from);
    Status fetch_more(LogOffset until);
    Status check_sums(LogOffset at, Bytes bytes);
    bool is_sum_of_damage(const BlockSum& block);
    Result<std::uint64_t> step();
    Result<Judged> judge(LogOffset at, Bytes left);
    Status write(std::uint64_t bytes);
    Status finish(LogOffset from);
    Status add_sums(LogOffset from, LogOffset to);
    Error wrong(LogOffset at, const std::string& why) const;

    Store::Parts& parts_;
    ReplicaSource& source_;
    const MendOrder order_;
    SegmentPtr segment_;
    std::unique_ptr<File> file_;  ///< of its own: a failed sync must not be taken from the flusher
    std::vector<BlockSum> sums_;
    std::vector<LogOffset> stale_;  ///< blocks whose sum is one of damaged bytes
    LogOffset to_;                  ///< end of what is lost of the segment
    bool is_in_blank_ = false;      ///< at_ is behind the last record of the segment
    LogOffset at_;                  ///< what is to be written next
    LogOffset fetched_;             ///< end of what came
    std::string window_;            ///< [at_, fetched_)
    std::vector<Written> written_;
    std::uint64_t blocks_ = 0;
    std::uint64_t bytes_ = 0;
};

}  // namespace gantry::storage

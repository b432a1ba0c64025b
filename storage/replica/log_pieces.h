// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "common/mutex.h"
#include "common/result.h"
#include "storage/log/block_sums.h"
#include "storage/replica/replica_log.h"
#include "storage/store_parts.h"

#include <cstdint>
#include <vector>

namespace gantry::storage {

/// Gives out the log for other copies of it, and nothing that is damaged: quarantined bytes are
/// not sent, and what comes from the disk is compared with the checksums of its blocks.
///
/// Threads   any; waits for the disk where a segment is not mapped. Lifetime: `parts` outlives it.
class LogPieces {
public:
    explicit LogPieces(Store::Parts& parts) noexcept : parts_(parts) {}

    /// What ReplicaLog::piece does.
    Result<LogPiece> get(LogOffset at, std::uint64_t bytes_max);

private:
    Status sum_from_disk(LogPiece& piece, LogOffset segment_base);
    Status compare_blocks(LogOffset at, Bytes bytes, LogOffset segment_base);
    std::vector<BlockSum> sums_of(LogOffset segment_base, LogOffset from, LogOffset to);

    Store::Parts& parts_;
    Mutex mutex_;
    LogOffset base_ GANTRY_GUARDED_BY(mutex_){-1};  ///< of the segment that sums_ is of
    std::vector<BlockSum> sums_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::storage

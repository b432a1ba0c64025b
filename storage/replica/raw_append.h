// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/log/segment.h"

namespace gantry::storage {

class CommitLog;

/// How a follower's log gets its bytes: to where they were in the leader's, before anybody knows
/// what they are. Segments are cut as the leader's are.
///
///   appended          received
///      o- - - - - - - - - o- - - -        publish: what is below is read from then on
///      | in memory, may go again
///
/// Threads   one at a time, while appends are refused. Readers, flusher and preparer work as ever.
/// Lifetime  the log outlives it.
class RawAppend {
public:
    /// Bytes of the log that may be written, to the end of their segment.
    struct Room {
        SegmentPtr segment;  ///< keeps the memory
        MutableBytes memory;
    };

    explicit RawAppend(CommitLog& log) noexcept : log_(log) {}

    /// Room from `at` on, which is in the segment of the log's end or in the one behind it. Waits
    /// for that. kDiskFull, kBusy: it cannot be made now. kReadOnly, kClosed.
    Result<Room> room(LogOffset at);
    /// Everything below `end` is the log's from now on; its units are published. `store_ms`: of its
    /// newest record.
    void publish(LogOffset end, WallMs store_ms);
    /// Tells those who wait for progress; behind publish, without locks.
    void tell();
    /// Zeroes what was written in [appended, to), durably. kReadOnly: a sync failed.
    Status wipe(LogOffset to);
    /// Store time that an append would get now.
    WallMs store_ms() const;

private:
    CommitLog& log_;
};

}  // namespace gantry::storage

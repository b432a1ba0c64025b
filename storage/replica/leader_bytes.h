// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/log/log_reader.h"
#include "storage/log/segment.h"

#include <optional>
#include <vector>

namespace gantry::storage {

/// Records that their leader stored in one step, whole: all of them are taken, or none.
struct LeaderFrame {
    std::vector<LogEntry> records;  ///< of one queue, in its order; never none
    LogOffset end;
};

/// Puts the bytes of a leader's log together to frames.
///
///   bytes  ..|..|....|...       cut anywhere
///   frames [r][r r][r ] blank   told when their last byte is there
///
/// Threads   one. Lifetime: views of the records last as long as the segments handed in.
class LeaderBytes {
public:
    /// Starts over: the next byte is that at `at`.
    void begin(LogOffset at);

    /// More bytes of `segment` are in its memory, now up to `end`, which is not beyond it. Adds the
    /// frames that are whole with them to `frames`. kCorrupt: they are no continuation of a log;
    /// frames before them are added.
    Status take(const SegmentPtr& segment, LogOffset end, std::vector<LeaderFrame>& frames);

private:
    Status take_blank(const LogEntry& entry) const;
    Status take_record(LogEntry entry, std::vector<LeaderFrame>& frames);

    LogOffset next_;    ///< of the entry that is not whole
    LeaderFrame open_;  ///< records of the frame that is not whole
};

}  // namespace gantry::storage

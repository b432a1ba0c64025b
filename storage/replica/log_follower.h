// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/damage/quarantine.h"
#include "storage/damage/queue_replay.h"
#include "storage/replica/leader_bytes.h"
#include "storage/replica/raw_append.h"
#include "storage/replica/record_fold.h"
#include "storage/store_parts.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gantry::storage {

/// A store that takes its leader's log, byte by byte, and comes to the same state.
///
///   bytes -> RawAppend (memory) -> LeaderBytes (frames) -> RecordFold (units, keys, state)
///         -> publish: consume queues, then the log's end
///
/// Only whole frames count: what is behind the last one is in memory, and goes with a restart.
///
/// Threads   one at a time; received, folding_to, is_broken: any.
/// Lifetime  `parts` outlives it.
class LogFollower {
public:
    explicit LogFollower(Store::Parts& parts);

    /// Follows from the log's end on. kCorrupt: marks of the store's first part are damaged.
    Status open();
    /// What ReplicaLog::append_raw does.
    Status receive(LogOffset at, Bytes bytes);
    /// Forgets what is not whole: its bytes are zeroed, durably.
    Status drop_partial();
    /// Appends a record of the state topic that no leader has sent.
    Result<Appended> append_state(const std::string& body);

    LogOffset received() const noexcept {
        return LogOffset(received_.load(std::memory_order_acquire));
    }

    /// No unit of what is being folded ends above; 0 before the first.
    LogOffset folding_to() const noexcept {
        return LogOffset(folding_to_.load(std::memory_order_acquire));
    }

    /// Whether a frame was folded half: nothing that is known may be written down.
    bool is_broken() const noexcept { return is_broken_.load(std::memory_order_acquire); }

private:
    Status may_receive(LogOffset at);
    Status take(Bytes& bytes);
    Status fold_ready();
    Status check(const LeaderFrame& frame) const;
    Status check_place(const LeaderFrame& frame) const;
    Status fold(const LeaderFrame& frame);
    Status break_off(const LogEntry& entry, const std::string& why);

    Store::Parts& parts_;
    RawAppend raw_;
    Quarantine quarantine_;
    QueueReplay queues_;
    RecordFold fold_;
    LeaderBytes bytes_;
    SegmentPtr segment_;              ///< of the last bytes; keeps views of records valid
    std::vector<LeaderFrame> ready_;  ///< whole, and not folded yet
    std::optional<Error> broken_;
    std::atomic<std::int64_t> received_{0};
    std::atomic<std::int64_t> folding_to_{0};
    std::atomic<bool> is_broken_{false};
};

}  // namespace gantry::storage

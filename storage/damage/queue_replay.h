// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "storage/damage/quarantine.h"
#include "storage/log/log_reader.h"
#include "storage/store_parts.h"

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace gantry::storage {

/// Fills the consume queues from the records that a start walks, in log order.
///
///   record of offset 7, the queue's next is 5:   refused, or, when bytes were lost since the
///   queue's last record:                         holes at 5 and 6, then 7
///
/// Threads   one. Lifetime: what it is made of outlives it.
class QueueReplay {
public:
    /// What a damaged record says of itself.
    struct Claim {
        QueueUnit unit;
        LostMessages message;
    };

    QueueReplay(Store::Parts& parts, Quarantine& quarantine) noexcept
        : parts_(parts), quarantine_(quarantine) {}

    /// Starts over; queues lack nothing of what lies below `from`.
    void begin(LogOffset from);

    /// Puts a record's unit into its queue. Returns why it cannot be there; empty when it can.
    /// `may_skip`: offsets may be left out before it.
    std::string place(const LogEntry& entry, bool may_skip);

    /// What a damaged record claims to be, when it can be read; for take.
    std::optional<Claim> claim_of(const LogEntry& entry) const;
    /// Keeps the place of a damaged record in its queue, so that its offset is not given out again.
    void take(const std::optional<Claim>& claim);
    /// At the end: places of damaged records at the ends of queues, behind holes.
    void settle();

    /// Whether a whole record found behind `damage` fits its queue. Bytes inside a body may look
    /// like a record at their place.
    bool belongs(const LogEntry& entry, LogOffset damage) const;

private:
    /// How far the walk has seen a queue.
    struct Seen {
        QueueOffset next;
        LogOffset at;  ///< of its last record
    };

    bool may_follow(const LogEntry& entry, const Seen& seen) const;
    Status fill_gap(QueueIndex& queue, const Claim& behind);

    Store::Parts& parts_;
    Quarantine& quarantine_;
    LogOffset from_;
    std::unordered_map<const QueueIndex*, Seen> seen_;
    std::vector<Claim> claims_;
};

}  // namespace gantry::storage

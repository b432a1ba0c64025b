// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "common/result.h"
#include "storage/damage/queue_replay.h"
#include "storage/import/import_mark.h"
#include "storage/log/log_reader.h"
#include "storage/producers/frame_replay.h"
#include "storage/replica/planted_mark.h"
#include "storage/store_parts.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {

/// What the records of the log mean to all that follows from it: units of consume queues, keys,
/// topics, groups and every other state, producers' frames. A start folds what it walks, a
/// follower what it is sent.
///
///   each record, in log order:  place -> take
///
/// Threads   one; with a store that serves, within LogStateMachine::in_order.
/// Lifetime  `parts` and `queues` outlive it.
class RecordFold {
public:
    /// From where each part has to see the log; it has seen what is below.
    struct From {
        LogOffset queues;
        LogOffset keys;
        LogOffset state;
    };

    RecordFold(Store::Parts& parts, QueueReplay& queues) noexcept
        : parts_(parts), queues_(queues) {}

    /// Reads what the store's files say of the first part of the log. kCorrupt: they are damaged.
    Status load_marks();
    /// Starts over.
    void begin(const From& from);

    /// Where the log of a store that was planted begins.
    std::optional<LogOffset> planted_first() const;
    /// State below it came with the plant; 0: there was none.
    LogOffset known_until() const noexcept;

    /// Whether queue offsets may be left out before the record at `at`: RocketMQ does.
    bool may_skip(LogOffset at) const noexcept { return imported_ && imported_->covers(at); }

    /// Whether the record is a message of no queue.
    bool is_unlisted(const LogEntry& entry) const;

    /// Puts the unit of a record into its queue. Returns why it cannot be there; empty when it can.
    std::string place(const LogEntry& entry);
    /// Does the rest. kCorrupt: a record of the state topic does not parse.
    Status take(const LogEntry& entry);

    /// What there is of the frame that is not whole in a log that ends at `end`.
    std::optional<Appended> torn(LogOffset end) const { return frames_.torn(end); }

    /// At the end of a walk that came to `tail`: what the records below have delivered is.
    void finish(LogOffset tail);

private:
    void begin_queues();
    void take_transaction(const wire::Record& record, LogOffset at);

    Store::Parts& parts_;
    QueueReplay& queues_;
    From from_;
    std::optional<ImportMark> imported_;
    std::optional<PlantedMark> planted_;
    FrameReplay frames_;
    /// Of a frame that may be torn: where it delivers delayed messages, and where those waited.
    std::vector<std::pair<LogOffset, LogOffset>> delivered_;
};

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "storage/import/import_mark.h"
#include "storage/log/log_reader.h"
#include "storage/store_parts.h"

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

namespace gantry::storage {

/// Whether the consume queues of a running store agree with records that were found whole.
///
///   record of offset 7  ->  unit 7 of its queue: log offset, size, tag hash as the record has them
///
/// A queue tells the lives of a topic apart: what lies before its first message in the log is of a
/// topic that was deleted. So a queue whose first unit is wrong itself cannot be judged, and is
/// told.
///
/// Threads   one. Blocks on the disk. Lifetime: `parts` outlives it.
class UnitCheck {
public:
    explicit UnitCheck(Store::Parts& parts);

    /// What is wrong with a unit; `what` is empty when nothing is.
    struct Verdict {
        std::string what{};
        bool is_compared = false;
        bool is_mended = false;  ///< it was wrong, and has been written again
    };

    /// Looks at the unit of a record. `may_mend`: the record is known to be what was written, so
    /// that a wrong unit is written again.
    Verdict check(const wire::Record& record, bool may_mend);

    /// Looks at the queues' first units again.
    void begin_round() { origins_.clear(); }

private:
    /// Where a queue's messages begin.
    struct Origin {
        QueueOffset min;
        std::optional<LogOffset> at;  ///< nothing: its first unit cannot be trusted
        bool is_told = false;
    };

    Origin& origin_of(const QueueIndex& queue, const wire::Record& record);
    std::optional<LogOffset> first_message(const QueueIndex& queue,
                                           const wire::Record& record) const;
    Verdict judge_first(const QueueIndex& queue, Origin& origin) const;

    Store::Parts& parts_;
    std::optional<ImportMark> imported_;
    std::unordered_map<const QueueIndex*, Origin> origins_;
};

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/damage/lost_messages.h"
#include "storage/log/lost_ranges.h"
#include "storage/types.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::storage {

class ConsumeQueues;

/// The lost pieces of the log while a start walks it: those known from earlier starts, and those
/// it finds, which become durable at the end of the walk.
///
/// Threads   one. Lifetime: `durable` and `clock` outlive it.
class Quarantine {
public:
    Quarantine(LostRanges& durable, const Clock& clock);

    /// Forgets what was found since construction: the walk begins anew.
    void restart();

    const LostRangeList& all() const noexcept { return all_; }

    /// The range that contains `at`, or null.
    const LostRange* at(LogOffset at) const noexcept { return find_lost(all_, at, at + 1); }

    /// Where the first range begins that ends behind `at`, or `otherwise`.
    LogOffset next_from(LogOffset at, LogOffset otherwise) const noexcept;
    /// Lost bytes in [from, to).
    std::uint64_t bytes_between(LogOffset from, LogOffset to) const noexcept;

    /// Adds a piece which overlaps none; one that follows a new one with the same reason extends
    /// it.
    void add(LogOffset from, LogOffset to, const std::string& reason);

    /// Messages of which no unit tells: the record behind them, at `before`, begins at a later
    /// queue offset than expected. They count when the range they were lost with is new.
    void add_gap(LogOffset before, LostMessages messages);

    /// Makes what was found durable, counts its messages by `queues`, tells it, and reports it.
    Status finish(const ConsumeQueues& queues, RecoveryReport& report);

private:
    LostRanges& durable_;
    const Clock& clock_;
    LostRangeList all_;    ///< ascending
    LostRangeList known_;  ///< from before
    std::vector<LostMessages> gaps_;
};

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"

#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

namespace gantry::storage {

/// One term of one master: the log bytes from `start` to the start of the next epoch are its. Said
/// by a record of the state topic, which is the first thing a master appends: at `start`, or, when
/// a segment ends there, at the beginning of the next one.
struct EpochStart {
    std::int64_t epoch = 0;
    /// Random. Logs that never met may count the same epochs: these tell them apart.
    std::uint64_t id = 0;
    LogOffset start;

    auto operator<=>(const EpochStart&) const = default;
};

/// Epochs of a log, ascending in epoch and start; empty while it was never replicated. Bytes below
/// the first start are of the history that this start's id stands for.
using EpochList = std::vector<EpochStart>;

/// How far two logs hold the same bytes for sure: the end of their newest common epoch in the
/// shorter of them. Nothing when they have no epoch in common, which two empty logs have not
/// either.
std::optional<LogOffset> common_end(const EpochList& mine,
                                    LogOffset my_end,
                                    const EpochList& theirs,
                                    LogOffset their_end);

/// The newest epoch of the list; 0 when it is empty.
std::int64_t newest_epoch(const EpochList& epochs) noexcept;

/// The epoch of the byte at `at`; 0 before the first.
std::int64_t epoch_at(const EpochList& epochs, LogOffset at) noexcept;

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/epochs.h"

#include <algorithm>
#include <iterator>

namespace gantry::storage {
namespace {

/// Where the epoch at `index` ends in a log that ends at `end`.
LogOffset end_of(const EpochList& epochs, std::size_t index, LogOffset end) noexcept {
    return index + 1 < epochs.size() ? std::min(epochs[index + 1].start, end) : end;
}

}  // namespace

std::optional<LogOffset> common_end(const EpochList& mine,
                                    LogOffset my_end,
                                    const EpochList& theirs,
                                    LogOffset their_end) {
    for (std::size_t i = mine.size(); i-- > 0;) {
        const auto same = std::find(theirs.begin(), theirs.end(), mine[i]);
        if (same != theirs.end()) {
            const auto at = static_cast<std::size_t>(std::distance(theirs.begin(), same));
            return std::min(end_of(mine, i, my_end), end_of(theirs, at, their_end));
        }
    }
    return std::nullopt;
}

std::int64_t newest_epoch(const EpochList& epochs) noexcept {
    return epochs.empty() ? 0 : epochs.back().epoch;
}

std::int64_t epoch_at(const EpochList& epochs, LogOffset at) noexcept {
    const auto behind = std::partition_point(
        epochs.begin(), epochs.end(), [at](const EpochStart& epoch) { return epoch.start <= at; });
    return behind == epochs.begin() ? 0 : std::prev(behind)->epoch;
}

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/log.h"
#include "common/mutex.h"

#include <cstdint>
#include <set>
#include <string>
#include <tuple>

namespace gantry::broker {

/// What a consumer was told it will never get: messages [from, to) of one queue.
struct LostNotice {
    std::string group;  ///< empty: a consumer without one
    std::string topic;
    std::int32_t queue = 0;
    QueueOffset from;
    QueueOffset to;

    auto key() const { return std::tie(group, topic, queue, from.value, to.value); }

    bool operator<(const LostNotice& other) const { return key() < other.key(); }
};

/// The log lines about lost messages that consumers ran into: one line for a group and a piece of a
/// queue, however often it is read.
///
/// Threads   any; a mutex, held for a look-up, and a line when there is one.
/// Limits    kLinesMax lines a second, the next one says how many were left out; kKnownMax pieces
///           are remembered, then those told may be told once more.
class LostNotices {
public:
    static constexpr std::uint32_t kLinesMax = 10;
    static constexpr std::size_t kKnownMax = 10'000;

    explicit LostNotices(const Clock& clock) : clock_(clock) {}

    /// Writes the line, if it is due; whether it did.
    bool tell(LostNotice notice);

private:
    const Clock& clock_;
    Mutex mutex_;
    std::set<LostNotice> told_ GANTRY_GUARDED_BY(mutex_);
    LogRate rate_ GANTRY_GUARDED_BY(mutex_){kLinesMax};
};

}  // namespace gantry::broker

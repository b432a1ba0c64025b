// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/log.h"
#include "common/mutex.h"

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <tuple>

namespace gantry::broker {

/// What happened to a consumer in a queue: messages [from, to) are lost, or its offset `from` did
/// not exist and it went on at `to`; the same: it stands.
struct QueueNotice {
    std::string group;  ///< empty: a consumer without one
    std::string topic;
    std::int32_t queue = 0;
    QueueOffset from;
    QueueOffset to;

    auto key() const { return std::tie(group, topic, queue, from.value, to.value); }

    bool operator<(const QueueNotice& other) const { return key() < other.key(); }
};

/// The log lines about one kind of such things: one line for each notice, however often it is told.
///
/// Threads   any; a mutex, held for a look-up, and a line when there is one.
/// Limits    kLinesMax lines a second, the next one says how many were left out; kKnownMax
///           notices are remembered, then those told may be told once more.
class QueueNotices {
public:
    static constexpr std::uint32_t kLinesMax = 10;
    static constexpr std::size_t kKnownMax = 10'000;

    /// `event`: what the lines say, a literal.
    QueueNotices(const Clock& clock, std::string_view event) : clock_(clock), event_(event) {}

    /// Writes the line, if it is due; whether it did.
    bool tell(QueueNotice notice);

private:
    const Clock& clock_;
    const std::string_view event_;
    Mutex mutex_;
    std::set<QueueNotice> told_ GANTRY_GUARDED_BY(mutex_);
    LogRate rate_ GANTRY_GUARDED_BY(mutex_){kLinesMax};
};

}  // namespace gantry::broker

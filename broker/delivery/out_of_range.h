// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/log.h"
#include "common/mutex.h"
#include "common/result.h"
#include "protocol/wire/group.pb.h"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <tuple>

namespace gantry::broker {

/// Where a group goes on whose offset in a queue does not exist: what it has not read was deleted,
/// or what it had read is gone from the end.
enum class OutOfRange : std::uint8_t {
    kNearest,   ///< the end of the queue it is nearer to, as RocketMQ does
    kEarliest,  ///< the oldest message there is
    kLatest,    ///< behind the newest
    kFail,      ///< nowhere: it stands until an operator moves it
};

/// kRefused: offsetOutOfRange is none of nearest, earliest, latest, fail, or absent.
Status check_out_of_range(const wire::SubscriptionGroupConfig& config);
/// The policy of a group that passed the check; of none: nearest.
OutOfRange out_of_range_of(const std::optional<wire::SubscriptionGroupConfig>& config);

/// The offsets [min, max) of a queue that have messages.
struct OffsetRange {
    QueueOffset min;
    QueueOffset max;
};

/// Where to go on from an offset outside the range; kFail: `from` itself.
QueueOffset next_offset(OutOfRange policy, QueueOffset from, const OffsetRange& range);

/// A group whose offset in a queue did not exist, and where it went; the same: it stands.
struct JumpNotice {
    std::string group;  ///< empty: a consumer without one
    std::string topic;
    std::int32_t queue = 0;
    QueueOffset from;
    QueueOffset to;

    auto key() const { return std::tie(group, topic, queue, from.value, to.value); }

    bool operator<(const JumpNotice& other) const { return key() < other.key(); }
};

/// The log lines about such jumps: one for each, however often it is asked for.
///
/// Threads   any.
/// Limits    kLinesMax lines a second, the next one says how many were left out; kKnownMax jumps
///           are remembered, then those told may be told once more.
class JumpNotices {
public:
    static constexpr std::uint32_t kLinesMax = 10;
    static constexpr std::size_t kKnownMax = 10'000;

    explicit JumpNotices(const Clock& clock) : clock_(clock) {}

    /// Writes the line, if it is due; whether it did.
    bool tell(JumpNotice notice);

private:
    const Clock& clock_;
    Mutex mutex_;
    std::set<JumpNotice> told_ GANTRY_GUARDED_BY(mutex_);
    LogRate rate_ GANTRY_GUARDED_BY(mutex_){kLinesMax};
};

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/group.pb.h"

#include <cstdint>
#include <optional>

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

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/random.h"
#include "common/result.h"
#include "protocol/wire/record.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::broker {

/// When a message with these properties is to be delivered, in ms since 1970; nothing: at once.
///
///   DELAY             a level: `now` and RocketMQ's time for it; then the others do not count
///   TIMER_DELAY_SEC   `now` and so many seconds
///   TIMER_DELAY_MS    `now` and so many milliseconds
///   TIMER_DELIVER_MS  then; nothing when it is over
///
/// Errors    kRefused: one that is no number, more than `ahead_ms_max` ahead, or behind the end of
///           the message's time to live; names property, value and limit.
Result<std::optional<WallMs>> due_of(std::string_view properties,
                                     WallMs now,
                                     std::int64_t ahead_ms_max);

/// A message rewritten to wait until it is due.
struct WaitingMessage {
    wire::Record record;     ///< its properties view `properties` once the caller has set them
    std::string properties;  ///< the message's own, its due time and where it is really to go
    WallMs due = 0;
};

/// `message`, addressed to its real queue, rewritten to wait until `due`, rounded up to a tick.
/// `random`: gives it a UNIQ_KEY to be cancelled by when it has none.
WaitingMessage wait_until_due(const wire::Record& message, WallMs due, Random* random);

/// Where a waiting message is really to go.
struct RealPlace {
    std::string_view topic;  ///< in the waiting record
    std::int32_t queue_id = 0;
};

/// Of a waiting record's properties; those it has there are appended to `properties`.
RealPlace real_place(std::string_view waiting, std::string& properties);

/// The handle of a waiting record's properties; empty when it has no UNIQ_KEY.
std::string recall_handle_of(std::string_view properties, std::string_view broker);

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/result.h"

#include <string>
#include <string_view>

namespace gantry::wire {

/// What 370 takes to cancel a message: RocketMQ's handle, "v1 TOPIC BROKER
/// DUE KEY" in base64 for URLs.
struct RecallHandle {
    std::string topic;
    std::string broker;
    WallMs due = 0;
    std::string key;  ///< UNIQ_KEY
};

/// The handle as text.
std::string format_recall_handle(const RecallHandle& handle);
/// kRefused: it is none.
Result<RecallHandle> parse_recall_handle(std::string_view text);

}  // namespace gantry::wire

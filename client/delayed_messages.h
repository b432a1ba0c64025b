// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"

#include <cstdint>
#include <string>

namespace gantry::client {

/// A delayed message that waits.
struct DelayedMessage {
    std::string broker;
    std::string message_id;  ///< its UNIQ_KEY
    std::string topic;
    std::int32_t queue = 0;
    WallMs due_ms = 0;
    WallMs store_ms = 0;
    std::string recall_handle;
};

/// Which delayed messages to list.
struct DelayedQuery {
    std::string topic;  ///< empty: of all
    WallMs due_from_ms = 0;
    WallMs due_until_ms = 0;          ///< without it; 0: no end
    std::uint32_t count_max = 1'000;  ///< of each broker
};

}  // namespace gantry::client

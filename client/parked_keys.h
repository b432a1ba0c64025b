// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/clock.h"

#include <cstdint>
#include <string>

namespace gantry::client {

/// A key whose messages a group has put aside, in one queue.
struct ParkedKey {
    QueueId queue;
    std::string key;
    std::int64_t count = 0;
    std::int64_t first_offset = 0;  ///< of the oldest message
    WallMs since_ms = 0;            ///< when it was parked
    bool is_released = false;       ///< on its way back to the group
};

/// Which parked keys of a group.
struct ParkedChoice {
    std::string group;
    std::string topic{};  ///< empty: all
    std::string key{};    ///< empty: all
};

}  // namespace gantry::client

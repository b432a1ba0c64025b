// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"

#include <cstdint>
#include <string>

namespace gantry::client {

/// One thing that is known to have happened to a message.
struct TraceEvent {
    /// In the order of a message's life.
    enum class Kind : std::uint8_t {
        kProduce,         ///< its send, from the call to the answer
        kStore,           ///< a broker has it
        kEndTransaction,  ///< its producer has told the outcome
        kDeliver,         ///< a listener is given it
        kConsume,         ///< the listener has returned: acknowledged, or sent back
    };

    Kind kind = Kind::kProduce;
    WallMs at_ms = 0;
    std::string group;
    std::string where;  ///< topic of kProduce; broker, queue and offset of kStore
    std::string store_host;
    std::string offset_message_id;
    std::string request_id;  ///< the same for a kDeliver and its kConsume
    std::string state;       ///< kEndTransaction
    std::int64_t cost_ms = 0;
    std::int32_t retries = 0;
    bool is_success = true;
};

}  // namespace gantry::client

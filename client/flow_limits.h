// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace gantry::client {

/// How much of something brokers let pass. Each broker counts for itself.
struct FlowLimit {
    /// Whose rates: all of the broker's, one client's, one topic's, one consumer group's.
    enum class Scope : std::uint8_t { kBroker, kClient, kTopic, kGroup };
    Scope scope = Scope::kBroker;
    std::string name;                ///< kClient: empty, of every client without its own
    std::int64_t send_messages = 0;  ///< a second; 0: no limit, as of the others
    std::int64_t send_bytes = 0;     ///< a group has no sends
    std::int64_t deliver_messages = 0;
    std::int64_t deliver_bytes = 0;
    std::string broker;       ///< where it was found
    bool is_default = false;  ///< of the broker's settings
};

}  // namespace gantry::client

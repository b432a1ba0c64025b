// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/net/connection.h"
#include "storage/topic_table.h"

#include <cstdint>
#include <memory>
#include <string>

namespace gantry::broker {

class LoopState;
struct FlowBuckets;

/// Names a client connection of this broker, over all its loops and listening ports. Never reused.
using PeerId = std::uint64_t;

inline constexpr PeerId kPeerLoopMask = 0xFF;  ///< low bits: index of the loop it lives on

/// What the broker keeps with a connection. Threads: the connection's loop.
struct Peer {
    PeerId id = 0;
    net::Connection* connection = nullptr;
    LoopState* loop = nullptr;

    /// The topic it sent to last: a lookup saved for every further send.
    std::string send_topic;
    storage::Topic* topic = nullptr;

    std::string client_id;  ///< empty until a heartbeat tells it
    /// What limits the client, as of that version of the limits.
    std::shared_ptr<FlowBuckets> flow;
    std::uint64_t flow_version = 0;
};

/// Where a reply goes after its request's bytes are gone.
struct Addressee {
    PeerId peer = 0;
    net::ReplyTo to;
};

}  // namespace gantry::broker

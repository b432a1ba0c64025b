// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/result.h"
#include "protocol/net/connection.h"

#include <string>

namespace gantry::client {

/// A reply as a broker pushes it.
struct PushedReply {
    std::string correlation_id;
    MessageView message;
};

/// Reads a push (326). kCorrupt: its fields do not parse, or it has no CORRELATION_ID.
Result<PushedReply> read_pushed_reply(const net::Received& received);

}  // namespace gantry::client

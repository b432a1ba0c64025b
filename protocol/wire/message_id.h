// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/record.h"

#include <string>
#include <string_view>

namespace gantry::wire {

/// Where a message is stored, as RocketMQ's offset message id says it.
struct MessageLocation {
    Host store_host;
    LogOffset log_offset;
};

/// Upper-case hex of host address, port and log offset: 32 characters for IPv4, 56 for IPv6.
std::string format_message_id(const MessageLocation& location);

/// kRefused: not 32 or 56 hex characters.
Result<MessageLocation> parse_message_id(std::string_view id);

}  // namespace gantry::wire

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "storage/types.h"

#include <string_view>

namespace gantry::wire {
class TopicConfig;
}

namespace gantry::broker {

/// Changes a topic's attributes as RocketMQ's "attributes" field says: "+key=value" sets one,
/// "-key" takes one away, commas in between; the others stay. Known are those of retention
/// (docs/retention.md), "replication" (sync, async: what its sends wait for), and RocketMQ's own,
/// which are kept and shown but do nothing here. kRefused: malformed, an unknown key, or a value
/// that is none; names it. `topic` is then unchanged.
Status change_attributes(std::string_view changes,
                         const storage::RetentionOptions& defaults,
                         wire::TopicConfig& topic);

}  // namespace gantry::broker

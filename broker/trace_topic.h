// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace gantry::broker {

/// Where clients write what they did with messages; RocketMQ's name. Routed like any other topic.
inline constexpr std::string_view kTraceTopic = "RMQ_SYS_TRACE_TOPIC";

}  // namespace gantry::broker

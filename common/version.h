// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace gantry {

inline constexpr std::string_view kVersion = "0.1.0";

/// The release number Gantry shows to RocketMQ peers (4.9.8): old enough for every client to
/// know, new enough for SQL filters and standard JSON. Source: RocketMQ's version ordinals.
inline constexpr std::int32_t kRocketmqVersion = 409;

}  // namespace gantry

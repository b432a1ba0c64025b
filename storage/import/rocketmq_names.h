// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string_view>

namespace gantry::storage::rocketmq {

/// Topics in which RocketMQ keeps what is still to happen.
inline constexpr std::string_view kDelayTopic = "SCHEDULE_TOPIC_XXXX";
inline constexpr std::string_view kHalfTopic = "RMQ_SYS_TRANS_HALF_TOPIC";
inline constexpr std::string_view kOutcomeTopic = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
inline constexpr std::string_view kTimerTopic = "rmq_sys_wheel_timer";
inline constexpr std::string_view kRevivePrefix = "rmq_sys_REVIVE_LOG_";

/// Groups under whose names RocketMQ commits what it has done with them.
inline constexpr std::string_view kHalfGroup = "CID_RMQ_SYS_TRANS";

/// Group under which a Gantry broker commits how far it has delivered delayed messages.
inline constexpr std::string_view kDelayGroup = "GANTRY_SYS_DELAY";

/// Delay levels, and queues of the delay topic, that a Gantry broker serves.
inline constexpr int kDelayLevels = 18;

/// Groups that every RocketMQ broker defines at its first start.
inline constexpr std::array<std::string_view, 9> kOwnGroups = {"TOOLS_CONSUMER",
                                                               "FILTERSRV_CONSUMER",
                                                               "SELF_TEST_C_GROUP",
                                                               "CID_ONS-HTTP-PROXY",
                                                               "CID_ONSAPI_PULL",
                                                               "CID_ONSAPI_PERMISSION",
                                                               "CID_ONSAPI_OWNER",
                                                               "CID_RMQ_SYS_TRANS",
                                                               "CID_SYS_RMQ_TRANS"};

}  // namespace gantry::storage::rocketmq

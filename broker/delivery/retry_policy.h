// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/group.pb.h"

#include <cstdint>

namespace gantry::broker {

/// Whether a group may have this policy. kRefused: names the field, its value and the limit.
Status check_retry_policy(const wire::GroupRetryPolicy& policy);

/// The delay level at which a message waits before its next delivery to a group, when its consumer
/// does not say: what the policy gives for a message delivered again `reconsume_times` times so
/// far, rounded up to a level, at most the last (2 h).
///
///   nothing, CUSTOMIZED without a table   level 3 + reconsume_times: 10 s, 30 s, 1 min ...
///   CUSTOMIZED                            next[reconsume_times + 2], or the table's last
///   EXPONENTIAL                           initial * multiplier ^ reconsume_times, at most max
///
/// Source    RocketMQ 5: the table is that of the delay levels, of which retries skip two.
std::int32_t retry_level(const wire::GroupRetryPolicy& policy, std::int32_t reconsume_times);

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "common/result.h"
#include "sync/config/config.h"

#include <memory>

namespace gantry::sync {

/// A client of the cluster, in its dialect. Asks nobody, but where that has to be detected.
///
/// Errors    kRefused: a malformed address. Of the detection: no nameserver answers.
Result<std::shared_ptr<client::Client>> connect(const ClusterConfig& cluster);

/// Whether it speaks RocketMQ's protocol.
bool is_rocketmq(const client::Client& client) noexcept;

}  // namespace gantry::sync

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/admin_client.h"
#include "common/result.h"
#include "sync/config/config.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace gantry::sync {

/// Administration of both clusters of a route.
struct Ends {
    std::unique_ptr<client::AdminClient> source;
    std::unique_ptr<client::AdminClient> target;
    bool source_is_rocketmq = false;  ///< or is spoken to as if it were
    bool target_is_rocketmq = false;

    /// Connects to both clusters of the route. Errors of connect().
    static Result<Ends> connect(const SyncConfig& config, const RouteConfig& route);
};

/// A topic of a route, and what has been found of it at the target.
struct RouteTopic {
    std::string source;
    std::string target;
    std::int32_t source_queues = 0;
    std::int32_t target_queues = 0;  ///< 0: it is missing there
};

/// The topics at the source that the route takes. Blocks.
Result<std::vector<std::string>> topics_of(Ends& ends, const RouteConfig& route);
/// Looks a topic up in both clusters. kNotFound: the source has none. Blocks.
Result<RouteTopic> look_up(Ends& ends, const RouteConfig& route, const std::string& topic);
/// Makes the topic at the target, with the source's attributes, unless one side is RocketMQ's, and
/// at least as many queues. Blocks.
Status create_target(Ends& ends, const RouteTopic& topic);
/// Makes a group in a RocketMQ cluster that does not have it: its brokers commit for no other.
/// Blocks.
Status make_group(client::AdminClient& cluster, const std::string& group);

}  // namespace gantry::sync

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/message.h"
#include "common/result.h"
#include "sync/config/config.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace gantry::sync {

/// Where a route is in the queues of a target that knows no numbers: behind the copies at their
/// ends. As nothing is sent while something before it is not stored, nothing is missing below.
///
/// Threads   any; position blocks.
class TargetTail {
public:
    TargetTail(std::shared_ptr<client::Client> client, const RouteConfig& route);

    /// Offset behind the last copy of `source` among the last messages of `target`, 256 of them or
    /// about 256 KiB; nothing: none is there. kTimeout, and errors of the target.
    Result<std::optional<std::int64_t>> position(const client::QueueId& target,
                                                 const client::QueueId& source) const;

private:
    std::shared_ptr<client::Client> client_;
    std::string route_;
    std::string from_;
    std::chrono::milliseconds timeout_;
};

/// Offset behind the last copy of `source`, of cluster `from`, that route `route` has made among
/// `messages`. Not only the newest: what a dead daemon had under way may have come late, again.
std::optional<std::int64_t> position_in(const std::vector<client::MessageView>& messages,
                                        std::string_view route,
                                        std::string_view from,
                                        const client::QueueId& source);

}  // namespace gantry::sync

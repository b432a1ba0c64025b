// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/consumer.h"
#include "client/message.h"
#include "common/result.h"
#include "sync/config/config.h"
#include "sync/copy/marks.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

namespace gantry::sync {

/// Messages of one cluster's queues, from any offset on.
///
/// Threads   one; every call blocks.
class QueueReader {
public:
    /// Errors: those of connect (cluster.h).
    static Result<QueueReader> open(const ClusterConfig& cluster);

    const std::shared_ptr<client::Client>& client() const noexcept { return client_; }

    client::PullConsumer& consumer() noexcept { return *consumer_; }

    /// Whether a message is it; where it was copied from, if it is a copy.
    using Wanted =
        std::function<bool(const std::optional<CopiedFrom>&, const client::MessageView&)>;

    /// The first message in [from, to) that is wanted; nothing: there is none. kTimeout: the queue
    /// gives none for three seconds.
    Result<std::optional<client::MessageView>> first(const client::QueueId& queue,
                                                     std::int64_t from,
                                                     std::int64_t to,
                                                     const Wanted& wanted);

private:
    std::shared_ptr<client::Client> client_;
    std::unique_ptr<client::PullConsumer> consumer_;
};

}  // namespace gantry::sync

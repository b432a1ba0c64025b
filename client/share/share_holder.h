// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/clock.h"

#include <cstdint>
#include <optional>
#include <string>

namespace gantry::client {

/// Who reads what brokers grant. Called in the control loop; must not block.
class ShareHolder {
public:
    ShareHolder() = default;
    ShareHolder(const ShareHolder&) = delete;
    ShareHolder& operator=(const ShareHolder&) = delete;
    virtual ~ShareHolder() = default;

    /// Offsets of the queue are committed under this token from now on; 0: under none.
    virtual void on_granted(const QueueId& queue, std::int64_t token) = 0;
    /// Ends reading; what was handed out is being finished.
    virtual void begin_release(const QueueId& queue) = 0;
    /// When nothing that was handed out is unfinished, or at once with `by_force`: forgets the
    /// queue and gives the offset to go on from, -1 when reading never began.
    virtual std::optional<std::int64_t> end_release(const QueueId& queue, bool by_force) = 0;
    /// Until then the broker's queues have no other reader.
    virtual void on_lease(const std::string& broker, SteadyTime until) = 0;
};

}  // namespace gantry::client

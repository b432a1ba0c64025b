// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "protocol/wire/group.pb.h"

#include <cstdint>
#include <string>

namespace gantry::broker {

class Dispatcher;

/// Locks of queues for ordered consumption: take or renew (41, natively 10070), give up (42,
/// 10071). The answer names the queues the client holds now; to 10070 with their tokens. It leaves
/// when the grants are durable. A queue that is not there is held by nobody.
///
/// Errors    an empty group or client; a lease outside 1 s .. 60 s; those of the store.
/// Threads   any loop.
class QueueLockHandler {
public:
    explicit QueueLockHandler(Context& context) : context_(context) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    void lock_batch(Call& call);
    void unlock_batch(Call& call);
    void lock(Call& call, const wire::LockQueuesRequest& request);
    void unlock(Call& call, const wire::LockQueuesRequest& request);
    bool is_there(const std::string& topic, std::int32_t queue_id) const;
    Result<LogOffset> lock_all(const wire::LockQueuesRequest& request,
                               bool is_watched,
                               wire::LockQueuesResponse& response);
    Result<LogOffset> unlock_all(const wire::LockQueuesRequest& request);

    Context& context_;
};

}  // namespace gantry::broker

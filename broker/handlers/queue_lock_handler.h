// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"

namespace gantry::broker {

class Dispatcher;

/// Locks of queues for ordered consumption: take or renew (41), give up (42). The answer names the
/// queues the client holds now. Threads: any loop.
class QueueLockHandler {
public:
    explicit QueueLockHandler(Context& context) : context_(context) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    void lock(Call& call);
    void unlock(Call& call);

    Context& context_;
};

}  // namespace gantry::broker

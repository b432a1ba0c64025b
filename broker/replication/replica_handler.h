// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "protocol/wire/replication.pb.h"

#include <memory>

namespace gantry::broker {

class Dispatcher;

/// Tells operators how the copies of the log stand, and makes this broker the master when they say
/// so: kReplicaStatus (10104) and kPromote (10106), natively, on the port of clients.
///
///   another group                10104   kRefused
///   replication.mode is off      10106   kUnsupported
///
/// A promotion may end the connection it was asked on before it is answered: its sender looks at
/// the status then.
///
/// Threads   any loop. Answers come from any thread.
class ReplicaHandler {
public:
    explicit ReplicaHandler(Context& context);
    ~ReplicaHandler();
    ReplicaHandler(const ReplicaHandler&) = delete;
    ReplicaHandler& operator=(const ReplicaHandler&) = delete;

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);
    /// Drops answers that are still to come. Before the loops' states go.
    void close();

private:
    struct Gate;

    void status(Call& call, const wire::ReplicaStatusRequest& request);
    void promote(Call& call, const wire::PromoteRequest& request);

    Context& context_;
    std::shared_ptr<Gate> gate_;
};

}  // namespace gantry::broker

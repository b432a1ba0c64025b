// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "broker/context.h"
#include "broker/dispatcher.h"
#include "common/unique_function.h"
#include "protocol/wire/replication.pb.h"

#include <memory>

namespace gantry::broker {

/// Operators' requests about the group, from native clients: how its copies are (10104), and that
/// this member be the master (10106). Answered by every member in every role.
///
/// Errors    kUnsupported to 10106: replication.mode is off. kRefused: the copy is not in sync, and
///           acceptLoss is not set. kBusy: the role is changing.
/// Threads   any loop; the answers come from the member's control loop, and are dropped after
///           close().
class ReplicaHandler {
public:
    explicit ReplicaHandler(Context& context);

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);
    /// No answer is given any more when it returns; before the loops' state dies.
    void close();

private:
    struct Gate;

    void status(Call& call);
    void promote(Call& call, const wire::PromoteRequest& request);

    Context& context_;
    std::shared_ptr<Gate> gate_;
};

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "protocol/wire/group.pb.h"

#include <vector>

namespace gantry::broker {

class Dispatcher;
class TopicCreator;

/// Membership of groups: heartbeats (34), leaving (35), the member list (38), and the notice of
/// changes (40) that the broker sends to every member before the answer to whoever caused them.
///
/// Threads   any loop. connection_closed: the connection's loop. expire, drop_stalled: the first
///           loop.
class GroupHandler {
public:
    GroupHandler(Context& context, TopicCreator& creator) : context_(context), creator_(creator) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

    /// Takes a closed connection out of its groups at once, and tells the others.
    void connection_closed(LoopState& loop, PeerId peer);
    /// Takes out members whose heartbeats stopped.
    void expire(LoopState& loop);
    /// Ends the membership of who let the lease of a queue lapse, until its next heartbeat.
    void drop_stalled(LoopState& loop);

private:
    void heartbeat(Call& call);
    void leave(Call& call, const wire::UnregisterClientRequest& request);
    void members(Call& call, const wire::ConsumerGroupRequest& request);
    void check_client(Call& call);

    ClientInfo client_of(const Call& call, const std::string& client_id) const;
    /// Makes the configurations and retry topics the groups of a heartbeat lack; true when any.
    bool create_missing(Call& call, const wire::HeartbeatData& data);
    void announce(LoopState& loop, const std::vector<GroupRegistry::Change>& changes);
    void announce(LoopState& loop, const GroupRegistry::Change& change);

    Context& context_;
    TopicCreator& creator_;
};

}  // namespace gantry::broker

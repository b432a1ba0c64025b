// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "protocol/wire/group.pb.h"

#include <memory>
#include <string>
#include <vector>

namespace gantry::broker {

class Dispatcher;
class TopicCreator;

/// Groups as administrators see them: configuration (200, 201, 207), connections (203, 204),
/// progress (208), list (10021).
///
/// Threads   any loop. Progress reads store times and runs in the pool.
/// Errors    203 of a group without members: 206. 204: 1. 207 of an unknown group: natively
///           kSubscriptionGroupNotExist, else success as in RocketMQ.
class GroupAdminHandler {
public:
    GroupAdminHandler(Context& context, TopicCreator& creator)
        : context_(context), creator_(creator) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    void put(Call& call);
    void list_configs(Call& call);
    void remove(Call& call, const wire::DeleteSubscriptionGroupRequest& request);
    void consumer_connections(Call& call, const wire::ConsumerGroupRequest& request);
    void producer_connections(Call& call, const wire::ProducerGroupRequest& request);
    void progress(Call& call, const wire::ConsumeStatsRequest& request);
    void list(Call& call);

    wire::ConsumeStats progress_of(const std::string& group,
                                   const std::vector<std::string>& topics) const;
    std::vector<std::string> topics_of(const std::string& group) const;
    void describe(const std::string& group, wire::GroupList::Group& into) const;

    Context& context_;
    TopicCreator& creator_;
};

}  // namespace gantry::broker

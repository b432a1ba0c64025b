// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/consumer.h"
#include "client/core/routes.h"
#include "client/message.h"
#include "client/message_selector.h"
#include "client/share/share_holder.h"
#include "client/sharing.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/net/event_loop.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace gantry::client {

class BrokerShares;
class Runtime;

/// What a consumer group member tells the brokers about itself.
struct MembershipOptions {
    std::string group;
    std::map<std::string, MessageSelector> subscriptions;  ///< by topic
    std::int64_t subscription_version = 0;
    StartFrom::Kind start_from = StartFrom::Kind::kLast;
    bool is_push = false;
    bool is_broadcast = false;  ///< every member has all queues
    Sharing sharing;
    /// kBroker: who reads what brokers grant; nobody: as kAverage.
    std::weak_ptr<ShareHolder> holder;
    std::chrono::milliseconds hand_over_limit{30'000};
};

/// A member of a consumer group: registers by heartbeats, learns who else is there from any broker
/// of each topic, and deals the queues out as options say. Again when a broker says that members
/// changed, when a route changes, every 20 s, and 1 s after a try that failed. With kBroker,
/// brokers that deal their queues out themselves are obeyed, see BrokerShares.
///
/// Threads   join, leave: any. `on_assignment` runs in the control loop, with all queues of this
///           member, whenever they change.
/// Errors    a topic for which no broker lists the members keeps the queues it has.
/// Lifetime  kept alive by questions that are out; after leave() on_assignment is not called.
class GroupMembership : public std::enable_shared_from_this<GroupMembership> {
public:
    using OnAssignment = std::function<void(const std::set<QueueId>& queues)>;
    using Then = UniqueFunction<void()>;

    GroupMembership(Runtime& runtime, MembershipOptions options, OnAssignment on_assignment);
    ~GroupMembership();
    GroupMembership(const GroupMembership&) = delete;
    GroupMembership& operator=(const GroupMembership&) = delete;

    /// Registers and starts to share. Once.
    void join();
    /// Ends without a word to the brokers: another object goes on for the same group.
    void retire();
    /// Gives up all queues and tells the brokers; `then` when they know or failed.
    void leave(Then then);

private:
    struct Round;

    void end_in_loop(bool is_silent);
    void beat_in_loop();
    void rebalance_in_loop();
    void ask_members_in_loop(const std::shared_ptr<Round>& round,
                             const RoutePtr& route,
                             std::size_t attempt);
    void take_all_in_loop(const TopicRoute& route);
    void share_in_loop(Round& round, const TopicRoute& route, std::vector<std::string> members);
    void finish_in_loop(Round& round);
    void open_shares_in_loop();
    void publish_in_loop();

    Runtime& runtime_;
    const MembershipOptions options_;

    // The rest belongs to the control loop.
    OnAssignment on_assignment_;
    std::map<std::string, std::set<QueueId>> shares_;  // topic to queues
    std::shared_ptr<BrokerShares> broker_shares_;      // kBroker only
    std::unique_ptr<net::Timer> timer_;
    RouteTable::SubscriptionId subscription_ = 0;
    bool is_rebalancing_ = false;
    bool must_repeat_ = false;
    bool has_left_ = false;
};

}  // namespace gantry::client

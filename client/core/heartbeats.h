// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/core/routes.h"
#include "common/unique_function.h"
#include "protocol/net/channel.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

namespace gantry::wire {
class ConsumerData;
}

namespace gantry::client {

class LoopSlot;

/// Tells every broker in use who lives in this process: producer groups and consumer groups with
/// their subscriptions. Every 10 s, at once when a group or a route changes, and at once on every
/// new connection. Each broker has its own deadline.
///
/// Threads   add_producer, remove_producer, answer_checks, end_checks, receive_replies,
/// end_replies:
///           any. The rest: the control loop.
class Heartbeats {
public:
    using Then = UniqueFunction<void()>;

    Heartbeats(LoopSlot& slot, RouteTable& routes, std::string client_id);
    ~Heartbeats();
    Heartbeats(const Heartbeats&) = delete;
    Heartbeats& operator=(const Heartbeats&) = delete;

    /// Counts: a group stays until every producer of it is removed.
    void add_producer(const std::string& group);
    /// Tells the brokers when it was the last of its group.
    void remove_producer(const std::string& group);

    /// Told in the control loop of brokers' questions about transactions, with the broker's
    /// address.
    using OnCheck = std::function<void(const net::Received&, const std::string& address)>;

    /// `on_check` gets those about transactions of a producer group; of several, the one that came
    /// first does. Returns a number for end_checks. Any thread.
    std::uint64_t answer_checks(const std::string& group, OnCheck on_check);
    /// Any thread; `on_check` may run once more.
    void end_checks(std::uint64_t listener);

    /// Told in the control loop of replies that brokers push; each listener looks for its own.
    using OnReply = std::function<void(const net::Received&)>;

    /// Returns a number for end_replies. Any thread.
    std::uint64_t receive_replies(OnReply on_reply);
    /// Any thread; `on_reply` may run once more.
    void end_replies(std::uint64_t listener);

    /// Adds a consumer group or replaces its data, beats, and calls `then` when every broker has
    /// answered or failed. `on_change`: the group's members changed, says a broker.
    void put_consumer(const wire::ConsumerData& data, std::function<void()> on_change, Then then);
    /// Takes the group out and tells the brokers; `then` when they have answered or failed.
    void remove_consumer(const std::string& group, Then then);

    /// Listens to the brokers' notices on a new channel of the control loop.
    void attach(net::Channel& channel);

    /// Control loop, before the slot stops.
    void stop();

private:
    struct Consumer;

    void beat(Then then);
    void beat_one(const std::string& address, const std::shared_ptr<Then>& then);
    void unregister(const std::string& producer_group,
                    const std::string& consumer_group,
                    Then then);
    void on_notice(const net::Received& notice, const std::string& address);
    void on_members_changed(const net::Received& notice);
    void on_transaction_check(const net::Received& notice, const std::string& address);
    std::string body() const;

    LoopSlot& slot_;
    RouteTable& routes_;
    const std::string client_id_;
    std::map<std::string, int> producers_;  // group to how many
    std::map<std::string, std::unique_ptr<Consumer>> consumers_;
    std::map<std::uint64_t, std::pair<std::string, OnCheck>> checkers_;  // by listener, with group
    std::map<std::uint64_t, OnReply> reply_listeners_;
    std::atomic<std::uint64_t> last_listener_{0};
    std::set<std::string> beaten_;  // addresses that have a timer's worth of attention
    std::unique_ptr<net::Timer> timer_;
    RouteTable::SubscriptionId subscription_ = 0;
};

}  // namespace gantry::client

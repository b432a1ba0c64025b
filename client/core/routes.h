// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/net/event_loop.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::wire {
class TopicRouteData;
class WatchRoutesBody;
}  // namespace gantry::wire

namespace gantry::client {

class LoopSlot;
class Nameservers;

/// One broker group of a route. Immutable.
struct BrokerRoute {
    std::string name;
    std::string cluster;
    std::map<std::int64_t, std::string> addresses;  ///< broker id (0: master) to "host:port"
    std::int64_t epoch = 0;                         ///< of its master; 0: there is no replication

    /// The master's address, empty when there is none now.
    const std::string& master() const noexcept;
    /// The master, or else the slave of the smallest id.
    const std::string& any() const noexcept;

    bool operator==(const BrokerRoute&) const = default;
};

/// Where one topic lives. Immutable; everything sorted, so that all clients see one order.
struct TopicRoute {
    std::string topic;
    std::vector<BrokerRoute> brokers;
    std::vector<QueueId> write_queues;  ///< also of brokers that have no master
    std::vector<QueueId> read_queues;
    bool is_template = false;  ///< of the auto-create template: the topic does not exist yet

    /// Null: not in the route.
    const BrokerRoute* find_broker(std::string_view name) const noexcept;

    bool operator==(const TopicRoute&) const = default;
};

using RoutePtr = std::shared_ptr<const TopicRoute>;

/// The topic's route out of the nameserver's answer.
TopicRoute make_route(std::string_view topic, const wire::TopicRouteData& data);

/// Routes of all topics in use. A topic is asked for once, then watched by a request parked at a
/// nameserver, which a change answers at once; every 30 s all are asked for again in case the
/// watch does not work.
///
/// Threads   get, refresh, cached, address_of, subscribe, unsubscribe: any. Callbacks run in the
///           control loop.
/// Fail-over a broker's addresses are those of the highest epoch that any answer told; what is
/// older
///           is passed over. When its master has gone or another one took over, on_master_left is
///           called.
/// Limits    a route that vanishes is kept: its broker may come back, and knows better whether the
///           topic still exists. Topics stay watched until the end.
class RouteTable {
public:
    using OnRoute = UniqueFunction<void(Result<RoutePtr>)>;
    using OnChange = std::function<void(const RoutePtr& route)>;
    using SubscriptionId = std::uint64_t;
    /// `broker`'s master was at `address`; `is_deposed`: another one has taken over.
    using OnMasterLeft =
        std::function<void(const std::string& broker, const std::string& address, bool is_deposed)>;

    RouteTable(LoopSlot& slot, Nameservers& nameservers);
    ~RouteTable();
    RouteTable(const RouteTable&) = delete;
    RouteTable& operator=(const RouteTable&) = delete;

    /// The route, asked for if need be. kNotFound: no such topic. Errors of the nameservers.
    /// `with_template`: an unknown topic gets the route of the auto-create template, if any.
    void get(const std::string& topic, bool with_template, OnRoute done);
    /// get, for a thread that may wait.
    Result<RoutePtr> wait_for(const std::string& topic);
    /// Asks again, in the background.
    void refresh(const std::string& topic);
    /// Follows a topic that may not exist yet.
    void watch(const std::string& topic);

    /// What is known now; null when nothing is.
    RoutePtr cached(const std::string& topic) const;
    /// Master of a broker, or any of its slaves; empty when no known route names it.
    std::string address_of(const std::string& broker) const;
    /// Master of a broker; empty while there is none.
    std::string master_of(const std::string& broker) const;
    /// Where to read: the broker of the name with that id when it is there, else as address_of.
    std::string reader_of(const std::string& broker, std::int64_t id) const;
    /// Of every broker in every known route.
    std::set<std::string> all_addresses() const;

    /// Set before the first request.
    void on_master_left(OnMasterLeft handler) { on_master_left_ = std::move(handler); }

    /// Calls `on_change` for every change of any topic, until unsubscribe.
    SubscriptionId subscribe(OnChange on_change);
    /// After the return no call of it starts; not in the control loop: none runs any more.
    void unsubscribe(SubscriptionId id);

    /// Withdraws timers; control loop, before the slot stops.
    void stop();

private:
    struct Waiting {
        bool with_template = false;
        OnRoute done;
    };

    struct Asked {
        bool in_flight = false;
        std::vector<Waiting> waiting;
    };

    void get_in_loop(const std::string& topic, Waiting waiting);
    void ask_in_loop(const std::string& topic);
    void ask_template_in_loop(const std::string& topic);
    void answer_in_loop(const std::string& topic, const Result<RoutePtr>& result);
    void follow_in_loop(const std::string& topic);
    void poll_in_loop();
    void watch_in_loop();
    void watched_in_loop(const Result<wire::WatchRoutesBody>& answer, const std::string& address);
    RoutePtr put_in_loop(TopicRoute route);

    /// One broker group, as of the highest epoch that was told.
    struct Known {
        BrokerRoute route;
        std::string master;  ///< the last there was
        bool has_left = false;
    };

    struct Left {
        std::string broker;
        std::string address;
        bool is_deposed = false;
    };

    std::vector<Left> take_brokers(TopicRoute& route) GANTRY_REQUIRES(mutex_);

    LoopSlot& slot_;
    Nameservers& nameservers_;
    std::map<std::string, Asked> asked_;             // control loop
    std::map<std::string, std::uint64_t> versions_;  // control loop: topics watched
    std::unique_ptr<net::Timer> poll_timer_;
    std::unique_ptr<net::Timer> watch_timer_;
    OnMasterLeft on_master_left_;
    std::uint64_t watch_generation_ = 0;
    SteadyTime watch_started_{};
    std::uint32_t quick_watches_ = 0;
    bool watch_supported_ = true;
    bool stopped_ = false;

    mutable Mutex mutex_;
    std::map<std::string, RoutePtr> routes_ GANTRY_GUARDED_BY(mutex_);
    std::map<std::string, Known> brokers_ GANTRY_GUARDED_BY(mutex_);
    std::map<SubscriptionId, std::shared_ptr<OnChange>> subscribers_ GANTRY_GUARDED_BY(mutex_);
    SubscriptionId next_subscription_ GANTRY_GUARDED_BY(mutex_) = 1;
};

}  // namespace gantry::client

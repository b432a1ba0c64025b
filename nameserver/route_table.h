// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/result.h"
#include "protocol/net/connection.h"
#include "protocol/wire/nameserver.pb.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gantry::nameserver {

/// Whether two data versions are the same one.
bool same_version(const wire::DataVersion& a, const wire::DataVersion& b);

/// One registration request (103).
struct Registration {
    const wire::RegisterBrokerRequest& request;
    const wire::TopicConfigTable* topics = nullptr;  ///< null: refresh only
    /// Topics missing from `topics` are gone. Stock brokers send single changed topics in the same
    /// form, so theirs never removes any.
    bool is_whole = false;
    net::ConnectionId connection;
};

/// Who serves which topic: brokers by name and id, and the queues each broker name offers.
///
///   broker name -> id -> { address, data version, connection, last heard }
///               -> topic -> { queues, permission }        told by the lowest id present
///   topic       -> version, broker names
///
/// A broker is removed when the connection it was last heard on closes, when it says so, or when it
/// was silent for its time-out. Its topics stay routed while any id of its name is left.
///
/// Epochs    of one broker name, the highest seen wins: a registration with a lower one is refused
///           for as long as the name is registered and one time-out longer. So is another master
///           of the same one. When it rises, a master of a lower one is out of the route at once;
///           slaves stay until they register again, or fall silent.
/// Versions  every change of a topic's route gives it a new version: larger than all before, and,
///           as they start from the wall clock, different from those of an earlier process. Topics
///           without a route share one version, below all others.
/// Threads   one; no I/O, no lock. `on_change` runs inside the call that changes a route.
class RouteTable {
public:
    /// What it may hold, and for how long.
    struct Options {
        std::chrono::milliseconds expiry{120'000};  ///< for brokers that announce no time-out
        std::uint64_t brokers_max = 10'000;
        std::uint64_t topics_per_broker_max = 1'000'000;
    };

    using OnChange = std::function<void(const std::string& topic)>;

    RouteTable(Clock& clock, const Options& options, OnChange on_change);
    RouteTable(const RouteTable&) = delete;
    RouteTable& operator=(const RouteTable&) = delete;
    ~RouteTable();

    /// Adds or refreshes a broker. kConflict: a lower epoch than the highest seen, another master
    /// than that of this epoch, an id whose holder at another address is alive, or another cluster
    /// than that of the name. kRefused: a malformed name or address, or a limit. Topics with
    /// illegal names or numbers are left out and counted.
    Result<wire::RegisterBrokerResponse> register_broker(const Registration& registration);

    /// Applies changes to a registration. kConflict: not registered at that address, another base
    /// version, or a lower epoch; the broker then registers in full.
    Status apply_delta(const wire::RegisterBrokerRequest& broker,
                       const wire::RegisterBrokerDelta& delta,
                       net::ConnectionId connection);

    /// Marks the broker alive, on that connection. kNotFound: not registered at that address.
    Status heartbeat(const wire::BrokerIdentity& broker, net::ConnectionId connection);

    /// heartbeat, and the data version held. Nothing when not registered.
    std::optional<wire::DataVersion> data_version(const wire::BrokerIdentity& broker,
                                                  net::ConnectionId connection);

    /// Removes the broker registered at that address; nothing when it is another's, or the broker
    /// has another id by now.
    void unregister_broker(const wire::BrokerIdentity& broker);

    /// Removes what was last heard on `connection`.
    void connection_lost(net::ConnectionId connection);

    /// Removes brokers silent for longer than their time-out; returns how many. Time during which
    /// nobody called expire (a stopped process) does not count as silence.
    std::size_t expire();

    /// Fills `route`; false when no broker has the topic.
    bool route(const std::string& topic, wire::TopicRouteData& route) const;
    std::uint64_t version(const std::string& topic) const;
    /// Gives the topic a new version for a change made elsewhere (its order configuration).
    void touch(const std::string& topic);

    wire::ClusterInfo cluster_info() const;
    /// All topics, or those of one cluster; sorted.
    wire::TopicList topics() const;
    wire::TopicList topics_of_cluster(std::string_view cluster) const;
    /// Cluster and broker names, which brokers treat as topics, and the address of one broker.
    wire::TopicList system_topics() const;

    /// Takes the write permission from all topics of a broker name until it registers in full, a
    /// stock broker with a newer data version; returns their number.
    std::int32_t wipe_write_permission(const std::string& broker_name);
    /// Gives every topic of a broker name the permission it registered with; returns their number.
    std::int32_t restore_write_permission(const std::string& broker_name);

    /// Forgets the topic on all brokers, or those of `cluster` when not empty.
    void delete_topic(const std::string& topic, std::string_view cluster);

    std::size_t broker_count() const noexcept { return member_count_; }

    std::size_t topic_count() const noexcept { return topics_.size(); }

    /// A number that differs whenever any route changed; for caches of lists.
    std::uint64_t change_count() const noexcept { return change_count_; }

    /// Topics of registrations left out because of their name or numbers.
    std::uint64_t rejected_topics() const noexcept { return rejected_topics_; }

private:
    struct Queues {
        std::int32_t read = 0;
        std::int32_t write = 0;
        std::int32_t permission = 0;
        std::int32_t registered_permission = 0;
        std::int32_t sys_flag = 0;
        std::uint64_t mark = 0;  // of the registration that named it last

        bool same_route(const Queues& other) const noexcept;
    };

    struct Member {
        std::string address;
        std::string ha_address;
        wire::DataVersion version;
        std::int64_t epoch = 0;
        net::ConnectionId connection;
        SteadyTime last_heard{};
        std::chrono::milliseconds expiry{};
    };

    struct Group {
        std::string name;
        std::string cluster;
        std::int64_t epoch = 0;
        std::string master;  ///< address of who registered as id 0 in that epoch; empty: nobody
        std::map<std::int64_t, Member> members;
        std::unordered_map<std::string, Queues> topics;
        std::optional<std::int64_t> topics_from;  // id of the member that told them
        wire::DataVersion topics_version;
    };

    struct Topic {
        std::uint64_t version = 0;
        std::vector<Group*> groups;  // by name
    };

    struct Fence {
        std::int64_t epoch = 0;
        std::string master;
        SteadyTime until{};
    };

    struct MemberKey {
        std::string name;
        std::int64_t id = 0;

        bool operator==(const MemberKey&) const = default;
    };

    Status check_registration(const Registration& registration) const;
    Status check_against_group(const wire::RegisterBrokerRequest& request,
                               net::ConnectionId connection) const;
    Status check_epoch(const wire::RegisterBrokerRequest& request) const;
    void take_epoch(Group& group, const wire::RegisterBrokerRequest& request) const;
    bool drop_deposed(Group& group);
    bool place_member(Group& group, const Registration& registration);
    void take_topics(Group& group, std::int64_t id, const Registration& registration);
    void replace_topics(Group& group, const wire::TopicConfigTable& topics, bool is_whole);
    void put_topic(Group& group, const std::string& name, const wire::TopicConfig& config);
    void remove_topic(Group& group, const std::string& topic);
    Member* find_member(const std::string& name, const std::string& address, std::int64_t* id);
    void heard(const std::string& name,
               std::int64_t id,
               Member& member,
               net::ConnectionId connection);
    void forget(net::ConnectionId connection, const MemberKey& key);
    void remove_member(const std::string& name, std::int64_t id, std::string_view why);
    void touch_all(const Group& group);
    void changed(const std::string& topic);

    Clock& clock_;
    const Options options_;
    const OnChange on_change_;
    std::map<std::string, Group> groups_;
    std::unordered_map<std::string, Topic> topics_;
    std::unordered_map<net::ConnectionId, std::vector<MemberKey>> heard_on_;
    std::map<std::string, Fence> fences_;
    const std::uint64_t absent_version_;
    std::uint64_t last_version_;
    std::uint64_t mark_ = 0;
    std::uint64_t change_count_ = 0;
    std::size_t member_count_ = 0;
    std::uint64_t rejected_topics_ = 0;
    SteadyTime last_expire_;
};

}  // namespace gantry::nameserver

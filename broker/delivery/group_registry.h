// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/assignment/share_coordinator.h"
#include "broker/filter/message_filter.h"
#include "broker/peer.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/result.h"
#include "protocol/wire/frame.h"
#include "protocol/wire/group.pb.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gantry::broker {

/// Who is speaking: taken from a heartbeat's frame and connection.
struct ClientInfo {
    PeerId peer = 0;
    std::string client_id;
    std::string address;
    std::string language;
    std::int32_t version = 0;
    wire::Codec codec = wire::Codec::kJson;
};

/// What a group reads of one topic.
struct Subscription {
    wire::SubscriptionData data;
    MessageFilter filter;
    Error error;  ///< of parsing the expression; detail empty when there is none
};

/// Who is online: the connections of every consumer and producer group and what they subscribe to.
/// A member is a connection; it leaves by request, when its connection closes, or when its
/// heartbeats stop for kExpiry. Nothing here is stored.
///
/// Threads   any; one mutex inside.
/// Lifetime  `clock` and `filters` outlive it.
class GroupRegistry {
public:
    static constexpr std::chrono::seconds kExpiry{120};

    GroupRegistry(const Clock& clock, filter::SqlFilters& filters)
        : clock_(clock), filters_(filters) {}

    /// A member that is to be told something, and the codec it speaks.
    struct Receiver {
        PeerId peer = 0;
        wire::Codec codec = wire::Codec::kJson;
    };

    /// A consumer group whose members or topics changed, and who is to hear of it.
    struct Change {
        std::string group;
        std::vector<Receiver> receivers;
        bool is_broadcast = false;
    };

    /// Registers the sender of a heartbeat as a member of one consumer group. A change when it is
    /// new or the group's set of topics became another.
    std::optional<Change> join(const ClientInfo& client, const wire::ConsumerData& consumer);
    /// Whether the sender is new in the producer group.
    bool join_producer(const ClientInfo& client, const std::string& group);

    /// Ends the membership of `client_id` on that connection in the groups named (empty: none).
    std::vector<Change> leave(PeerId peer,
                              std::string_view consumer_group,
                              std::string_view producer_group);
    /// Ends all memberships of a closed connection.
    std::vector<Change> remove_peer(PeerId peer);
    /// Ends those without a heartbeat for kExpiry.
    std::vector<Change> expire();

    /// Whether a subscription was found, else which is unknown: the group, or the topic in it.
    enum class Lookup { kFound, kNoGroup, kNoTopic };

    /// What a look-up found. `subscription` is set when status is kFound, and stays as it is when
    /// the group subscribes anew.
    struct Found {
        Lookup status = Lookup::kNoGroup;
        bool is_broadcast = false;
        std::shared_ptr<const Subscription> subscription;
    };

    /// What a member reads of `topic`, as its heartbeats said; of a peer that is no member, or does
    /// not subscribe to it: what the newest subscription of any member says.
    Found subscription(std::string_view group, std::string_view topic, PeerId peer = 0) const;

    /// Who is in a group, and whether some compute their shares of the queues themselves.
    ShareCoordinator::GroupView view(std::string_view group) const;
    /// Client ids of a group, sorted, each once.
    std::vector<std::string> client_ids(std::string_view group) const;
    std::optional<wire::ConsumerConnection> consumer_connections(std::string_view group) const;
    std::optional<wire::ProducerConnection> producer_connections(std::string_view group) const;
    /// One member of a producer group, another one for the next `turn`; nothing when none is there.
    std::optional<Receiver> producer(std::string_view group, std::size_t turn) const;
    /// The connection over which a client of that id came last; nothing when none is there.
    std::optional<Receiver> client(std::string_view client_id) const;
    /// Topics a group that is online subscribes to.
    std::vector<std::string> topics_of(std::string_view group) const;
    /// Online consumer groups, by name; with a topic: those that subscribe to it.
    std::vector<std::string> groups(std::string_view topic = {}) const;
    std::uint64_t member_count() const;

private:
    using Topics = std::map<std::string, std::shared_ptr<const Subscription>, std::less<>>;

    struct Member {
        ClientInfo client;
        SteadyTime seen;
        bool is_by_broker = false;  ///< asks the broker for its queues
        Topics topics;              ///< of a consumer
    };

    using Members = std::map<PeerId, Member>;

    struct Group {
        std::string consume_type;
        std::string message_model;
        std::string consume_from;
        Members members;
        Topics topics;  ///< of all members: the newest version of each
    };

    using Groups = std::map<std::string, Group, std::less<>>;
    using Producers = std::map<std::string, Members, std::less<>>;

    using Names = std::set<std::string, std::less<>>;

    /// The groups of one connection.
    struct Memberships {
        std::string client_id;
        Names consumers;
        Names producers;
    };

    void update_topics(Topics& topics, const wire::ConsumerData& consumer) const;
    /// Whether the set of topics became another.
    static bool gather_topics(Group& group);
    static Change change_of(const std::string& name, const Group& group);
    /// The change, when `peer` was a member of that consumer group.
    std::optional<Change> remove_consumer(PeerId peer, std::string_view group)
        GANTRY_REQUIRES(mutex_);
    void remove_producer(PeerId peer, std::string_view group) GANTRY_REQUIRES(mutex_);
    /// Whether any member of `group` was.
    bool remove_silent(Members& members, Names Memberships::*kind, const std::string& group)
        GANTRY_REQUIRES(mutex_);
    /// Takes `group` off the index by peer.
    void forget(PeerId peer, Names Memberships::*kind, std::string_view group)
        GANTRY_REQUIRES(mutex_);

    /// The groups of a connection, which is known by its client's id from now on.
    Memberships& memberships(const ClientInfo& client) GANTRY_REQUIRES(mutex_);
    void forget_client(PeerId peer, const std::string& client_id) GANTRY_REQUIRES(mutex_);

    const Clock& clock_;
    filter::SqlFilters& filters_;
    mutable Mutex mutex_;
    Groups consumers_ GANTRY_GUARDED_BY(mutex_);
    Producers producers_ GANTRY_GUARDED_BY(mutex_);
    std::unordered_map<PeerId, Memberships> by_peer_ GANTRY_GUARDED_BY(mutex_);
    /// Connections of each client, the newest last.
    std::map<std::string, std::vector<Receiver>, std::less<>> by_client_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/assignment/share_breadth.h"
#include "broker/peer.h"
#include "common/clock.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gantry::broker {

/// A queue of this broker that a member has or had. `token` names the grant: a later grant of any
/// queue has a greater one, across restarts.
struct ShareHolding {
    std::string topic;
    std::int32_t queue_id = 0;
    std::int64_t token = 0;  ///< 0: read without a grant
    bool is_revoked = false;

    bool operator==(const ShareHolding&) const = default;
};

/// A member's word to the broker: that it lives, what it reads, has, and gives back.
struct ShareAsk {
    /// A topic that it subscribes to.
    struct Topic {
        std::string name;
        std::size_t queues_before = 0;
        bool is_only_here = true;
        ShareBreadth breadth;
    };

    std::string group;
    std::string client_id;
    PeerId peer = 0;
    std::vector<Topic> topics;
    std::vector<ShareHolding> held;
    std::vector<ShareHolding> released;
    std::int64_t generation = 0;  ///< of the share the member knows; 0: none, it has just begun
    bool leaves = false;
};

/// What a member has.
struct Share {
    std::int64_t generation = 0;
    bool is_by_clients = false;  ///< members without this protocol are there
    std::vector<ShareHolding> queues;
};

/// Deals this broker's queues out to the members of consumer groups.
///
///   free --grant--> held --revoke--> to be released --release--> free
///                     `--- silent for two heartbeats, connection lost, left ---^
///
/// A queue has one owner at a time: it is granted to the next one when the owner has released it,
/// left, or lost it by silence; then the owner's token is fenced. While a group has members that
/// compute their shares themselves, all do.
///
/// While members of a group want different parts of a topic, as when one subscription replaces
/// another, its queues go to those that want most: a message that any member wants is not passed
/// over by one that does not. Of parts that do not contain one another, each is as good.
///
/// After a restart, and when a group comes back from computing alone, members say what they have
/// and keep it; what nobody claims is granted one heartbeat later, so that no queue has two
/// readers.
///
/// Threads   one at a time; ShareService has the lock.
/// Limits    a group without members is forgotten after kForget; until then the tokens that were
///           fenced stay so. Nothing runs but when it is called.
class ShareCoordinator {
public:
    static constexpr std::chrono::hours kForget{1};

    /// What else is known of a group.
    struct GroupView {
        bool has_client_side = false;   ///< members that compute their shares themselves
        std::set<std::string> members;  ///< client ids of all members
    };

    /// What it stands on.
    struct Options {
        std::chrono::milliseconds heartbeat{5'000};
        std::function<std::int32_t(const std::string& topic)> queues_of;  ///< readable, here
        std::function<GroupView(const std::string& group)> view_of;
        std::set<std::string> groups_at_start;  ///< that may have members from before the restart
    };

    /// A group and a client id in it.
    using MemberId = std::pair<std::string, std::string>;
    /// Members whose share has changed.
    using Changed = std::vector<MemberId>;

    ShareCoordinator(const Clock& clock, Options options);

    /// Takes the member's word; it lives for two heartbeats from now on.
    Changed ask(const ShareAsk& ask);
    /// Members of the group came or went, or the set of those that compute alone changed.
    Changed group_changed(const std::string& group);
    /// A connection has ended: who asked by it last must come back within a fifth of a heartbeat.
    void peer_closed(PeerId peer);
    /// Ends members whose time is over, and grants what had to wait.
    Changed sweep();

    /// The member's share; generation 0 when it is none.
    Share share_of(const MemberId& member) const;
    /// False when the queue was granted to another one since, or given back under that token.
    bool may_commit(std::string_view group,
                    std::string_view topic,
                    std::int32_t queue_id,
                    std::int64_t token) const;

    /// One queue and who has it; nobody: empty.
    struct Owned {
        std::string client_id;
        ShareHolding queue;
    };

    /// All queues of the group's topics; none when the group has no members.
    std::vector<Owned> owners(std::string_view group) const;
    /// Whether its members compute their shares themselves.
    bool is_by_clients(std::string_view group) const;

    /// Members that fell silent, over all groups, ever.
    std::uint64_t expired_count() const noexcept { return expired_; }

    std::uint64_t granted_count() const noexcept { return granted_; }

private:
    struct Queue {
        std::string owner;  ///< empty: free
        std::int64_t token = 0;
        std::int64_t fence = 0;  ///< smallest token that may commit or claim
        bool is_revoked = false;
    };

    struct Member {
        PeerId peer = 0;
        SteadyTime until;
        std::map<std::string, ShareAsk::Topic> topics;
        std::vector<ShareHolding> claims;  ///< what it reads while members compute alone
        Share share;
    };

    using Queues = std::map<std::string, std::vector<Queue>, std::less<>>;

    struct Group {
        std::map<std::string, Member> members;
        Queues topics;
        SteadyTime settles;  ///< until then only what is claimed is granted
        SteadyTime empty_since;
        bool is_by_clients = false;
    };

    using Groups = std::map<std::string, Group, std::less<>>;

    Group& group_of(const std::string& name);
    void update_mode(const std::string& name, Group& group);
    void fit_queues(Group& group);
    void claim(Group& group, const std::string& client_id, const ShareHolding& held);
    void release(Group& group, const std::string& client_id, const ShareHolding& released);
    void free_all(Group& group, const std::string& client_id, bool was_released);
    static std::vector<const std::string*> readers_of(const Group& group, const std::string& topic);
    void plan(Group& group, const std::string& topic, std::vector<Queue>& queues);
    void grant(Queue& queue, const std::string& client_id);
    void replan(const std::string& name, Group& group, Changed& changed);
    static Share share_in(const Group& group, const std::string& client_id);
    static Queue* find(Group& group, const ShareHolding& which);

    bool is_settling(const Group& group) const { return clock_.steady() < group.settles; }

    const Clock& clock_;
    const Options options_;
    const SteadyTime started_;
    Groups groups_;
    std::int64_t last_number_;  ///< of tokens and generations
    std::uint64_t expired_ = 0;
    std::uint64_t granted_ = 0;
};

}  // namespace gantry::broker

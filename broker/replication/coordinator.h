// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/group_state.h"
#include "common/clock.h"
#include "common/result.h"
#include "common/unique_function.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace gantry::broker {

/// A member as it tells the others that it lives.
struct LiveMember {
    MemberId id;
    std::string replication_address;  ///< host:port
    std::string client_address;
    std::int64_t epoch = 0;         ///< it obeys
    std::int64_t log_end = 0;       ///< about; what an election prefers
    std::uint64_t incarnation = 0;  ///< random, of the process
    /// Which directory of which run of a machine the store is in (place_of): a process holds its
    /// lock, so that another one that was there is dead. Empty: not known.
    std::string place{};

    bool operator==(const LiveMember&) const = default;
};

/// Names the directory for LiveMember::place: no two directories of running machines have the same,
/// copies of one another neither. Blocks for a moment. Empty: it cannot be told.
std::string place_of(const std::filesystem::path& directory);

/// What a coordinator knows of the group.
struct GroupView {
    GroupState state;
    std::uint64_t revision = 0;  ///< of the state; 0: there is none
    std::vector<LiveMember> live;
    bool is_current = false;  ///< heard from the store of the state lately; else it may be old
};

/// Where a group keeps its state and learns who lives: etcd, a file and the other members (static
/// roles), or memory (tests).
///
/// Safety rests on swap alone. The lease tells others when to elect, and this member when to stop
/// acknowledging; a wrong clock costs time, never a message.
///
/// Threads   one loop; everything is called and calls back there.
/// Errors    swap: kConflict: the state has another revision, which the view tells before this does
///           when it can be read. kUnknown: it may have been changed, or be changed yet: only
///           another swap that succeeds tells. kGone: it was not, and will not be.
/// Lifetime  callbacks come until stop(); then only that one's. They may stop it, not destroy it.
class Coordinator {
public:
    /// The new revision.
    using SwapDone = UniqueFunction<void(Result<std::uint64_t>)>;
    using OnView = std::function<void(const GroupView&)>;

    Coordinator() = default;
    Coordinator(const Coordinator&) = delete;
    Coordinator& operator=(const Coordinator&) = delete;
    virtual ~Coordinator() = default;

    /// Joins the group; `on_view` is called for what is there, and for every change; revisions in
    /// it only grow, but where the store of the state itself was replaced.
    virtual void start(LiveMember self, OnView on_view) = 0;
    /// Tells the others what changed of this member, soon.
    virtual void announce(LiveMember self) = 0;
    /// Replaces the state when it still has `revision` (0: when there is none).
    virtual void swap(std::uint64_t revision, const GroupState& next, SwapDone done) = 0;
    /// Until when this member's lease surely lives, by the boot-time clock, counted from when the
    /// last renewal that succeeded was sent, less a margin; max() when nobody else can elect.
    virtual SteadyTime lease_until() const = 0;
    /// Leaves: the lease is given back, so that others need not wait for its end. `done` comes when
    /// it is, at the latest after a second.
    virtual void stop(UniqueFunction<void()> done) = 0;
};

}  // namespace gantry::broker

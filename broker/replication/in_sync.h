// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/group_state.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/result.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace gantry::broker {

/// The in-sync set of a master in one epoch, and how far it has the log. No I/O, no clock of its
/// own.
///
///   confirmed = least end of (members + pending), never moves back
///   pending   whoever may be in the set by a swap whose outcome is not known
///   join      a copy whose end >= max(confirmed, start of this epoch): counted first, then swapped
///   leave     a copy that lags for lag_max: still counted until the swap has surely succeeded
///   unknown   a swap whose outcome is unknown: counted as joined, and resolved by another swap
///             that succeeds, never by a look
///
///   decision   wanted -> swap sent --- success --> decided
///                                  |-- kGone ----> as before
///                                  |-- kUnknown -> wanted again, at the same revision
///                                  `-- kConflict -> waits for the state -> wanted again, at its
///                                                   revision, or deposed
///
/// Only one swap is under way at a time, and each compares the revision: when one has succeeded, no
/// earlier one can any more.
///
/// Threads   one.
class InSync {
public:
    /// What the set of one epoch is measured by.
    struct Options {
        MemberId self;
        std::int64_t epoch = 0;
        LogOffset epoch_start;
        std::chrono::milliseconds lag_max{5'000};
        std::size_t copies_min = 1;  ///< replication.in_sync_min; see acknowledged()
    };

    /// Starts from the state by which this master was elected: its own swap, that succeeded.
    InSync(const Options& options, GroupState state, std::uint64_t revision);

    /// This master's own copy has the log up to `end`, as durable as its mode asks.
    void own_end(LogOffset end);
    /// A slave's copy does, and it had taken in everything that there was at `caught_up_at`.
    void acknowledged(const MemberId& id, LogOffset end, SteadyTime caught_up_at);
    /// Its link is lost: it does not join, and leaves when it stays away.
    void disconnected(const MemberId& id);

    /// Every copy that can be elected has everything below.
    LogOffset confirmed() const noexcept { return confirmed_; }

    /// confirmed, as far as copies_min members have had it: what senders may be told. It stays
    /// behind confirmed when the set shrank while something was on its way.
    LogOffset acknowledged() const noexcept { return acknowledged_; }

    /// Members and pending ones: whom an acknowledgement waits for.
    std::size_t size() const noexcept { return state_.members.size() + pending_.size(); }

    /// Those that are members however the swaps under way end; what in_sync_min is held against.
    std::size_t sure_size() const noexcept;

    /// Another copy that is surely a member, connected, and has the log up to `end`: one to hand
    /// the group to. The one that has most.
    std::optional<MemberId> heir(LogOffset end) const;

    /// By the last swap that surely succeeded.
    const GroupState& state() const noexcept { return state_; }

    /// What the next swap has to compare with.
    std::uint64_t revision() const noexcept { return revision_; }

    /// The swap to send now, at revision(), or nothing: one is under way, or none is needed. What
    /// it adds counts from this call on. Each one returned is answered by a call of swapped().
    std::optional<GroupState> wanted(SteadyTime now);
    /// How that swap ended; anything but success, kGone and kConflict is taken as unknown. False:
    /// deposed.
    bool swapped(const Result<std::uint64_t>& outcome);
    /// The state as the coordinator tells it, before or after the outcome of a swap. False: it has
    /// another master or epoch: step down.
    bool seen(const GroupState& state, std::uint64_t revision);

private:
    struct Copy {
        LogOffset end;
        SteadyTime caught_up_at{};
        bool is_connected = false;
    };

    bool is_counted(const MemberId& id) const noexcept;
    bool may_join(const Copy& copy, SteadyTime now) const;
    bool must_leave(const MemberId& id, SteadyTime now) const;
    bool is_sure(const MemberId& id) const noexcept;
    GroupState desired(SteadyTime now) const;
    LogOffset end_of(const MemberId& id) const;
    void count(const MemberId& id);
    void decided(GroupState state, std::uint64_t revision);
    void advance();

    const Options options_;
    GroupState state_;
    std::uint64_t revision_ = 0;
    std::optional<GroupState> under_way_;
    std::uint64_t compared_ = 0;     ///< revision that the swap under way compares with
    std::vector<GroupState> maybe_;  ///< of swaps that may have come true, or may yet
    bool must_resolve_ = false;      ///< only a swap that succeeds tells which
    bool must_look_ = false;         ///< a swap met another revision: wait for the state
    bool is_deposed_ = false;
    std::vector<MemberId> pending_;
    std::map<MemberId, Copy> copies_;
    std::optional<SteadyTime> started_;
    LogOffset confirmed_;
    LogOffset acknowledged_;
};

}  // namespace gantry::broker

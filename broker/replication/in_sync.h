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
///   confirmed = least end of (members + those whose joining was sent), never moves back
///   join      a copy whose end >= max(confirmed, start of this epoch): counted first, then swapped
///   leave     a copy that lags for lag_max: still counted until the swap has surely succeeded
///   unknown   a swap whose outcome is unknown: counted as joined, and resolved by another swap
///             that succeeds, never by a look
///
/// Threads   one.
class InSync {
public:
    struct Options {
        MemberId self;
        std::int64_t epoch = 0;
        LogOffset epoch_start;
        std::chrono::milliseconds lag_max{5'000};
    };

    /// Starts from the state by which this master was elected.
    InSync(const Options& options, GroupState state, std::uint64_t revision);

    /// This master's own copy has the log up to `end`, as durable as its mode asks.
    void own_end(LogOffset end);
    /// A slave's copy does, and it had taken in everything that there was at `caught_up_at`.
    void acknowledged(const MemberId& id, LogOffset end, SteadyTime caught_up_at);
    /// Its link is lost: it is behind from now on.
    void disconnected(const MemberId& id);

    LogOffset confirmed() const noexcept { return confirmed_; }

    /// Members and pending ones: whom an acknowledgement waits for.
    std::size_t size() const noexcept;

    const GroupState& state() const noexcept { return state_; }

    std::uint64_t revision() const noexcept { return revision_; }

    /// The swap to send now, or nothing: one is under way, or none is needed. What it adds counts
    /// from this call on.
    std::optional<GroupState> wanted(SteadyTime now);
    /// How that swap ended. kConflict: somebody else changed the state, this master is deposed
    /// unless the new state says otherwise: false.
    bool swapped(const Result<std::uint64_t>& outcome);
    /// The state as the coordinator tells it. False: it has another master or epoch: step down.
    bool seen(const GroupState& state, std::uint64_t revision);

private:
    struct Copy {
        LogOffset end;
        SteadyTime caught_up_at{};
        bool is_connected = false;
    };

    void advance();

    const Options options_;
    GroupState state_;
    std::uint64_t revision_ = 0;
    std::optional<GroupState> under_way_;
    bool is_unknown_ = false;  ///< how the last swap ended
    std::vector<MemberId> pending_;
    std::map<MemberId, Copy> copies_;
    LogOffset confirmed_;
};

}  // namespace gantry::broker

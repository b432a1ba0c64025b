// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::broker {

/// One copy of the group's log: who keeps it, and which incarnation of it. A wiped disk has another
/// storage id, and so is not what the group knows.
struct MemberId {
    std::int64_t member = 0;  ///< replication.member of its broker
    std::uint64_t storage = 0;

    auto operator<=>(const MemberId&) const = default;
};

/// What a group agrees on, changed only by compare-and-swap: who may acknowledge, and whose copies
/// have everything that was acknowledged.
struct GroupState {
    static constexpr std::int64_t kNobody = -1;

    std::int64_t epoch = 0;  ///< 0: there was no master yet
    std::int64_t master = kNobody;
    std::vector<MemberId> members;  ///< the in-sync set, the master's copy among them; ascending
    bool loss_accepted = false;     ///< this master was not in the set before

    bool operator==(const GroupState&) const = default;

    bool has(const MemberId& id) const noexcept;
    /// The same with `id` in the set or out of it.
    GroupState with(const MemberId& id) const;
    GroupState without(const MemberId& id) const;
};

/// As a wire::GroupStateValue, for the coordinator's key or file.
std::string encode_state(const GroupState& state);
/// kCorrupt.
Result<GroupState> decode_state(std::string_view bytes);

}  // namespace gantry::broker

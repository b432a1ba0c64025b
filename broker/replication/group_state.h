// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <compare>
#include <cstdint>
#include <optional>
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

/// "2 (storage 00000000000000ff)", for people.
std::string to_string(const MemberId& id);

/// What a group agrees on, changed only by compare-and-swap: who may acknowledge, and whose copies
/// have everything that was acknowledged.
struct GroupState {
    static constexpr std::int64_t kNobody = -1;

    std::int64_t epoch = 0;  ///< 0: there was no master yet
    std::int64_t master = kNobody;
    std::vector<MemberId> members;  ///< the in-sync set, the master's copy among them; ascending
    bool loss_accepted = false;     ///< this master was not in the set before

    bool operator==(const GroupState&) const = default;

    /// Whether that very copy is in the set.
    bool has(const MemberId& id) const noexcept;
    /// The same with `id` in the set or out of it.
    GroupState with(const MemberId& id) const;
    GroupState without(const MemberId& id) const;
};

/// As JSON, for the coordinator's key or file: docs/formats/group-state.md.
std::string encode_state(const GroupState& state);
/// kCorrupt: it is not JSON, or a field is missing or outside its range; the text names it. Fields
/// it does not know are left alone.
Result<GroupState> decode_state(std::string_view bytes);

/// 16 hexadecimal digits: random numbers of 64 bits as they stand in JSON, where other programs
/// would round them.
std::string to_hex(std::uint64_t number);
/// Nothing when `digits` are not 1 to 16 hexadecimal digits.
std::optional<std::uint64_t> from_hex(std::string_view digits);

}  // namespace gantry::broker

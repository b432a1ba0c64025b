// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/group_state.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

namespace gantry::broker {
namespace {

using Json = nlohmann::json;

constexpr int kHexDigits = 16;

Error corrupt(const std::string& what) {
    return Error{Errc::kCorrupt, "group state: " + what};
}

/// The integer `name` of `object`, at least `least`.
Result<std::int64_t> integer(const Json& object, const char* name, std::int64_t least) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_number_integer()) {
        return corrupt(std::string(name) + " is missing, or no integer");
    }
    const auto value = found->get<std::int64_t>();
    if (value < least) {
        return corrupt(std::string(name) + " " + std::to_string(value) + " < " +
                       std::to_string(least));
    }
    return value;
}

Result<MemberId> member_of(const Json& entry) {
    if (!entry.is_object()) {
        return corrupt("a member is no object");
    }
    GANTRY_ASSIGN_OR_RETURN(const std::int64_t member, integer(entry, "member", 1));
    const auto storage = entry.find("storage");
    if (storage == entry.end() || !storage->is_string()) {
        return corrupt("storage of member " + std::to_string(member) + " is missing");
    }
    const auto id = from_hex(storage->get_ref<const std::string&>());
    if (!id) {
        return corrupt("storage of member " + std::to_string(member) + " is no hexadecimal number");
    }
    return MemberId{.member = member, .storage = *id};
}

}  // namespace

std::string to_string(const MemberId& id) {
    return std::to_string(id.member) + " (storage " + to_hex(id.storage) + ")";
}

bool GroupState::has(const MemberId& id) const noexcept {
    return std::find(members.begin(), members.end(), id) != members.end();
}

GroupState GroupState::with(const MemberId& id) const {
    GroupState next = *this;
    const auto place = std::lower_bound(next.members.begin(), next.members.end(), id);
    if (place == next.members.end() || *place != id) {
        next.members.insert(place, id);
    }
    return next;
}

GroupState GroupState::without(const MemberId& id) const {
    GroupState next = *this;
    std::erase(next.members, id);
    return next;
}

std::string to_hex(std::uint64_t number) {
    std::string digits(kHexDigits, '0');
    for (std::size_t place = digits.size(); place != 0; number >>= 4U) {
        digits[--place] = "0123456789abcdef"[number & 0xFU];
    }
    return digits;
}

std::optional<std::uint64_t> from_hex(std::string_view digits) {
    std::uint64_t number = 0;
    const char* const end = digits.data() + digits.size();
    const auto parsed = std::from_chars(digits.data(), end, number, 16);
    if (digits.empty() || parsed.ec != std::errc() || parsed.ptr != end) {
        return std::nullopt;
    }
    return number;
}

std::string encode_state(const GroupState& state) {
    Json members = Json::array();
    for (const MemberId& id : state.members) {
        members.push_back({{"member", id.member}, {"storage", to_hex(id.storage)}});
    }
    return Json{{"epoch", state.epoch},
                {"master", state.master},
                {"members", std::move(members)},
                {"loss_accepted", state.loss_accepted}}
        .dump();
}

Result<GroupState> decode_state(std::string_view bytes) {
    const Json value = Json::parse(bytes, nullptr, false);
    if (!value.is_object()) {
        return corrupt("no JSON object");
    }
    GroupState state;
    GANTRY_ASSIGN_OR_RETURN(state.epoch, integer(value, "epoch", 0));
    GANTRY_ASSIGN_OR_RETURN(state.master, integer(value, "master", GroupState::kNobody));
    const auto members = value.find("members");
    if (members == value.end() || !members->is_array()) {
        return corrupt("members is missing, or no array");
    }
    for (const Json& entry : *members) {
        GANTRY_ASSIGN_OR_RETURN(const MemberId id, member_of(entry));
        state = state.with(id);
    }
    if (const auto lossy = value.find("loss_accepted"); lossy != value.end()) {
        if (!lossy->is_boolean()) {
            return corrupt("loss_accepted is no boolean");
        }
        state.loss_accepted = lossy->get<bool>();
    }
    return state;
}

}  // namespace gantry::broker

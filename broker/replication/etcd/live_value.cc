// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/etcd/live_value.h"

#include <nlohmann/json.hpp>

#include <optional>

namespace gantry::broker {
namespace {

using Json = nlohmann::json;

std::optional<std::int64_t> integer(const Json& value, const char* name) {
    const auto found = value.find(name);
    return found != value.end() && found->is_number_integer()
               ? std::optional(found->get<std::int64_t>())
               : std::nullopt;
}

std::string text(const Json& value, const char* name) {
    const auto found = value.find(name);
    return found != value.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

std::string encode_live(const LiveMember& member) {
    const Json value = {{"member", member.id.member},
                        {"storage", to_hex(member.id.storage)},
                        {"incarnation", to_hex(member.incarnation)},
                        {"replication_address", member.replication_address},
                        {"client_address", member.client_address},
                        {"epoch", member.epoch},
                        {"log_end", member.log_end},
                        {"place", member.place}};
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<LiveMember> decode_live(std::string_view bytes) {
    const Json value = Json::parse(bytes, nullptr, false);
    if (!value.is_object()) {
        return Error{Errc::kCorrupt, "live member: no JSON object"};
    }
    const auto member = integer(value, "member");
    const auto storage = from_hex(text(value, "storage"));
    const auto incarnation = from_hex(text(value, "incarnation"));
    if (!member || !storage || !incarnation) {
        return Error{Errc::kCorrupt, "live member: member, storage or incarnation is missing"};
    }
    return LiveMember{.id = {.member = *member, .storage = *storage},
                      .replication_address = text(value, "replication_address"),
                      .client_address = text(value, "client_address"),
                      .epoch = integer(value, "epoch").value_or(0),
                      .log_end = integer(value, "log_end").value_or(0),
                      .incarnation = *incarnation,
                      .place = text(value, "place")};
}

}  // namespace gantry::broker

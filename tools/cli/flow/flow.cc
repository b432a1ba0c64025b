// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"
#include "cli/session.h"
#include "cli/table.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <ostream>
#include <utility>

namespace gantry::cli {
namespace {

using client::FlowLimit;
using nlohmann::ordered_json;
using Arguments = std::vector<std::string>;

constexpr std::array<const char*, 4> kScopes = {"broker", "client", "topic", "group"};

using Rate = std::pair<const char*, std::int64_t FlowLimit::*>;
constexpr std::array<Rate, 4> kRates = {Rate{"send-messages", &FlowLimit::send_messages},
                                        Rate{"send-bytes", &FlowLimit::send_bytes},
                                        Rate{"deliver-messages", &FlowLimit::deliver_messages},
                                        Rate{"deliver-bytes", &FlowLimit::deliver_bytes}};

Result<FlowLimit> parse_scope(const Arguments& arguments) {
    FlowLimit limit;
    const auto at = std::find(kScopes.begin(), kScopes.end(), arguments[0]);
    if (at == kScopes.end()) {
        return Error{Errc::kRefused,
                     "\"" + arguments[0] + "\" is none of broker, client, topic, group"};
    }
    limit.scope = static_cast<FlowLimit::Scope>(at - kScopes.begin());
    limit.name = arguments.size() > 1 ? arguments[1] : "";
    return limit;
}

ordered_json json_of(const FlowLimit& limit) {
    return {{"broker", limit.broker},
            {"scope", kScopes[static_cast<std::size_t>(limit.scope)]},
            {"name", limit.name},
            {"send_messages", limit.send_messages},
            {"send_bytes", limit.send_bytes},
            {"deliver_messages", limit.deliver_messages},
            {"deliver_bytes", limit.deliver_bytes},
            {"default", limit.is_default}};
}

std::string rate_text(std::int64_t rate) {
    return rate == 0 ? "-" : std::to_string(rate);
}

Status list(Session& session, const Given&, const Arguments&) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto limits, admin->list_flow_limits());
    Table table(
        {"BROKER", "SCOPE", "NAME", "SEND MSG/S", "SEND B/S", "GIVE MSG/S", "GIVE B/S", "FROM"});
    ordered_json json = ordered_json::array();
    for (const FlowLimit& limit : limits) {
        json.push_back(json_of(limit));
        table.add({limit.broker,
                   kScopes[static_cast<std::size_t>(limit.scope)],
                   limit.name,
                   rate_text(limit.send_messages),
                   rate_text(limit.send_bytes),
                   rate_text(limit.deliver_messages),
                   rate_text(limit.deliver_bytes),
                   limit.is_default ? "settings" : "set"});
    }
    if (session.json()) {
        session.print(json);
    } else {
        session.streams().out << table.text();
    }
    return ok();
}

void add_set_options(Options& options) {
    options.add_options()("send-messages", "a second; 0: no limit", value<std::int64_t>())(
        "send-bytes", "a second; 0: no limit", value<std::int64_t>())(
        "deliver-messages", "a second; 0: no limit", value<std::int64_t>())(
        "deliver-bytes", "a second; 0: no limit", value<std::int64_t>());
}

/// What is not given stays as it is.
Status set(Session& session, const Given& given, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(FlowLimit wanted, parse_scope(arguments));
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto limits, admin->list_flow_limits());
    for (const FlowLimit& limit : limits) {
        if (limit.scope == wanted.scope && limit.name == wanted.name) {
            wanted = limit;
        }
    }
    bool is_any = false;
    for (const auto& [name, rate] : kRates) {
        if (given.count(name) != 0) {
            wanted.*rate = given[name].as<std::int64_t>();
            is_any = true;
        }
    }
    if (!is_any) {
        return Error{Errc::kRefused,
                     "flow set needs --send-messages, --send-bytes, --deliver-messages or "
                     "--deliver-bytes"};
    }
    GANTRY_TRY(admin->set_flow_limit(wanted));
    wanted.broker.clear();
    wanted.is_default = false;
    if (session.json()) {
        session.print(json_of(wanted));
        return ok();
    }
    session.streams().out << arguments[0] << (wanted.name.empty() ? "" : " ") << wanted.name
                          << ": sends " << rate_text(wanted.send_messages) << " msg/s, "
                          << rate_text(wanted.send_bytes) << " B/s; deliveries "
                          << rate_text(wanted.deliver_messages) << " msg/s, "
                          << rate_text(wanted.deliver_bytes) << " B/s\n";
    return ok();
}

Status remove(Session& session, const Given&, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(const FlowLimit limit, parse_scope(arguments));
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_TRY(admin->remove_flow_limit(limit.scope, limit.name));
    if (session.json()) {
        session.print({{"scope", arguments[0]}, {"name", limit.name}, {"removed", true}});
    } else {
        session.streams().out << "removed the limits of " << arguments[0]
                              << (limit.name.empty() ? "" : " ") << limit.name << '\n';
    }
    return ok();
}

}  // namespace

std::vector<Command> flow_commands() {
    return {
        {"flow", "list", "", "limits of rates", 0, 0, nullptr, list},
        {"flow",
         "set",
         "SCOPE [NAME]",
         "limits a broker, client, topic or group",
         1,
         2,
         add_set_options,
         set},
        {"flow", "remove", "SCOPE [NAME]", "takes limits away", 1, 2, nullptr, remove},
    };
}

}  // namespace gantry::cli

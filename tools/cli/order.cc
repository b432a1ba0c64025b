// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"
#include "cli/session.h"
#include "cli/table.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <ostream>
#include <string>

namespace gantry::cli {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::ordered_json;

void add_choice(Options& options) {
    options.add_options()("topic", "only of this topic", value<std::string>())(
        "key", "only this key", value<std::string>());
}

void add_changes(Options& options) {
    add_choice(options);
    options.add_options()("all", "all keys of the group");
}

void add_drops(Options& options) {
    add_changes(options);
    options.add_options()("yes", "really do it");
}

client::ParkedChoice choice_of(const Given& given, const Arguments& arguments) {
    client::ParkedChoice which;
    which.group = arguments[0];
    which.topic = given.count("topic") > 0 ? given["topic"].as<std::string>() : "";
    which.key = given.count("key") > 0 ? given["key"].as<std::string>() : "";
    return which;
}

Status check_choice(const Given& given) {
    if (given.count("key") + given.count("all") != 1) {
        return Error{Errc::kRefused, "give either --key KEY or --all"};
    }
    return ok();
}

Status list(Session& session, const Given& given, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto keys, admin->list_parked(choice_of(given, arguments)));
    Table table({"KEY", "TOPIC", "BROKER", "QUEUE", "COUNT", "OFFSET", "SINCE (UTC)", "STATE"});
    ordered_json json = ordered_json::array();
    for (const client::ParkedKey& one : keys) {
        const std::string state = one.is_released ? "released" : "parked";
        table.add({one.key,
                   one.queue.topic,
                   one.queue.broker,
                   std::to_string(one.queue.queue),
                   std::to_string(one.count),
                   std::to_string(one.first_offset),
                   time_text(one.since_ms),
                   state});
        json.push_back({{"key", one.key},
                        {"topic", one.queue.topic},
                        {"broker", one.queue.broker},
                        {"queue", one.queue.queue},
                        {"count", one.count},
                        {"first_offset", one.first_offset},
                        {"since_ms", one.since_ms},
                        {"state", state}});
    }
    if (session.json()) {
        session.print(json);
    } else {
        session.streams().out << table.text();
    }
    return ok();
}

void tell(Session& session, const char* what, std::size_t keys) {
    if (session.json()) {
        session.print({{what, keys}});
    } else {
        session.streams().out << what << ' ' << keys << (keys == 1 ? " key\n" : " keys\n");
    }
}

Status release(Session& session, const Given& given, const Arguments& arguments) {
    GANTRY_TRY(check_choice(given));
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const std::size_t keys,
                            admin->release_parked(choice_of(given, arguments)));
    tell(session, "released", keys);
    return ok();
}

Status drop(Session& session, const Given& given, const Arguments& arguments) {
    GANTRY_TRY(check_choice(given));
    if (given.count("yes") == 0) {
        return Error{
            Errc::kRefused,
            "dropping gives up parked messages of " + arguments[0] + "; repeat with --yes"};
    }
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const std::size_t keys,
                            admin->drop_parked(choice_of(given, arguments)));
    tell(session, "dropped", keys);
    return ok();
}

}  // namespace

std::vector<Command> order_commands() {
    return {
        {"order",
         "list",
         "GROUP",
         "keys whose messages the group has put aside",
         1,
         1,
         add_choice,
         list},
        {"order",
         "release",
         "GROUP",
         "gives parked messages to the group again, in order",
         1,
         1,
         add_changes,
         release},
        {"order", "drop", "GROUP", "gives parked messages up", 1, 1, add_drops, drop},
    };
}

}  // namespace gantry::cli

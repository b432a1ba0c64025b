// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"
#include "cli/session.h"
#include "cli/table.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <ostream>

namespace gantry::cli {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::ordered_json;

void add_list_options(Options& options) {
    options.add_options()("topic", "only of this topic", value<std::string>().default_value(""))(
        "from", "due at this time or later", value<std::string>().default_value("0"))(
        "until", "due before this time", value<std::string>().default_value("0"))(
        "count", "most messages of one broker", value<std::uint32_t>().default_value("1000"));
}

Status list(Session& session, const Given& given, const Arguments&) {
    client::DelayedQuery query;
    query.topic = given["topic"].as<std::string>();
    query.count_max = given["count"].as<std::uint32_t>();
    GANTRY_ASSIGN_OR_RETURN(query.due_from_ms, parse_time(given["from"].as<std::string>()));
    GANTRY_ASSIGN_OR_RETURN(query.due_until_ms, parse_time(given["until"].as<std::string>()));
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto messages, admin->list_delayed(query));
    Table table({"DUE (UTC)", "TOPIC", "BROKER", "QUEUE", "MESSAGE", "HANDLE"});
    ordered_json json = ordered_json::array();
    for (const auto& one : messages) {
        table.add({time_text(one.due_ms),
                   one.topic,
                   one.broker,
                   std::to_string(one.queue),
                   one.message_id,
                   one.recall_handle});
        json.push_back({{"due_ms", one.due_ms},
                        {"topic", one.topic},
                        {"broker", one.broker},
                        {"queue", one.queue},
                        {"message_id", one.message_id},
                        {"store_ms", one.store_ms},
                        {"handle", one.recall_handle}});
    }
    if (session.json()) {
        session.print(json);
    } else {
        session.streams().out << table.text();
    }
    return ok();
}

Status cancel(Session& session, const Given&, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_TRY(admin->cancel_delayed(arguments[0]));
    if (session.json()) {
        session.print({{"handle", arguments[0]}, {"cancelled", true}});
    } else {
        session.streams().out << "cancelled " << arguments[0] << '\n';
    }
    return ok();
}

}  // namespace

std::vector<Command> delay_commands() {
    return {
        {"delay", "list", "", "delayed messages that wait", 0, 0, add_list_options, list},
        {"delay",
         "cancel",
         "HANDLE",
         "takes a delayed message back, by the handle of its send or of the list",
         1,
         1,
         nullptr,
         cancel},
    };
}

}  // namespace gantry::cli

// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"
#include "cli/session.h"
#include "cli/table.h"

#include <nlohmann/json.hpp>

#include <array>
#include <ostream>

namespace gantry::cli {
namespace {

using client::TraceEvent;
using nlohmann::ordered_json;
using Arguments = std::vector<std::string>;

constexpr std::array<const char*, 5> kKinds = {
    "produce", "store", "end-transaction", "deliver", "consume"};

ordered_json json_of(const TraceEvent& event) {
    return {{"event", kKinds[static_cast<std::size_t>(event.kind)]},
            {"at_ms", event.at_ms},
            {"group", event.group},
            {"where", event.where},
            {"store_host", event.store_host},
            {"offset_message_id", event.offset_message_id},
            {"request_id", event.request_id},
            {"state", event.state},
            {"cost_ms", event.cost_ms},
            {"retries", event.retries},
            {"success", event.is_success}};
}

Status trace(Session& session, const Given&, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto events, admin->trace(arguments[0]));
    Table table({"TIME (UTC)", "MS", "EVENT", "GROUP", "WHERE", "COST MS", "RETRIES", "RESULT"});
    ordered_json json = ordered_json::array();
    for (const TraceEvent& event : events) {
        json.push_back(json_of(event));
        table.add({time_text(event.at_ms),
                   '+' + std::to_string(event.at_ms - events.front().at_ms),
                   kKinds[static_cast<std::size_t>(event.kind)],
                   event.group,
                   event.where,
                   std::to_string(event.cost_ms),
                   std::to_string(event.retries),
                   event.state.empty() ? (event.is_success ? "ok" : "failed") : event.state});
    }
    if (session.json()) {
        session.print(json);
    } else {
        session.streams().out << table.text();
    }
    return ok();
}

}  // namespace

std::vector<Command> trace_commands() {
    return {{"trace",
             "",
             "ID",
             "what is known of a message that was traced, by its UNIQ_KEY",
             1,
             1,
             nullptr,
             trace}};
}

}  // namespace gantry::cli

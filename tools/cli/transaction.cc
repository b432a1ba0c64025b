// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"
#include "cli/session.h"
#include "cli/table.h"
#include "common/clock.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <ostream>

namespace gantry::cli {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::ordered_json;

void add_list_options(Options& options) {
    options.add_options()(
        "count", "most transactions of one broker", value<std::uint32_t>().default_value("1000"));
}

Status list(Session& session, const Given& given, const Arguments&) {
    constexpr WallMs kSecondMs = 1'000;
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto transactions,
                            admin->list_transactions(given["count"].as<std::uint32_t>()));
    const WallMs now = SystemClock().wall_ms();
    Table table({"HALF MESSAGE", "BROKER", "GROUP", "TOPIC", "AGE S", "ASKED", "LAST (UTC)"});
    ordered_json json = ordered_json::array();
    for (const auto& one : transactions) {
        table.add({one.message_id,
                   one.broker,
                   one.group,
                   one.topic,
                   std::to_string((now - one.store_ms) / kSecondMs),
                   std::to_string(one.asked),
                   time_text(one.asked_ms)});
        json.push_back({{"message_id", one.message_id},
                        {"broker", one.broker},
                        {"group", one.group},
                        {"topic", one.topic},
                        {"store_ms", one.store_ms},
                        {"asked_ms", one.asked_ms},
                        {"asked", one.asked}});
    }
    if (session.json()) {
        session.print(json);
    } else {
        session.streams().out << table.text();
    }
    return ok();
}

Status resume(Session& session, const Given&, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_TRY(admin->resume_transaction(arguments[0]));
    if (session.json()) {
        session.print({{"message_id", arguments[0]}, {"resumed", true}});
    } else {
        session.streams().out << "resumed " << arguments[0] << '\n';
    }
    return ok();
}

}  // namespace

std::vector<Command> transaction_commands() {
    return {
        {"transaction",
         "list",
         "",
         "transactions without an outcome",
         0,
         0,
         add_list_options,
         list},
        {"transaction",
         "resume",
         "ID",
         "asks again about one that was given up, by its (offset) message id",
         1,
         1,
         nullptr,
         resume},
    };
}

}  // namespace gantry::cli

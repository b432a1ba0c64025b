// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"
#include "cli/session.h"
#include "cli/table.h"

#include <nlohmann/json.hpp>

#include <ostream>

namespace gantry::cli {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::ordered_json;

Status cluster(Session& session, const Given&, const Arguments&) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto brokers, admin->cluster());
    Table table({"CLUSTER", "BROKER", "ID", "ADDRESS", "ROLE"});
    ordered_json json = ordered_json::array();
    for (const auto& broker : brokers) {
        const char* role = broker.broker_id == 0 ? "master" : "slave";
        table.add({broker.cluster,
                   broker.broker,
                   std::to_string(broker.broker_id),
                   broker.address,
                   role});
        json.push_back({{"cluster", broker.cluster},
                        {"broker", broker.broker},
                        {"broker_id", broker.broker_id},
                        {"address", broker.address},
                        {"role", role}});
    }
    if (session.json()) {
        session.print(json);
    } else {
        session.streams().out << table.text();
    }
    return ok();
}

ordered_json json_of(const client::BrokerStatus& status) {
    return {{"cluster", status.address.cluster},
            {"broker", status.address.broker},
            {"broker_id", status.address.broker_id},
            {"address", status.address.address},
            {"version", status.version},
            {"state", status.state},
            {"state_reason", status.state_reason},
            {"flush", status.flush_mode},
            {"store_directory", status.store_directory},
            {"free_bytes", status.free_bytes},
            {"room_taken_percent", status.room_taken_percent},
            {"room_alarm", status.room_alarm},
            {"retention_hours", status.retention_hours},
            {"retention_bytes", status.retention_bytes},
            {"deleted_unconsumed", status.deleted_unconsumed},
            {"start_ms", status.start_ms},
            {"log",
             {{"min", status.min_log_offset},
              {"flushed", status.flushed_log_offset},
              {"confirmed", status.confirmed_log_offset},
              {"appended", status.appended_log_offset}}},
            {"topics", status.topics},
            {"queues", status.queues},
            {"groups", status.groups},
            {"connections", status.connections},
            {"counters", status.counters}};
}

std::string limit_text(std::int64_t limit) {
    return limit == 0 ? "no limit" : std::to_string(limit);
}

Status describe_broker(Session& session, const Given&, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto status, admin->describe_broker(arguments[0]));
    if (session.json()) {
        session.print(json_of(status));
        return ok();
    }
    Table table({"FIELD", "VALUE"});
    table.add({"broker", status.address.broker + " (" + status.address.cluster + ")"});
    table.add({"address", status.address.address});
    table.add({"version", status.version});
    table.add({"started (UTC)", time_text(status.start_ms)});
    table.add(
        {"state",
         status.state_reason.empty() ? status.state : status.state + ": " + status.state_reason});
    table.add({"flush", status.flush_mode});
    table.add({"store", status.store_directory});
    table.add({"free", bytes_text(status.free_bytes)});
    table.add({"room for the log taken", std::to_string(status.room_taken_percent) + " %"});
    if (!status.room_alarm.empty()) {
        table.add({"ALARM", status.room_alarm});
    }
    table.add({"retention hours", limit_text(status.retention_hours)});
    table.add({"retention bytes", limit_text(status.retention_bytes)});
    for (const auto& [group, messages] : status.deleted_unconsumed) {
        table.add({"deleted unconsumed by " + group, std::to_string(messages)});
    }
    table.add({"log min", std::to_string(status.min_log_offset)});
    table.add({"log flushed", std::to_string(status.flushed_log_offset)});
    table.add({"log confirmed", std::to_string(status.confirmed_log_offset)});
    table.add({"log appended", std::to_string(status.appended_log_offset)});
    table.add({"topics", std::to_string(status.topics)});
    table.add({"queues", std::to_string(status.queues)});
    table.add({"groups", std::to_string(status.groups)});
    table.add({"connections", std::to_string(status.connections)});
    session.streams().out << table.text();
    return ok();
}

}  // namespace

std::vector<Command> cluster_commands() {
    return {
        {"cluster", "", "", "brokers known to the nameserver", 0, 0, nullptr, cluster},
        {"broker", "list", "", "the same as cluster", 0, 0, nullptr, cluster},
        {"broker",
         "describe",
         "BROKER",
         "state of a broker (name or host:port)",
         1,
         1,
         nullptr,
         describe_broker},
    };
}

}  // namespace gantry::cli

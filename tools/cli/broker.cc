// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"
#include "cli/session.h"
#include "cli/table.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <ostream>

namespace gantry::cli {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::ordered_json;

std::string number_text(std::int64_t number) {
    return number < 0 ? "-" : std::to_string(number);
}

std::string time_of(std::int64_t us) {
    return us < 0 ? "-" : std::to_string(us / 1'000) + "." + std::to_string(us % 1'000 / 100);
}

void add_replica(const client::ReplicaState& replica, Table& table) {
    table.add({std::to_string(replica.member),
               replica.role,
               replica.role == "unknown" ? "-" : std::to_string(replica.epoch),
               number_text(replica.log_end),
               number_text(replica.behind_bytes),
               replica.is_in_sync ? "yes" : "no",
               time_of(replica.round_trip_us),
               replica.address,
               replica.error});
}

ordered_json json_of(const client::ReplicaState& replica) {
    return {{"member", replica.member},
            {"role", replica.role},
            {"epoch", replica.epoch},
            {"log_end", replica.log_end},
            {"behind_bytes", replica.behind_bytes},
            {"in_sync", replica.is_in_sync},
            {"round_trip_us", replica.round_trip_us},
            {"address", replica.address},
            {"error", replica.error}};
}

Status replicas(Session& session, const Given&, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto found, admin->list_replicas(arguments[0]));
    Table table(
        {"MEMBER", "ROLE", "EPOCH", "LOG END", "BEHIND B", "IN SYNC", "RTT MS", "ADDRESS", "WHY"});
    ordered_json json = ordered_json::array();
    for (const client::ReplicaState& replica : found) {
        add_replica(replica, table);
        json.push_back(json_of(replica));
    }
    if (session.json()) {
        session.print(json);
    } else {
        session.streams().out << table.text();
    }
    return ok();
}

/// host:port as it is; "BROKER MEMBER" as the nameserver knows it.
Result<std::string> address_of(client::AdminClient& admin, const Arguments& arguments) {
    if (arguments.size() == 1) {
        if (arguments[0].find(':') == std::string::npos) {
            return Error{Errc::kRefused,
                         "which of the brokers " + arguments[0] +
                             "? Give its member number too, or host:port"};
        }
        return arguments[0];
    }
    GANTRY_ASSIGN_OR_RETURN(const auto brokers, admin.cluster());
    for (const auto& broker : brokers) {
        if (broker.broker == arguments[0] && std::to_string(broker.broker_id) == arguments[1]) {
            return broker.address;
        }
    }
    return Error{Errc::kNotFound,
                 "no slave " + arguments[1] + " of broker " + arguments[0] + " is registered"};
}

ordered_json json_of(const client::Promotion& promotion, const std::string& address) {
    return {{"address", address},
            {"done", promotion.is_done},
            {"epoch", promotion.epoch},
            {"in_sync", promotion.is_in_sync},
            {"master_alive", promotion.master_is_alive},
            {"log_end", promotion.log_end},
            {"master_end", promotion.master_end},
            {"lost_bytes_max", promotion.lost_bytes_max},
            {"text", promotion.text}};
}

std::string loss_text(const client::Promotion& promotion) {
    if (promotion.is_in_sync) {
        return "nothing that was acknowledged";
    }
    return promotion.lost_bytes_max < 0
               ? std::string("not known: it heard of no master")
               : "up to " + std::to_string(promotion.lost_bytes_max) + " B of the log";
}

void show(Session& session, const client::Promotion& promotion, const std::string& address) {
    if (session.json()) {
        session.print(json_of(promotion, address));
        return;
    }
    std::ostream& out = session.streams().out;
    if (promotion.is_done) {
        out << address << " is the master in epoch " << promotion.epoch << '\n';
        return;
    }
    Table table({"FIELD", "VALUE"});
    table.add({"broker", address});
    table.add({"in sync", promotion.is_in_sync ? "yes" : "no"});
    table.add({"its log ends at", std::to_string(promotion.log_end)});
    table.add({"the master's ended at", number_text(promotion.master_end)});
    table.add({"the master lives", promotion.master_is_alive ? "yes" : "no"});
    table.add({"would be lost", loss_text(promotion)});
    out << table.text();
    if (!promotion.text.empty()) {
        out << promotion.text << '\n';
    }
}

void add_promote_options(Options& options) {
    options.add_options()("yes", "do it; without, only what would be lost is shown")(
        "accept-loss", "also when the broker is not in sync: what it lacks is lost");
}

Status promote(Session& session, const Given& given, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const std::string address, address_of(*admin, arguments));
    const bool accepts_loss = given.count("accept-loss") != 0;
    GANTRY_ASSIGN_OR_RETURN(const client::Promotion before,
                            admin->promote(address, false, accepts_loss));
    if (given.count("yes") == 0) {
        show(session, before, address);
        session.streams().err << "Nothing was done. To do it: --yes"
                              << (before.is_in_sync ? "" : " --accept-loss") << '\n';
        return ok();
    }
    if (!before.is_in_sync && !accepts_loss) {
        show(session, before, address);
        return Error{Errc::kConflict,
                     address + " is not in sync, lost would be " + loss_text(before) +
                         ": promote one that is, or give --accept-loss"};
    }
    GANTRY_ASSIGN_OR_RETURN(const client::Promotion after,
                            admin->promote(address, true, accepts_loss));
    show(session, after, address);
    if (!after.is_done) {
        return Error{Errc::kConflict, address + " was not made the master: " + after.text};
    }
    return ok();
}

}  // namespace

std::vector<Command> broker_commands() {
    return {
        {"broker",
         "replicas",
         "BROKER",
         "copies of a broker's log: who is master, in sync, behind",
         1,
         1,
         nullptr,
         replicas},
        {"broker",
         "promote",
         "(BROKER MEMBER | HOST:PORT)",
         "make a slave the master, or show what that would lose",
         1,
         2,
         add_promote_options,
         promote},
    };
}

}  // namespace gantry::cli

// SPDX-License-Identifier: Apache-2.0
#include "storage/repair/store_repair.h"

#include "cli/options.h"
#include "cli/store/store_commands.h"
#include "cli/table.h"
#include "common/clock.h"

#include <nlohmann/json.hpp>

#include <istream>
#include <optional>
#include <ostream>

namespace gantry::cli {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::ordered_json;
using storage::RepairPlan;
using storage::RepairReport;

std::uint64_t messages_in(const std::vector<RepairPlan::Piece>& pieces) {
    std::uint64_t count = 0;
    for (const RepairPlan::Piece& piece : pieces) {
        count += piece.messages.size();
    }
    return count;
}

ordered_json json_of(const RepairPlan& plan) {
    ordered_json lost = ordered_json::array();
    for (const auto& [name, queue] : plan.lost) {
        lost.push_back({{"topic", name.first},
                        {"queue", name.second},
                        {"messages", queue.messages},
                        {"first", queue.first},
                        {"last", queue.last}});
    }
    ordered_json remaining = ordered_json::array();
    for (const storage::Finding& finding : plan.remaining) {
        remaining.push_back({{"log_offset", finding.at.value},
                             {"bytes", finding.bytes},
                             {"what", finding.what},
                             {"messages", finding.messages}});
    }
    ordered_json quarantined = ordered_json::array();
    for (const RepairPlan::Piece& piece : plan.quarantined) {
        quarantined.push_back({{"from", piece.from.value},
                               {"to", piece.to.value},
                               {"what", piece.what},
                               {"messages", piece.messages}});
    }
    ordered_json json = {{"good_before", plan.before.is_good},
                         {"steps", plan.steps},
                         {"cut_at", nullptr},
                         {"lost_messages", plan.lost_messages},
                         {"lost", lost},
                         {"lost_damage", plan.lost_damage},
                         {"backup", plan.backup.string()},
                         {"quarantined", quarantined},
                         {"undecided", remaining}};
    if (plan.cut) {
        json["cut_at"] = plan.cut->value;
    }
    return json;
}

void show_plan(std::ostream& out, const RepairPlan& plan) {
    for (const storage::Finding& finding : plan.remaining) {
        out << "undecided damage: " << finding.file << ": log offset " << finding.at.value << ", "
            << finding.bytes << " B: " << finding.what << '\n';
        for (const std::string& message : finding.messages) {
            out << "    " << message << '\n';
        }
    }
    for (const RepairPlan::Piece& piece : plan.quarantined) {
        out << "lost: log offsets " << piece.from.value << " to " << piece.to.value << ": "
            << piece.what << '\n';
        for (const std::string& message : piece.messages) {
            out << "    " << message << '\n';
        }
    }
    for (const auto& [name, queue] : plan.lost) {
        out << "lost: " << queue.messages << " messages of topic " << name.first << " queue "
            << name.second << ", offsets " << queue.first << " to " << queue.last << '\n';
    }
    for (const std::string& damage : plan.lost_damage) {
        out << "lost: " << damage << '\n';
    }
    for (const std::string& step : plan.steps) {
        out << "step: " << step << '\n';
    }
}

void add_repair_options(Options& options) {
    options.add_options()("y,yes", "does it; else the plan is shown and a terminal is asked")(
        "rebuild-all", "rebuilds consume queues and key index although they look good")(
        "cut-at",
        "ends the log there: a log offset, or first-damage; what follows is lost",
        value<std::string>())(
        "quarantine", "keeps damage from readers: its messages are lost, the rest is served")(
        "backup", "file for the bytes cut; default: in the store", value<std::string>())(
        "no-backup", "the bytes cut are not kept");
}

Result<storage::RepairOptions> options_of(const Given& given) {
    storage::RepairOptions options;
    options.rebuilds_all = given.count("rebuild-all") != 0;
    options.quarantines = given.count("quarantine") != 0;
    options.has_backup = given.count("no-backup") == 0;
    if (given.count("backup") != 0) {
        options.backup = given["backup"].as<std::string>();
    }
    if (given.count("cut-at") == 0) {
        return options;
    }
    const auto text = given["cut-at"].as<std::string>();
    constexpr std::size_t kDigitsMax = 18;
    if (text == "first-damage") {
        options.cuts_at_first_damage = true;
    } else if (text.empty() || text.size() > kDigitsMax ||
               text.find_first_not_of("0123456789") != std::string::npos) {
        return Error{Errc::kRefused,
                     "--cut-at \"" + text + "\" is neither a log offset nor first-damage"};
    } else {
        options.cut_at = LogOffset(std::stoll(text));
    }
    return options;
}

bool is_agreed(const Session::Streams& streams, const Given& given) {
    if (given.count("yes") != 0) {
        return true;
    }
    if (!streams.err_is_terminal) {
        return false;
    }
    streams.err << "Do this? [y/N] " << std::flush;
    std::string answer;
    std::getline(streams.in, answer);
    return answer == "y" || answer == "yes";
}

Status show_result(Session& session, const RepairPlan& plan, const RepairReport& report) {
    if (session.json()) {
        ordered_json json = json_of(plan);
        json["applied"] = true;
        json["bytes_backed_up"] = report.bytes_backed_up;
        json["offsets_moved"] = report.offsets_moved;
        json["blocks_summed"] = report.blocks_summed;
        json["after"] = cli::json_of(report.after);
        session.print(json);
    } else {
        std::ostream& out = session.streams().out;
        show(out, report.after);
        out << "messages lost: " << plan.lost_messages + messages_in(plan.quarantined)
            << ", bytes backed up: " << report.bytes_backed_up
            << ", committed offsets moved to the end: " << report.offsets_moved << '\n';
    }
    if (!report.after.is_good) {
        return Error{
            Errc::kCorrupt,
            "the store still has " + std::to_string(report.after.findings_total) + " finding(s)"};
    }
    return ok();
}

Status repair(Session& session, const Given& given, const Arguments& arguments) {
    const Session::Streams& streams = session.streams();
    ProgressLine line(streams);
    GANTRY_ASSIGN_OR_RETURN(storage::RepairOptions options, options_of(given));
    options.directory = arguments[0];
    options.on_progress = [&line](std::string_view stage, std::uint64_t done, std::uint64_t total) {
        line.show(std::string(stage) + ' ' + std::to_string(done) + " of " + std::to_string(total));
    };
    const std::unique_ptr<FileSystem> files = make_posix_file_system();
    GANTRY_ASSIGN_OR_RETURN(const RepairPlan plan, storage::plan_repair(*files, options));
    line.clear();
    if (!session.json()) {
        show_plan(streams.out, plan);
    }
    const bool is_blocked = !plan.remaining.empty();
    if (is_blocked || plan.steps.empty() || !is_agreed(streams, given)) {
        if (session.json()) {
            ordered_json json = json_of(plan);
            json["applied"] = false;
            session.print(json);
        }
        if (const storage::Finding* const beyond = plan.beyond_repair()) {
            return Error{Errc::kCorrupt, beyond->file + ": " + beyond->what};
        }
        if (is_blocked) {
            return Error{Errc::kCorrupt,
                         "the log is damaged in " + std::to_string(plan.remaining.size()) +
                             " place(s): nothing was changed; say what becomes of it with "
                             "--quarantine, which loses what is damaged, or --cut-at first-damage, "
                             "which loses all behind it too"};
        }
        if (plan.steps.empty()) {
            if (!session.json()) {
                streams.out << "nothing to repair\n";
            }
            return ok();
        }
        return Error{Errc::kRefused, "nothing was changed: say --yes"};
    }
    SystemClock clock;
    GANTRY_ASSIGN_OR_RETURN(const RepairReport report,
                            storage::apply_repair(*files, clock, options, plan));
    line.clear();
    return show_result(session, plan, report);
}

}  // namespace

Command store_repair_command() {
    return {.noun = "store",
            .verb = "repair",
            .arguments = "DIRECTORY",
            .purpose = "rebuilds what is derived from the log; cuts or quarantines only when told",
            .arguments_min = 1,
            .arguments_max = 1,
            .add_options = add_repair_options,
            .run = repair};
}

}  // namespace gantry::cli

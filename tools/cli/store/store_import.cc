// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"
#include "cli/store/store_commands.h"
#include "cli/table.h"
#include "common/clock.h"
#include "storage/import/rocketmq_import.h"

#include <nlohmann/json.hpp>

#include <ostream>

namespace gantry::cli {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::ordered_json;
using storage::ImportNote;
using storage::ImportReport;

ordered_json json_of(const std::vector<ImportNote>& notes) {
    ordered_json list = ordered_json::array();
    for (const ImportNote& note : notes) {
        list.push_back({{"what", note.what}, {"count", note.count}, {"why", note.why}});
    }
    return list;
}

ordered_json json_of(const ImportReport& report) {
    ordered_json topics = ordered_json::array();
    for (const storage::ImportedTopic& topic : report.plan.topics) {
        const auto verified = report.verification.by_topic.find(topic.name);
        topics.push_back(
            {{"topic", topic.name},
             {"queues", topic.queues},
             {"messages", topic.messages},
             {"bytes", topic.bytes},
             {"verified", verified == report.verification.by_topic.end() ? 0 : verified->second},
             {"from_log", topic.is_from_log}});
    }
    ordered_json delayed = ordered_json::object();
    for (const auto& [level, count] : report.plan.delayed) {
        delayed[std::to_string(level)] = count;
    }
    return {{"good", report.is_good()},
            {"dry_run", report.is_dry},
            {"stopped_cleanly", report.was_stopped_cleanly},
            {"first", report.first.value},
            {"end", report.end.value},
            {"records", report.records},
            {"segments", report.log.segments},
            {"segments_linked", report.log.segments_linked},
            {"bytes_copied", report.log.bytes_copied},
            {"topics", topics},
            {"groups", report.plan.groups},
            {"offsets", report.plan.offsets},
            {"delayed", delayed},
            {"warnings", json_of(report.plan.warnings)},
            {"not_carried", json_of(report.plan.not_carried)},
            {"messages_verified", report.verification.messages},
            {"bytes_verified", report.verification.bytes},
            {"differences_total", report.verification.differences_total},
            {"differences", report.verification.differences}};
}

void show_notes(std::ostream& out, const char* title, const std::vector<ImportNote>& notes) {
    for (const ImportNote& note : notes) {
        out << title << note.what << " (" << note.count << "): " << note.why << '\n';
    }
}

void show(std::ostream& out, const ImportReport& report) {
    Table topics({"TOPIC", "QUEUES", "MESSAGES", "BYTES", "READ BACK"});
    for (const storage::ImportedTopic& topic : report.plan.topics) {
        const auto verified = report.verification.by_topic.find(topic.name);
        topics.add({topic.name,
                    std::to_string(topic.queues),
                    std::to_string(topic.messages),
                    std::to_string(topic.bytes),
                    verified == report.verification.by_topic.end()
                        ? "0"
                        : std::to_string(verified->second)});
    }
    out << topics.text() << '\n';
    show_notes(out, "warning: ", report.plan.warnings);
    show_notes(out, "not carried over: ", report.plan.not_carried);
    for (const std::string& difference : report.verification.differences) {
        out << "difference: " << difference << '\n';
    }
    std::uint64_t delayed = 0;
    for (const auto& [level, count] : report.plan.delayed) {
        delayed += count;
    }
    Table table({"IMPORT", "VALUE"});
    table.add(
        {"log", std::to_string(report.first.value) + " .. " + std::to_string(report.end.value)});
    table.add({"records", std::to_string(report.records)});
    table.add({"segments copied",
               std::to_string(report.log.segments - report.log.segments_linked) + ", " +
                   bytes_text(report.log.bytes_copied)});
    table.add({"segments linked", std::to_string(report.log.segments_linked)});
    table.add({"topics", std::to_string(report.plan.topics.size())});
    table.add({"groups", std::to_string(report.plan.groups)});
    table.add({"committed offsets", std::to_string(report.plan.offsets)});
    table.add({"delayed messages to deliver", std::to_string(delayed)});
    table.add({"messages read back", std::to_string(report.verification.messages)});
    table.add({"differences", std::to_string(report.verification.differences_total)});
    table.add({"verdict",
               report.is_dry      ? "not imported (--dry-run)"
               : report.is_good() ? "imported"
                                  : "different"});
    out << table.text();
}

void add_import_options(Options& options) {
    options.add_options()("to", "the new store: missing or an empty folder", value<std::string>())(
        "link", "full segments become hard links: never start RocketMQ on the source again")(
        "dry-run", "reads the source and says what would be imported");
}

Status import(Session& session, const Given& given, const Arguments& arguments) {
    const Session::Streams& streams = session.streams();
    if (given.count("to") == 0) {
        return Error{Errc::kRefused, "--to is missing: say where the new store is to be"};
    }
    ProgressLine line(streams);
    storage::ImportOptions options;
    options.source = arguments[0];
    options.directory = given["to"].as<std::string>();
    options.is_linked = given.count("link") != 0;
    options.is_dry = given.count("dry-run") != 0;
    options.on_progress = [&line](std::string_view stage, std::uint64_t done, std::uint64_t total) {
        line.show(std::string(stage) + ' ' + std::to_string(done) + " of " + std::to_string(total));
    };
    const std::unique_ptr<FileSystem> files = make_posix_file_system();
    SystemClock clock;
    GANTRY_ASSIGN_OR_RETURN(const ImportReport report,
                            storage::import_rocketmq(*files, clock, options));
    line.clear();
    if (session.json()) {
        session.print(json_of(report));
    } else {
        show(streams.out, report);
    }
    if (!report.is_good()) {
        return Error{Errc::kCorrupt,
                     "what was imported has " +
                         std::to_string(report.verification.differences_total) +
                         " difference(s) to the source; it is left at " +
                         options.directory.string() + ".importing"};
    }
    return ok();
}

}  // namespace

Command store_import_command() {
    return {.noun = "store",
            .verb = "import",
            .arguments = "SOURCE",
            .purpose = "makes a store of a stopped RocketMQ broker's and verifies every message",
            .arguments_min = 1,
            .arguments_max = 1,
            .add_options = add_import_options,
            .run = import};
}

}  // namespace gantry::cli

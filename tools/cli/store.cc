// SPDX-License-Identifier: Apache-2.0
// Commands on a store that no broker has open.
#include "cli/options.h"
#include "cli/store/store_commands.h"
#include "cli/table.h"
#include "storage/check/store_check.h"

#include <nlohmann/json.hpp>

#include <ostream>

namespace gantry::cli {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::ordered_json;
using storage::CheckReport;
using storage::Finding;

std::string_view kind_text(Finding::Kind kind) {
    switch (kind) {
        case Finding::Kind::kDamage:
            return "damage";
        case Finding::Kind::kLost:
            return "lost";
        case Finding::Kind::kIndex:
            return "index";
        case Finding::Kind::kTail:
            return "tail";
    }
    return "";
}

void add_check_options(Options& options) {
    options.add_options()("findings",
                          "tell at most so many, count the rest",
                          value<std::uint32_t>().default_value("1000"));
}

Status check(Session& session, const Given& given, const Arguments& arguments) {
    const Session::Streams& streams = session.streams();
    storage::CheckOptions options;
    options.directory = arguments[0];
    options.findings_max = given["findings"].as<std::uint32_t>();
    ProgressLine line(streams);
    options.on_progress = [&line](std::uint64_t done, std::uint64_t total) {
        line.show(bytes_text(done) + " of " + bytes_text(total));
    };
    const std::unique_ptr<FileSystem> files = make_posix_file_system();
    GANTRY_ASSIGN_OR_RETURN(const CheckReport report, storage::check_store(*files, options));
    line.clear();
    if (session.json()) {
        session.print(json_of(report));
    } else {
        show(streams.out, report);
    }
    if (!report.is_good) {
        return Error{Errc::kCorrupt,
                     "the store " + arguments[0] + " has " + std::to_string(report.findings_total) +
                         " finding(s)"};
    }
    return ok();
}

}  // namespace

ordered_json json_of(const CheckReport& report) {
    ordered_json findings = ordered_json::array();
    for (const Finding& finding : report.findings) {
        findings.push_back({{"kind", kind_text(finding.kind)},
                            {"file", finding.file},
                            {"log_offset", finding.at.value},
                            {"bytes", finding.bytes},
                            {"what", finding.what},
                            {"messages", finding.messages}});
    }
    return {{"good", report.is_good},
            {"stopped_cleanly", report.was_stopped_cleanly},
            {"first", report.first.value},
            {"end", report.end.value},
            {"bytes_read", report.bytes_read},
            {"segments", report.segments},
            {"records", report.records},
            {"blocks_summed", report.blocks_summed},
            {"units_compared", report.units_compared},
            {"findings_total", report.findings_total},
            {"findings", findings}};
}

void show(std::ostream& out, const CheckReport& report) {
    for (const Finding& finding : report.findings) {
        out << kind_text(finding.kind) << ": " << finding.file << ": log offset "
            << finding.at.value << ", " << finding.bytes << " B: " << finding.what << '\n';
        for (const std::string& message : finding.messages) {
            out << "    " << message << '\n';
        }
    }
    if (report.findings_total > report.findings.size()) {
        out << "... and " << report.findings_total - report.findings.size()
            << " more: see --findings\n";
    }
    Table table({"CHECKED", "VALUE"});
    table.add(
        {"log", std::to_string(report.first.value) + " .. " + std::to_string(report.end.value)});
    table.add({"read", bytes_text(report.bytes_read)});
    table.add({"segments", std::to_string(report.segments)});
    table.add({"records", std::to_string(report.records)});
    table.add({"blocks against their checksums", std::to_string(report.blocks_summed)});
    table.add({"consume queue units", std::to_string(report.units_compared)});
    table.add({"stopped cleanly", report.was_stopped_cleanly ? "yes" : "no"});
    table.add({"findings", std::to_string(report.findings_total)});
    table.add({"verdict", report.is_good ? "good" : "damaged"});
    out << table.text();
}

void ProgressLine::show(const std::string& text) {
    if (streams_.err_is_terminal) {
        streams_.err << "\r\033[K" << text << std::flush;
        is_shown_ = true;
    }
}

void ProgressLine::clear() {
    if (is_shown_) {
        streams_.err << "\r\033[K" << std::flush;
        is_shown_ = false;
    }
}

Command store_check_command() {
    return {.noun = "store",
            .verb = "check",
            .arguments = "DIRECTORY",
            .purpose = "compares a stopped broker's store with its checksums and indexes",
            .arguments_min = 1,
            .arguments_max = 1,
            .add_options = add_check_options,
            .run = check};
}

std::vector<Command> store_commands() {
    return {store_check_command(),
            store_dump_command(),
            store_repair_command(),
            store_import_command()};
}

}  // namespace gantry::cli

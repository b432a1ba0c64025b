// SPDX-License-Identifier: Apache-2.0
#include "sync/commands.h"

#include "cli/options.h"
#include "sync/check.h"
#include "sync/config/config.h"
#include "sync/report/status.h"
#include "sync/translate.h"

#include <chrono>
#include <ostream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace gantry::sync {
namespace {

using cli::Given;
using cli::value;

constexpr int kFailed = 1;
constexpr int kUsage = 2;

/// One command: its words, what it takes, what it does.
struct SyncCommand {
    std::string_view name;
    std::string_view arguments;
    std::string_view purpose;
    std::size_t arguments_count = 0;
    void (*add_options)(cli::Options&) = nullptr;
    int (*run)(const Given&, const std::vector<std::string>&, CommandStreams) = nullptr;
};

int fail(CommandStreams streams, const Error& error) {
    streams.err << "gantry-sync: " << to_string(error) << '\n';
    return error.code == Errc::kRefused ? kUsage : kFailed;
}

int run_check(const Given&, const std::vector<std::string>& arguments, CommandStreams streams) {
    const Result<SyncConfig> config = load_config(arguments.front());
    if (!config) {
        return fail(streams, config.error());
    }
    const Checked checked = check_routes(*config);
    streams.out << checked.text;
    return checked.problems == 0 ? 0 : kFailed;
}

void status_options(cli::Options& options) {
    options.add_options()("http",
                          "host:port of the daemon's HTTP endpoint",
                          value<std::string>().default_value("127.0.0.1:10920"))(
        "o,output", "table or json", value<std::string>().default_value("table"))(
        "w,watch", "again every so many seconds", value<std::uint32_t>().implicit_value("2"));
}

int run_status(const Given& given, const std::vector<std::string>&, CommandStreams streams) {
    const bool is_json = given["output"].as<std::string>() == "json";
    for (;;) {
        const Result<std::string> json =
            http_get(given["http"].as<std::string>(), "/api/v1/status");
        if (!json) {
            return fail(streams, json.error());
        }
        const Result<std::string> shown = is_json ? json : status_table(*json);
        if (!shown) {
            return fail(streams, shown.error());
        }
        if (given.count("watch") == 0) {
            streams.out << *shown;
            return 0;
        }
        streams.out << "\x1b[H\x1b[2J" << *shown << std::flush;  // from the top of an empty screen
        std::this_thread::sleep_for(std::chrono::seconds(given["watch"].as<std::uint32_t>()));
    }
}

void translate_options(cli::Options& options) {
    options.add_options()("route", "the route's name", value<std::string>())(
        "group", "the consumer group", value<std::string>())("apply",
                                                             "commit the offsets at the target");
}

int run_translate(const Given& given,
                  const std::vector<std::string>& arguments,
                  CommandStreams streams) {
    if (given.count("route") == 0 || given.count("group") == 0) {
        return fail(streams, {Errc::kRefused, "--route and --group are needed"});
    }
    const Result<SyncConfig> config = load_config(arguments.front());
    if (!config) {
        return fail(streams, config.error());
    }
    const Result<std::string> table = translate(*config,
                                                given["route"].as<std::string>(),
                                                given["group"].as<std::string>(),
                                                given.count("apply") != 0);
    if (!table) {
        return fail(streams, table.error());
    }
    streams.out << *table;
    return 0;
}

const std::vector<SyncCommand>& all_commands() {
    static const std::vector<SyncCommand> all = {
        {"check",
         "FILE",
         "Holds a file of routes against the live clusters",
         1,
         nullptr,
         run_check},
        {"status", "", "Shows what a daemon's routes do", 0, status_options, run_status},
        {"translate",
         "FILE",
         "Finds a group's place at the other side of a route",
         1,
         translate_options,
         run_translate}};
    return all;
}

int run_one(const SyncCommand& command, int argc, const char* const* argv, CommandStreams streams) {
    cli::Options options("gantry-sync " + std::string(command.name),
                         std::string(command.purpose) + '\n');
    options.usage(std::string(command.arguments) + " [OPTION...]");
    if (command.add_options != nullptr) {
        command.add_options(options);
    }
    options.add_options()("h,help", "this text");
    options.add_options("Arguments")("arguments", "", value<std::vector<std::string>>());
    options.positional("arguments");
    const Result<Given> given = options.parse(argc - 1, argv + 1);
    if (!given) {
        return fail(streams, given.error());
    }
    if (given->count("help") != 0) {
        streams.out << options.help({""}) << '\n';
        return 0;
    }
    std::vector<std::string> arguments;
    if (given->count("arguments") != 0) {
        arguments = (*given)["arguments"].as<std::vector<std::string>>();
    }
    if (arguments.size() != command.arguments_count) {
        return fail(streams,
                    {Errc::kRefused,
                     std::string(command.name) + " takes " +
                         (command.arguments.empty() ? "nothing" : std::string(command.arguments))});
    }
    return command.run(*given, arguments, streams);
}

}  // namespace

std::optional<int> run_command(int argc, const char* const* argv, CommandStreams streams) {
    if (argc < 2) {
        return std::nullopt;
    }
    for (const SyncCommand& command : all_commands()) {
        if (command.name == argv[1]) {
            return run_one(command, argc, argv, streams);
        }
    }
    return std::nullopt;
}

}  // namespace gantry::sync

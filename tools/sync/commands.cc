// SPDX-License-Identifier: Apache-2.0
#include "sync/commands.h"

#include "cli/exit_code.h"
#include "cli/options.h"
#include "sync/check.h"
#include "sync/config/config.h"
#include "sync/report/status.h"
#include "sync/translate.h"

#include <charconv>
#include <chrono>
#include <optional>
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
constexpr std::uint32_t kWatchSecondsMax = 3'600;

/// One command: its words, what it takes, what it does.
struct SyncCommand {
    std::string_view name;
    std::string_view arguments;
    std::string_view purpose;
    std::size_t arguments_min = 0;
    std::size_t arguments_max = 0;
    void (*add_options)(cli::Options&) = nullptr;
    int (*run)(const Given&, const std::vector<std::string>&, CommandStreams) = nullptr;
};

int fail(CommandStreams streams, const Error& error) {
    streams.err << "gantry-sync: " << to_string(error) << '\n';
    return cli::exit_code(error.code);
}

int usage(CommandStreams streams, std::string_view command, const std::string& what) {
    streams.err << "gantry-sync: " << what << "\nTry: gantry-sync " << command << " --help\n";
    return cli::kExitUsage;
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
        "w,watch",
        "again every 2 seconds, or every so many as are given",
        value<std::string>().implicit_value("2"));
}

/// How often `status --watch` asks; nothing: it is no number of seconds.
std::optional<std::chrono::seconds> watch_every(const std::string& text) {
    std::uint32_t seconds = 0;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, seconds);
    if (parsed.ec != std::errc{} || parsed.ptr != end || seconds == 0 ||
        seconds > kWatchSecondsMax) {
        return std::nullopt;
    }
    return std::chrono::seconds(seconds);
}

/// What the daemon says, as it is to be shown.
Result<std::string> ask_status(const Given& given) {
    const auto address = given["http"].as<std::string>();
    const Result<std::string> json = http_get(address, "/api/v1/status");
    if (!json) {
        return Error{json.error().code, "--http " + json.error().detail};
    }
    return given["output"].as<std::string>() == "json" ? json : status_table(*json);
}

/// Shows it again and again, whether the daemon is there or not, until a signal ends the program.
[[noreturn]] void watch_status(const Given& given,
                               std::chrono::seconds every,
                               CommandStreams streams) {
    for (;;) {
        const Result<std::string> shown = ask_status(given);
        if (streams.is_terminal) {
            streams.out << "\x1b[H\x1b[2J";  // from the top of an empty screen
        }
        streams.out << (shown ? *shown : to_string(shown.error()) + '\n') << std::flush;
        std::this_thread::sleep_for(every);
    }
}

int run_status(const Given& given,
               const std::vector<std::string>& arguments,
               CommandStreams streams) {
    if (const auto output = given["output"].as<std::string>();
        output != "table" && output != "json") {
        return usage(streams, "status", "--output \"" + output + "\" is none of table, json");
    }
    const bool watches = given.count("watch") != 0;
    if (!watches && !arguments.empty()) {
        return usage(streams, "status", "status takes nothing, got \"" + arguments.front() + '"');
    }
    // The option's own value needs a '=' before it; a word behind it is meant for it, too.
    const std::string seconds = !arguments.empty() ? arguments.front()
                                : watches          ? given["watch"].as<std::string>()
                                                   : "1";
    const auto every = watch_every(seconds);
    if (!every) {
        return usage(streams,
                     "status",
                     "--watch \"" + seconds + "\": allowed are 1 to " +
                         std::to_string(kWatchSecondsMax) + " seconds");
    }
    const Result<std::string> shown = ask_status(given);
    if (!shown) {
        return shown.error().code == Errc::kRefused ? usage(streams, "status", shown.error().detail)
                                                    : fail(streams, shown.error());
    }
    if (watches) {
        watch_status(given, *every, streams);
    }
    streams.out << *shown;
    return 0;
}

void translate_options(cli::Options& options) {
    options.add_options()("route", "the route's name", value<std::string>())(
        "group", "the consumer group", value<std::string>())("apply",
                                                             "commit the offsets at the target");
}

int run_translate(const Given& given,
                  const std::vector<std::string>& arguments,
                  CommandStreams streams) {
    for (const char* const needed : {"route", "group"}) {
        if (given.count(needed) == 0) {
            return usage(streams, "translate", "translate needs --" + std::string(needed));
        }
    }
    const Result<SyncConfig> config = load_config(arguments.front());
    if (!config) {
        return fail(streams, config.error());
    }
    const bool applies = given.count("apply") != 0;
    const Result<std::string> table = translate(*config,
                                                given["route"].as<std::string>(),
                                                given["group"].as<std::string>(),
                                                applies ? Apply::kIfStopped : Apply::kNot);
    if (!table) {
        return fail(streams, table.error());
    }
    streams.out << *table;
    streams.err << (applies ? "committed\n" : "only shown: --apply commits it\n");
    return 0;
}

const std::vector<SyncCommand>& all_commands() {
    static const std::vector<SyncCommand> all = {
        {"check",
         "FILE",
         "Holds a file of routes against the live clusters",
         1,
         1,
         nullptr,
         run_check},
        {"status", "", "Shows what a daemon's routes do", 0, 1, status_options, run_status},
        {"translate",
         "FILE",
         "Finds a group's place at the other side of a route",
         1,
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
        return usage(
            streams, command.name, std::string(command.name) + ": " + given.error().detail);
    }
    if (given->count("help") != 0) {
        streams.out << options.help({""}) << '\n';
        return 0;
    }
    std::vector<std::string> arguments;
    if (given->count("arguments") != 0) {
        arguments = (*given)["arguments"].as<std::vector<std::string>>();
    }
    if (arguments.size() < command.arguments_min || arguments.size() > command.arguments_max) {
        return usage(streams,
                     command.name,
                     std::string(command.name) + " takes " +
                         (command.arguments.empty() ? "nothing" : std::string(command.arguments)) +
                         ", got " + std::to_string(arguments.size()) + " argument(s)");
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

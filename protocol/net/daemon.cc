// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/daemon.h"

#include "common/log.h"
#include "common/version.h"
#include "protocol/net/spare_memory.h"

// A comma may be part of one setting's value, so it separates nothing here.
#define CXXOPTS_VECTOR_DELIMITER '\0'
#include <cxxopts.hpp>

#include <csignal>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <optional>
#include <pthread.h>
#include <time.h>
#include <vector>

namespace gantry::net {
namespace {

constexpr Logger kLog("daemon");

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

// Enough for the next burst to begin without the system.
constexpr std::size_t kSpareBytes = std::size_t{16} << 20U;
constexpr timespec kLookForSpare = {.tv_sec = 5, .tv_nsec = 0};

constexpr SettingTable::Range kPorts = {0, 65'535};

cxxopts::Options make_options(const DaemonProgram& program) {
    cxxopts::Options options(program.name, program.summary);
    cxxopts::OptionAdder add = options.add_options();
    add("config", "Read settings from a TOML file.", cxxopts::value<std::string>(), "FILE");
    add("set",
        "Set one setting; repeatable, wins over the file.",
        cxxopts::value<std::vector<std::string>>(),
        "KEY=VALUE");
    add("print-config", "Print the settings in force as TOML and exit.");
    add("help", "Print options and settings and exit.");
    add("help-markdown", "Print the settings as a Markdown table and exit.");
    add("version", "Print the version and exit.");
    return options;
}

int fail(const DaemonProgram& program, const std::string& what, int code) {
    std::fprintf(stderr, "%s: %s\n", program.name.c_str(), what.c_str());
    return code;
}

void print(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
}

Status apply_settings(const DaemonProgram& program, const cxxopts::ParseResult& parsed) {
    if (parsed.count("config") != 0) {
        GANTRY_TRY(program.table.load_file(parsed["config"].as<std::string>()));
    }
    if (parsed.count("set") != 0) {
        for (const std::string& assignment : parsed["set"].as<std::vector<std::string>>()) {
            GANTRY_TRY(program.table.set(assignment));
        }
    }
    return ok();
}

/// The exit code when the command line already decides it.
std::optional<int> read_command_line(const DaemonProgram& program,
                                     int argc,
                                     const char* const* argv) {
    cxxopts::Options options = make_options(program);
    try {
        const cxxopts::ParseResult parsed = options.parse(argc, argv);
        if (!parsed.unmatched().empty()) {
            return fail(program,
                        "unexpected argument \"" + parsed.unmatched().front() + "\"; see --help",
                        kExitUsage);
        }
        if (parsed.count("help") != 0) {
            print(options.help() + "\nSettings:\n" + program.table.help());
            return kExitOk;
        }
        if (parsed.count("version") != 0) {
            print(program.name + " " + std::string(kVersion) + "\n");
            return kExitOk;
        }
        if (parsed.count("help-markdown") != 0) {
            print(program.table.markdown());
            return kExitOk;
        }
        if (const Status applied = apply_settings(program, parsed); !applied) {
            return fail(program, applied.error().detail, kExitUsage);
        }
        if (parsed.count("print-config") != 0) {
            print(program.table.effective());
            return kExitOk;
        }
    } catch (const cxxopts::exceptions::exception& error) {
        return fail(program, std::string(error.what()) + "; see --help", kExitUsage);
    }
    return std::nullopt;
}

sigset_t ending_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

Status set_up_log_of(const DaemonSettings& settings) {
    LogOptions options;
    GANTRY_ASSIGN_OR_RETURN(options.level, parse_log_level(settings.log_level));
    options.file = settings.log_file;
    return set_up_log(options);
}

/// One of the signals; until it comes, what a burst has left in the allocator is given back.
int wait_for(const sigset_t& signals) {
    SpareMemory spare(kSpareBytes);
    while (true) {
        const int signal = sigtimedwait(&signals, nullptr, &kLookForSpare);
        if (signal > 0) {
            return signal;
        }
        if (const std::size_t given_back = spare.look(); given_back > 0) {
            kLog.debug("memory_given_back", {{"bytes", given_back}});
        }
    }
}

int run(const DaemonProgram& program, int argc, const char* const* argv) {
    if (const std::optional<int> decided = read_command_line(program, argc, argv)) {
        return *decided;
    }
    // Blocked before any thread exists: all inherit it, and only the wait below takes the signals.
    const sigset_t ending = ending_signals();
    pthread_sigmask(SIG_BLOCK, &ending, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    if (const Status log = set_up_log_of(program.base); !log) {
        return fail(program, log.error().detail, kExitFailed);
    }
    Result<std::unique_ptr<Daemon>> started = program.start();
    if (!started) {
        if (!program.base.log_file.empty()) {
            kLog.error("start_failed", {{"program", program.name}, {"error", started.error()}});
        }
        const bool is_bad_setting = started.error().code == Errc::kRefused;
        return fail(program, started.error().detail, is_bad_setting ? kExitUsage : kExitFailed);
    }
    const std::unique_ptr<Daemon> daemon = std::move(started).value();
    kLog.info("ready",
              {{"program", program.name},
               {"version", kVersion},
               {"port", daemon->port()},
               {"http_port", daemon->http_port()}});
    print("READY port=" + std::to_string(daemon->port()) +
          " http=" + std::to_string(daemon->http_port()) + "\n");

    const int signal = wait_for(ending);
    kLog.info("stopping", {{"program", program.name}, {"signal", signal}});
    sigset_t impatient;
    sigemptyset(&impatient);
    sigaddset(&impatient, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &impatient, nullptr);
    daemon->stop();
    kLog.info("stopped", {{"program", program.name}});
    return kExitOk;
}

}  // namespace

void DaemonSettings::describe(SettingTable& table) {
    table.add("listen.address", &listen_address, "Address to listen on for clients and brokers.");
    table.add("listen.port", &listen_port, kPorts, "Port to listen on; 0: the system picks one.");
    table.add("http.address", &http_address, "Address of the HTTP endpoint.");
    table.add("http.port", &http_port, kPorts, "Port of the HTTP endpoint; 0: the system picks.");
    table.add_choice("log.level",
                     &log_level,
                     {"debug", "info", "warn", "error", "off"},
                     "The least severe lines to log.");
    table.add("log.file", &log_file, "Log file, rolled by size; empty: standard error.");
}

int run_daemon(const DaemonProgram& program, int argc, const char* const* argv) noexcept {
    try {
        return run(program, argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", program.name.c_str(), error.what());
        return kExitFailed;
    }
}

}  // namespace gantry::net

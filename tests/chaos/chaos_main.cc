// SPDX-License-Identifier: Apache-2.0
// gantry-chaos: a chaos run, its clients, and the checker for histories that were kept.
#include "common/random.h"
#include "tests/chaos/clients.h"
#include "tests/chaos/history/checker.h"
#include "tests/chaos/runner.h"
#include "tests/chaos/world/faults.h"

#include <cxxopts.hpp>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

namespace gantry::chaos {
namespace {

std::atomic<bool> stops{false};

extern "C" void stop_at_signal(int /*signal*/) {
    stops = true;
}

int told(const Status& status) {
    if (!status) {
        std::fprintf(stderr, "%s\n", to_string(status.error()).c_str());
    }
    return status ? 0 : 1;
}

void say(const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

ClientOptions client_options(const cxxopts::ParseResult& given) {
    ClientOptions options;
    options.nameservers = {given["nameserver"].as<std::string>()};
    options.name = given["name"].as<std::string>();
    options.history = given["history"].as<std::string>();
    options.per_second = given["rate"].as<std::uint32_t>();
    return options;
}

int run(const cxxopts::ParseResult& given) {
    RunOptions options;
    options.length = std::chrono::milliseconds(given["seconds"].as<std::uint64_t>() * 1'000);
    options.seed = given.count("seed") != 0 ? given["seed"].as<std::uint64_t>() : random_seed();
    options.directory = given["directory"].as<std::string>();
    if (given.count("fault") != 0) {
        options.faults = given["fault"].as<std::vector<std::string>>();
    }
    options.by_namespaces = given.count("proxies") == 0;
    options.per_second = given["rate"].as<std::uint32_t>();
    options.say = say;
    std::filesystem::create_directories(options.directory);
    const Result<bool> is_good = run_chaos(options, stops);
    if (!is_good) {
        std::fprintf(stderr, "the run failed: %s\n", to_string(is_good.error()).c_str());
        return 2;
    }
    return *is_good ? 0 : 1;
}

int check_files(const cxxopts::ParseResult& given) {
    History history;
    for (const std::string& file : given["file"].as<std::vector<std::string>>()) {
        if (const Status read = read_history(file, history); !read) {
            return told(read);
        }
    }
    const Verdict verdict = check(history, {});
    say(report(verdict));
    return verdict.is_good() ? 0 : 1;
}

int list_faults() {
    for (const FaultKind& kind : fault_kinds()) {
        std::printf("%-28s weight %u, %lld to %lld ms\n",
                    kind.name,
                    kind.weight,
                    static_cast<long long>(kind.least.count()),
                    static_cast<long long>(kind.most.count()));
    }
    return 0;
}

int dispatch(const std::string& command, const cxxopts::ParseResult& given) {
    if (command == "run") {
        return run(given);
    }
    if (command == "check") {
        return check_files(given);
    }
    if (command == "faults") {
        return list_faults();
    }
    const ClientOptions options = client_options(given);
    if (command == "topic") {
        return told(make_topic(options, given["queues"].as<std::int32_t>()));
    }
    if (command == "drain") {
        return told(drain(options, {"push", "pull"}));
    }
    using Loop = Status (*)(const ClientOptions&, const std::atomic<bool>&);
    const std::map<std::string, Loop> loops{
        {"produce", produce}, {"push", consume_push}, {"pull", consume_pull}};
    const auto found = loops.find(command);
    if (found == loops.end()) {
        std::fprintf(stderr, "no command '%s'\n", command.c_str());
        return 2;
    }
    return told(found->second(options, stops));
}

int parse_and_run(int argc, char** argv) {
    cxxopts::Options options("gantry-chaos", "run | check FILE... | faults | a client's command");
    options.add_options()("command", "", cxxopts::value<std::string>()->default_value(""))(
        "file", "histories to check", cxxopts::value<std::vector<std::string>>())(
        "seconds", "of faults", cxxopts::value<std::uint64_t>()->default_value("60"))(
        "seed", "of the faults", cxxopts::value<std::uint64_t>())(
        "directory", "stores, histories, logs", cxxopts::value<std::string>())(
        "fault", "only these", cxxopts::value<std::vector<std::string>>())(
        "proxies", "instead of network namespaces")(
        "rate",
        "messages a second of a producer",
        cxxopts::value<std::uint32_t>()->default_value("100"))(
        "nameserver", "of a client", cxxopts::value<std::string>())(
        "name", "of a client", cxxopts::value<std::string>())(
        "history", "of a client", cxxopts::value<std::string>())(
        "queues", "of the topic", cxxopts::value<std::int32_t>()->default_value("4"));
    options.parse_positional({"command", "file"});
    const cxxopts::ParseResult given = options.parse(argc, argv);
    return dispatch(given["command"].as<std::string>(), given);
}

}  // namespace
}  // namespace gantry::chaos

int main(int argc, char** argv) {
    std::signal(SIGTERM, gantry::chaos::stop_at_signal);
    std::signal(SIGINT, gantry::chaos::stop_at_signal);
    try {
        return gantry::chaos::parse_and_run(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "gantry-chaos: %s\n", error.what());
        return 2;
    }
}

// SPDX-License-Identifier: Apache-2.0
#include "bench/options.h"

#include "common/version.h"

#include <cxxopts.hpp>

#include <cstdlib>
#include <iostream>
#include <limits>

namespace gantry::bench {
namespace {

void add_pop_options(cxxopts::Options& all) {
    all.add_options("Load")(
        "pop",
        "consumers share the queues message by message and acknowledge each, as a group of its own "
        "that begins at the oldest message")(
        "pop-messages",
        "most messages of one pop",
        cxxopts::value<std::uint32_t>()->default_value("1024"));
}

cxxopts::Options describe() {
    cxxopts::Options all("gantry-bench", "Load generator and latency recorder.\n");
    all.custom_help("produce|consume|e2e [OPTION...]");
    all.add_options()("command", "", cxxopts::value<std::string>());
    all.add_options("Target")("n,nameserver",
                              "host:port, repeatable; also GANTRY_NAMESERVER (a list joined by ;)",
                              cxxopts::value<std::vector<std::string>>())(
        "t,topic",
        "created when missing",
        cxxopts::value<std::string>()->default_value("gantry-bench"))(
        "g,group", "consumer group", cxxopts::value<std::string>()->default_value("gantry-bench"))(
        "queues", "queues of a created topic", cxxopts::value<std::uint32_t>()->default_value("8"))(
        "topics",
        "so many, named <topic>-0 and up, a frame each in turn (produce only)",
        cxxopts::value<std::uint32_t>()->default_value("1"));
    all.add_options("Load")(
        "messages", "how many", cxxopts::value<std::uint64_t>()->default_value("1000000"))(
        "warmup",
        "of these: sent before the time starts to count (produce only)",
        cxxopts::value<std::uint64_t>()->default_value("0"))(
        "size", "body bytes", cxxopts::value<std::uint32_t>()->default_value("1024"))(
        "producers",
        "each with a connection of its own",
        cxxopts::value<std::uint32_t>()->default_value("1"))(
        "consumers", "share the queues", cxxopts::value<std::uint32_t>()->default_value("1"))(
        "in-flight",
        "unanswered frames per producer",
        cxxopts::value<std::uint32_t>()->default_value("64"))(
        "batch",
        "bytes of a self-forming batch; 0: none",
        cxxopts::value<std::uint32_t>()->default_value("0"))(
        "rate",
        "messages per second, all producers; 0: unlimited",
        cxxopts::value<std::uint64_t>()->default_value("0"))(
        "seconds",
        "consume: stop after that long; 0: read all there is",
        cxxopts::value<std::uint32_t>()->default_value("0"))(
        "queue",
        "consume: read only this queue; -1: all",
        cxxopts::value<std::int32_t>()->default_value("-1"))(
        "spin-us",
        "poll so long before sleeping",
        cxxopts::value<std::uint32_t>()->default_value("0"))(
        "timeout-ms",
        "per send, retries included",
        cxxopts::value<std::uint32_t>()->default_value("30000"))(
        "retry-unknown", "resend after an unknown outcome: at least once")(
        "idempotent", "producers number their sends: each stored once")(
        "transactions",
        "produce: each message in a transaction that is committed at once; a thread for each in "
        "flight")("no-check-crc", "consumers do not check the CRC of bodies");
    add_pop_options(all);
    all.add_options("Output")("o,output",
                              "text or json (one line)",
                              cxxopts::value<std::string>()->default_value("text"))(
        "h,help", "this text")("version", "the version");
    all.parse_positional({"command"});
    return all;
}

std::vector<std::string> nameservers_of(const cxxopts::ParseResult& given) {
    if (given.count("nameserver") != 0) {
        return given["nameserver"].as<std::vector<std::string>>();
    }
    std::vector<std::string> list;
    // Read before any thread starts.
    const char* env =
        std::getenv("GANTRY_NAMESERVER");  // NOLINT(concurrency-mt-unsafe): no thread yet
    std::string rest = env != nullptr ? env : "127.0.0.1:9876";
    for (std::size_t at = 0; at <= rest.size();) {
        const std::size_t end = std::min(rest.find(';', at), rest.size());
        list.push_back(rest.substr(at, end - at));
        at = end + 1;
    }
    return list;
}

Result<Options> take(const cxxopts::ParseResult& given) {
    const auto output = given["output"].as<std::string>();
    if (output != "text" && output != "json") {
        return Error{Errc::kRefused, "--output \"" + output + "\" is neither text nor json"};
    }
    Options options;
    options.command = given.count("command") != 0 ? given["command"].as<std::string>() : "";
    options.nameservers = nameservers_of(given);
    options.topic = given["topic"].as<std::string>();
    options.group = given["group"].as<std::string>();
    options.topics = given["topics"].as<std::uint32_t>();
    options.queues = given["queues"].as<std::uint32_t>();
    options.messages = given["messages"].as<std::uint64_t>();
    options.warmup = given["warmup"].as<std::uint64_t>();
    options.size_bytes = given["size"].as<std::uint32_t>();
    options.producers = given["producers"].as<std::uint32_t>();
    options.consumers = given["consumers"].as<std::uint32_t>();
    options.in_flight = given["in-flight"].as<std::uint32_t>();
    options.batch_bytes = given["batch"].as<std::uint32_t>();
    options.rate = given["rate"].as<std::uint64_t>();
    options.seconds = given["seconds"].as<std::uint32_t>();
    options.queue = given["queue"].as<std::int32_t>();
    options.spin_us = given["spin-us"].as<std::uint32_t>();
    options.send_timeout_ms = given["timeout-ms"].as<std::uint32_t>();
    options.check_crc = given.count("no-check-crc") == 0;
    options.transactions = given.count("transactions") != 0;
    options.idempotent = given.count("idempotent") != 0;
    options.retry_unknown = given.count("retry-unknown") != 0;
    options.pop = given.count("pop") != 0;
    options.pop_messages = given["pop-messages"].as<std::uint32_t>();
    options.json = output == "json";
    return options;
}

Status check_range(std::string_view name,
                   std::uint64_t value,
                   std::uint64_t least,
                   std::uint64_t most) {
    if (value < least || value > most) {
        return Error{Errc::kRefused,
                     std::string(name) + " " + std::to_string(value) + " is not in " +
                         std::to_string(least) + ".." + std::to_string(most)};
    }
    return ok();
}

Status check(const Options& options) {
    if (options.command != "produce" && options.command != "consume" && options.command != "e2e") {
        return Error{Errc::kRefused,
                     "command \"" + options.command + "\" is none of produce, consume, e2e"};
    }
    if (options.transactions && (options.command != "produce" || options.batch_bytes != 0)) {
        return Error{Errc::kRefused, "--transactions is for produce without --batch"};
    }
    if (options.transactions && options.idempotent) {
        return Error{Errc::kRefused, "--idempotent is not for --transactions"};
    }
    if (options.pop && (options.command == "produce" || options.queue >= 0)) {
        return Error{Errc::kRefused, "--pop is for consume and e2e without --queue"};
    }
    if (options.size_bytes < 32) {
        return Error{Errc::kRefused,
                     "--size " + std::to_string(options.size_bytes) +
                         " < 32: the body carries producer, sequence and time"};
    }
    constexpr std::uint64_t kAny = std::numeric_limits<std::uint32_t>::max();
    GANTRY_TRY(
        check_range("--topics", options.topics, 1, options.command == "produce" ? 10'000 : 1));
    GANTRY_TRY(check_range("--producers", options.producers, 1, 1024));
    GANTRY_TRY(check_range("--consumers", options.consumers, 1, 64));
    GANTRY_TRY(check_range("--in-flight", options.in_flight, 1, kAny));
    GANTRY_TRY(check_range("--pop-messages", options.pop_messages, 1, 65'536));
    GANTRY_TRY(check_range("--warmup", options.warmup, 0, options.messages - 1));
    GANTRY_TRY(check_range("--messages", options.messages, 1, std::uint64_t{kAny} << 20U));
    return ok();
}

}  // namespace

std::string topic_name(const Options& options, std::uint32_t index) {
    return options.topics == 1 ? options.topic : options.topic + '-' + std::to_string(index);
}

Result<Options> parse_options(int argc, char** argv) {
    try {
        cxxopts::Options all = describe();
        const cxxopts::ParseResult given = all.parse(argc, argv);
        if (given.count("help") != 0) {
            std::cout << all.help({"Target", "Load", "Output"}) << '\n';
            return Options{};
        }
        if (given.count("version") != 0) {
            std::cout << "gantry-bench " << kVersion << '\n';
            return Options{};
        }
        GANTRY_ASSIGN_OR_RETURN(Options options, take(given));
        GANTRY_TRY(check(options));
        return options;
    } catch (const cxxopts::exceptions::exception& e) {
        return Error{Errc::kRefused, e.what()};
    }
}

}  // namespace gantry::bench

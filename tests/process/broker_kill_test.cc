// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"
#include "tests/harness/build.h"
#include "tests/harness/cluster.h"
#include "tests/harness/http_get.h"
#include "tests/harness/process.h"
#include "tests/harness/programs.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

constexpr int kMessages = kIsSanitized ? 25'000 : 150'000;
constexpr int kInFlight = 256;
/// Where the disk is faster, a run would be over before its kill.
constexpr int kMessagesPerSecondMax = 100'000;
constexpr std::chrono::minutes kBenchLimit{3};

std::uint64_t test_seed() {
    const char* const given = std::getenv("GANTRY_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
}

nlohmann::json parse_report(const std::string& line) {
    nlohmann::json report = nlohmann::json::parse(line, nullptr, false);
    REQUIRE_MESSAGE(report.is_object(), line);
    return report;
}

/// gantry-bench under way; its report when it has ended.
class Bench {
public:
    Bench(Cluster& cluster, const std::string& command, const std::string& topic) {
        std::vector<std::string> arguments = {command,
                                              "--nameserver",
                                              cluster.nameserver().address(),
                                              "--topic",
                                              topic,
                                              "--messages",
                                              std::to_string(kMessages),
                                              "--size",
                                              "512",
                                              "--in-flight",
                                              std::to_string(kInFlight),
                                              "--timeout-ms",
                                              "50000",
                                              "--retry-unknown",
                                              "--output",
                                              "json"};
        if (command == "e2e") {
            arguments.insert(arguments.end(), {"--rate", std::to_string(kMessagesPerSecondMax)});
        }
        auto started = Process::start(
            bench_executable(), arguments, cluster.directory(), command + "-" + topic);
        REQUIRE(started.has_value());
        process_ = std::move(started).value();
    }

    bool is_running() { return process_->is_running(); }

    nlohmann::json report() {
        const Result<ProcessExit> exit = process_->wait_exit(kBenchLimit);
        REQUIRE_MESSAGE(exit.has_value(), (exit ? "" : to_string(exit.error())));
        CHECK_MESSAGE(exit->code == 0,
                      "the bench ended by signal " << exit->signal << ": " << process_->err());
        return parse_report(process_->out());
    }

private:
    std::unique_ptr<Process> process_;
};

double messages_in(BrokerProcess& broker) {
    return metric(broker.http_port(), "gantry_broker_messages_in_total").value_or(0);
}

/// Waits until the broker, since its start, has taken `count` messages of the bench.
void wait_for_messages(BrokerProcess& broker, Bench& bench, double count) {
    REQUIRE(wait_until(Process::kPatience,
                       [&] { return messages_in(broker) >= count || !bench.is_running(); }));
    if (!bench.is_running()) {
        const nlohmann::json ended = bench.report();  // its own checks cannot run inside a message
        FAIL("the bench has ended before the kill: " << ended.dump());
    }
}

std::unique_ptr<Cluster> start_cluster(const std::string& flush) {
    Cluster::Options options;
    options.broker_settings = {{"store.flush", flush},
                               {"store.segment_bytes", "32MiB"},
                               {"store.prefault_bytes", "8MiB"},
                               {"store.free_bytes_min", "0"}};
    Result<std::unique_ptr<Cluster>> cluster = Cluster::start(options);
    REQUIRE_MESSAGE(cluster.has_value(), (cluster ? "" : to_string(cluster.error())));
    return std::move(cluster).value();
}

/// Runs the bench on `topic`, kills the broker once it has taken `kill_at` messages, and starts it
/// again. The bench never has more than kInFlight messages unanswered, so that those before the
/// last kInFlight were acknowledged before the kill, and it is still sending then. How often a
/// message was seen twice.
std::uint64_t kill_once(Cluster& cluster,
                        const std::string& topic,
                        int kill_at,
                        std::chrono::milliseconds outage = {}) {
    BrokerProcess& broker = cluster.broker();
    Bench bench(cluster, "e2e", topic);
    REQUIRE(kill_at > kInFlight);
    wait_for_messages(broker, bench, messages_in(broker) + kill_at);
    broker.kill();
    std::this_thread::sleep_for(outage);  // sleeps: the outage is what is tested
    CHECK(bench.is_running());
    const Status restarted = broker.start();
    REQUIRE_MESSAGE(restarted.has_value(), (restarted ? "" : to_string(restarted.error())));
    const nlohmann::json report = bench.report();
    CHECK_MESSAGE(messages_in(broker) > kInFlight, report.dump());
    CHECK_MESSAGE(report["acked"] == kMessages, report.dump());
    CHECK_MESSAGE(report["messages"] == kMessages, report.dump());
    CHECK_MESSAGE(report["lost"] == 0, report.dump());
    CHECK_MESSAGE(report["out_of_order"] == 0, report.dump());
    CHECK_MESSAGE(report["offset_gaps"] == 0, report.dump());
    CHECK_MESSAGE(report["failed"] == 0, report.dump());
    return report["duplicates"].get<std::uint64_t>();
}

/// Reads the whole topic anew.
void check_stored(Cluster& cluster, const std::string& topic, std::uint64_t duplicates) {
    const nlohmann::json report = Bench(cluster, "consume", topic).report();
    CHECK_MESSAGE(report["messages"] == kMessages, report.dump());
    CHECK_MESSAGE(report["duplicates"] == duplicates, report.dump());
    CHECK_MESSAGE(report["lost"] == 0, report.dump());
    CHECK_MESSAGE(report["out_of_order"] == 0, report.dump());
    CHECK_MESSAGE(report["offset_gaps"] == 0, report.dump());
}

}  // namespace

TEST_SUITE("process/broker_kill") {
    TEST_CASE("kill -9 amid sends loses nothing acknowledged and keeps the order, three times") {
        const std::unique_ptr<Cluster> cluster = start_cluster("sync");
        std::vector<std::pair<std::string, std::uint64_t>> rounds;
        const std::uint64_t seed = test_seed();
        CAPTURE(seed);
        Random random(seed);
        for (int round = 0; round < 3; ++round) {
            const int kill_at = kMessages / 30 + static_cast<int>(random.below(kMessages / 4));
            const std::string topic = "round-" + std::to_string(round);
            CAPTURE(kill_at);
            rounds.emplace_back(topic, kill_once(*cluster, topic, kill_at));
            MESSAGE(topic << ", GANTRY_TEST_SEED=" << seed << ", killed at " << kill_at << ": "
                          << kMessages << " acknowledged, " << rounds.back().second
                          << " seen twice");
        }
        for (const auto& [topic, duplicates] : rounds) {
            check_stored(*cluster, topic, duplicates);
        }
    }

    TEST_CASE("an outage longer than an attempt to send changes no order") {
        const std::unique_ptr<Cluster> cluster = start_cluster("sync");
        const std::uint64_t duplicates =
            kill_once(*cluster, "round", kMessages / 8, std::chrono::milliseconds(2'500));
        MESSAGE(kMessages << " acknowledged, " << duplicates << " seen twice");
        check_stored(*cluster, "round", duplicates);
    }

    TEST_CASE("with async flush a kill of the process loses nothing acknowledged either") {
        const std::unique_ptr<Cluster> cluster = start_cluster("async");
        const std::uint64_t duplicates = kill_once(*cluster, "round", kMessages / 8);
        MESSAGE(kMessages << " acknowledged, " << duplicates << " seen twice");
        check_stored(*cluster, "round", duplicates);
    }
}

}  // namespace gantry::harness

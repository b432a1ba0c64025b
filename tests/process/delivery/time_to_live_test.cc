// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/broker_calls.h"
#include "tests/harness/cluster.h"
#include "tests/harness/http_get.h"
#include "tests/harness/programs.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

namespace gantry::harness {
namespace {

/// What the example prints.
std::string run_example(Cluster& cluster, const std::vector<std::string>& rest) {
    std::vector<std::string> arguments{cluster.nameserver().address(), "T"};
    arguments.insert(arguments.end(), rest.begin(), rest.end());
    const Result<ProgramRun> run = run_program(GANTRY_TIME_TO_LIVE_EXAMPLE, arguments);
    REQUIRE(run);
    CHECK_MESSAGE(run->code == 0, run->err);
    return run->out;
}

int count_of(const std::string& text, const std::string& part) {
    int count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++count;
    }
    return count;
}

}  // namespace

TEST_SUITE("process/time_to_live") {
    TEST_CASE(
        "what was sent to live for a while is gone then, across a kill, and the rest is there") {
        Cluster::Options options;
        options.broker_settings = {{"store.free_bytes_min", "0"}};
        const auto started = Cluster::start(options);
        REQUIRE(started);
        Cluster& cluster = **started;
        BrokerProcess& broker = cluster.broker();
        RpcClient direct(broker.address());
        REQUIRE(create_topic(direct, "T", 2).summary() == "0");
        // One that lives long first: nobody knows how slow this machine is.
        run_example(cluster, {"send", "3600000"});
        CHECK(count_of(run_example(cluster, {"receive"}), "offer") == 10);
        run_example(cluster, {"send", "50"});
        broker.kill();
        REQUIRE(broker.start());
        REQUIRE(cluster.wait_for_brokers(1));
        REQUIRE(wait_until(Process::kPatience, [&] {
            RpcClient fresh(broker.address());
            return read_queue(fresh, "T", 0).size() + read_queue(fresh, "T", 1).size() == 15;
        }));
        const std::string received = run_example(cluster, {"receive"});
        CHECK(count_of(received, "offer") == 15);
        CHECK(count_of(received, "offer 1") == 2);
        CHECK(count_of(received, "offer 2") == 1);
        CHECK(metric(broker.http_port(), "gantry_broker_expired_total").value_or(-1) >= 5);
    }
}

}  // namespace gantry::harness

// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/broker_calls.h"
#include "tests/harness/cluster.h"
#include "tests/harness/programs.h"
#include "tests/process/sender.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

namespace gantry::harness {

TEST_SUITE("process/trace") {
    TEST_CASE("the example's message is traced from end to end, and the command line tells of it") {
        Cluster::Options options;
        options.broker_settings = {{"trace.topic", "true"}, {"store.free_bytes_min", "0"}};
        const auto cluster = Cluster::start(options);
        REQUIRE_MESSAGE(cluster.has_value(), (cluster ? "" : to_string(cluster.error())));
        BrokerProcess& broker = (*cluster)->broker();
        {
            RpcClient direct(broker.address());
            REQUIRE(create_topic(direct, "T", 1).summary() == "0");
        }
        const std::string nameserver = (*cluster)->nameserver().address();
        const Result<ProgramRun> run = run_program(GANTRY_TRACE_EXAMPLE, {nameserver, "T"});
        REQUIRE(run.has_value());
        REQUIRE_MESSAGE(run->code == 0, run->err);
        for (const char* const event : {"produce gantry-producer ok",
                                        "store  ok",
                                        "deliver traced ok",
                                        "consume traced ok"}) {
            CHECK_MESSAGE(has(run->out, event), run->out);
        }
        const std::string id = run->out.substr(8, 32);
        broker.kill();
        require_started(broker.start());
        REQUIRE((*cluster)->wait_for_brokers(1));
        const auto cli = [&](const std::vector<std::string>& words) {
            std::vector<std::string> all = {"trace", "--nameserver", nameserver};
            all.insert(all.end(), words.begin(), words.end());
            const Result<ProgramRun> ran = run_program(cli_executable(), all);
            REQUIRE(ran.has_value());
            return *ran;
        };
        const ProgramRun shown = cli({id});
        CHECK_MESSAGE(shown.code == 0, shown.err);
        CHECK(has(shown.out, "produce"));
        const auto json = nlohmann::json::parse(cli({id, "-o", "json"}).out);
        REQUIRE(json.size() == 4);
        std::vector<std::string> events;
        for (const auto& event : json) {
            events.push_back(event["event"]);
            CHECK(event["success"] == true);
        }
        CHECK(events == std::vector<std::string>{"produce", "store", "deliver", "consume"});
        CHECK(cli({"0123456789"}).code == 3);
    }

    TEST_CASE("a broker that takes no traces: messages pass, nothing is known of them") {
        const auto cluster = Cluster::start({});
        REQUIRE(cluster.has_value());
        RpcClient direct((*cluster)->broker().address());
        REQUIRE(create_topic(direct, "T", 1).summary() == "0");
        const Result<ProgramRun> run =
            run_program(GANTRY_TRACE_EXAMPLE, {(*cluster)->nameserver().address(), "T"});
        REQUIRE(run.has_value());
        CHECK(run->code == 1);
        CHECK(read_queue(direct, "T", 0).size() == 1);
    }
}

}  // namespace gantry::harness

// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/nameserver.pb.h"
#include "tests/harness/broker_calls.h"
#include "tests/harness/build.h"
#include "tests/harness/cluster.h"
#include "tests/harness/rpc_client.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

namespace gantry {
namespace {

using harness::Cluster;
using harness::RpcClient;

constexpr int kTopics = harness::kIsSanitized ? 100 : 1'000;
constexpr std::int32_t kQueues = 100;

std::string topic_name(int number) {
    return "topic-" + std::to_string(number);
}

}  // namespace

TEST_SUITE("process/many_topics") {
    TEST_CASE("a broker that was killed lists and routes its thousand topics again") {
        Result<std::unique_ptr<Cluster>> started = Cluster::start({});
        REQUIRE(started);
        Cluster& cluster = **started;
        {
            RpcClient client(cluster.broker().address());
            for (int i = 0; i < kTopics; ++i) {
                REQUIRE(harness::create_topic(client, topic_name(i), kQueues).summary() == "0");
            }
            REQUIRE(harness::send(client, topic_name(0), kQueues - 1, {{"kept"}}).summary() == "0");
        }
        cluster.broker().kill();
        REQUIRE(cluster.wait_for_brokers(0));
        REQUIRE(cluster.broker().start());
        REQUIRE(cluster.wait_for_brokers(1));

        RpcClient broker(cluster.broker().address());
        const auto table =
            broker.call(wire::RequestCode::kGetAllTopicConfig).body_as<wire::TopicConfigTable>();
        RpcClient nameserver(cluster.nameserver().address());
        for (int i = 0; i < kTopics; ++i) {
            const auto listed = table.topicconfigtable().find(topic_name(i));
            REQUIRE(listed != table.topicconfigtable().end());
            CHECK(listed->second.writequeuenums() == kQueues);
            const auto route =
                harness::route(nameserver, topic_name(i)).body_as<wire::TopicRouteData>();
            REQUIRE(route.queuedatas_size() == 1);
            CHECK(route.queuedatas(0).writequeuenums() == kQueues);
        }
        CHECK(harness::read_queue(broker, topic_name(0), kQueues - 1) ==
              std::vector<std::string>{"kept"});
    }
}

}  // namespace gantry

// SPDX-License-Identifier: Apache-2.0
#include "client/producer.h"
#include "common/random.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

namespace gantry::client::test {
namespace {

using Kind = SendAction::Kind;

SendAction limited(std::int64_t retry_after_ms) {
    SendAction action{Kind::kRefuse, wire::ResponseCode::kFlowControl};
    action.told.set_retryaftermillis(retry_after_ms);
    return action;
}

std::vector<std::string> stored(FakeCluster& cluster, std::int32_t queue) {
    return cluster.run([&] {
        std::vector<std::string> bodies;
        for (const StoredRecord& record : cluster.broker().queues[{"T", queue}]) {
            bodies.push_back(record.body);
        }
        return bodies;
    });
}

}  // namespace

TEST_SUITE("client/limited_send") {
    TEST_CASE("a send that is told to wait is sent again then, without costing a retry") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        cluster.run([&] {
            cluster.broker().on_send = [count = 0](const SeenFrame&) mutable {
                return ++count <= 10 ? limited(5) : SendAction{};
            };
        });
        Producer::Options options;
        options.retries_max = 0;
        options.deadline = 20s;
        const auto client = cluster.connect();
        auto producer = Producer::create(client, options).value();
        const auto begin = std::chrono::steady_clock::now();
        CHECK(producer->send(message_of("T", "patient")));
        CHECK(std::chrono::steady_clock::now() - begin >= 50ms);
        CHECK(stored(cluster, 0) == std::vector<std::string>{"patient"});
        CHECK(client->metrics().values()["gantry_client_send_limited_total"] == 10);
        CHECK(client->metrics().values()["gantry_client_send_retries_total"] == 0);
    }

    TEST_CASE("a wait beyond the deadline fails at once as busy, not stored") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        cluster.run(
            [&] { cluster.broker().on_send = [](const SeenFrame&) { return limited(30'000); }; });
        Producer::Options options;
        options.deadline = 10s;
        auto producer = Producer::create(cluster.connect(), options).value();
        const auto begin = std::chrono::steady_clock::now();
        const auto sent = producer->send(message_of("T", "late"));
        REQUIRE_FALSE(sent);
        CHECK(sent.error().code == Errc::kBusy);
        CHECK(std::chrono::steady_clock::now() - begin < 8s);
        CHECK(cluster.run([&] { return cluster.broker().frames.size(); }) == 1);
    }

    TEST_CASE("numbered frames that are put off at random are stored once, in order") {
        const std::uint64_t seed = test_seed();
        CAPTURE(seed);
        FakeCluster cluster;
        cluster.create_topic("T", 2);
        cluster.run([&] {
            auto random = std::make_shared<Random>(seed);
            cluster.broker().on_send = [random](const SeenFrame&) -> SendAction {
                switch (random->below(4)) {
                    case 0:
                        return limited(static_cast<std::int64_t>(random->below(5)));
                    case 1:
                        return limited(0);
                    default:
                        return {};
                }
            };
        });
        Producer::Options options;
        options.idempotent = true;
        options.batch_bytes_max = 400;
        options.deadline = 20s;
        auto producer = Producer::create(cluster.connect(), options).value();
        constexpr int kMessages = 2'000;
        std::atomic<int> good{0};
        for (int i = 0; i < kMessages; ++i) {
            const QueueId queue{"T", cluster.broker().name(), i % 2};
            REQUIRE(producer->send_async_to(
                message_of("T", std::to_string(i)), queue, [&good](Result<SendReceipt> sent) {
                    good += sent ? 1 : 0;
                }));
        }
        REQUIRE(producer->flush(20s));
        CHECK(good == kMessages);
        for (std::int32_t queue = 0; queue < 2; ++queue) {
            std::vector<std::string> wanted;
            for (int i = queue; i < kMessages; i += 2) {
                wanted.push_back(std::to_string(i));
            }
            CHECK(stored(cluster, queue) == wanted);
        }
    }
}

}  // namespace gantry::client::test

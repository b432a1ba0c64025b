// SPDX-License-Identifier: Apache-2.0
#include "client/consumer.h"
#include "client/producer.h"
#include "protocol/wire/properties.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <charconv>
#include <future>
#include <string>
#include <utility>
#include <vector>

namespace gantry::client::test {
namespace {

Message living(std::chrono::milliseconds time_to_live) {
    Message message = message_of("T", "x");
    message.time_to_live = time_to_live;
    return message;
}

}  // namespace

TEST_SUITE("client/time to live") {
    TEST_CASE("the end of a message's life counts from its send, and its receiver can read it") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        const std::shared_ptr<Client> client = cluster.connect();
        auto producer = Producer::create(client, {}).value();
        const WallMs before = SystemClock().wall_ms();
        REQUIRE(producer->send(living(std::chrono::hours(1))));
        const WallMs behind = SystemClock().wall_ms();
        REQUIRE(producer->send(living(0ms)));
        PullConsumer::Options options;
        options.start_from.kind = StartFrom::Kind::kFirst;
        auto consumer = PullConsumer::create(client, options).value();
        REQUIRE(consumer->assign({{"T", "broker-a", 0}}));
        std::vector<WallMs> ends;
        REQUIRE(wait_until([&] {
            for (const MessageView& message : consumer->poll(10ms)) {
                ends.push_back(message.expires_ms());
            }
            return ends.size() == 2;
        }));
        CHECK(ends[0] >= before + 3'600'000);
        CHECK(ends[0] <= behind + 3'600'000);
        CHECK(ends[1] == 0);
    }

    TEST_CASE("message ids in a batch are right, and what cannot be is refused") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Producer::Options options;
        options.linger = 50ms;
        auto producer = Producer::create(cluster.connect(), options).value();
        std::vector<std::future<Result<SendReceipt>>> futures;
        for (const std::chrono::milliseconds life : {1ms, 0ms, 86'400'000'000ms}) {
            auto promise = std::make_shared<std::promise<Result<SendReceipt>>>();
            futures.push_back(promise->get_future());
            REQUIRE(producer->send_async(living(life), [promise](Result<SendReceipt> result) {
                promise->set_value(std::move(result));
            }));
        }
        std::int64_t at = 0;
        for (std::size_t i = 0; i < futures.size(); ++i) {
            const Result<SendReceipt> result = futures[i].get();
            REQUIRE(result);
            CHECK(std::strtoll(result->message_id.substr(16).c_str(), nullptr, 16) == at);
            at += cluster.run([&] {
                return static_cast<std::int64_t>(cluster.broker().queues[{"T", 0}][i].bytes.size());
            });
        }
        CHECK(producer->send(living(-1ms)).error().code == Errc::kRefused);
        const auto refused = producer->send(living(std::chrono::hours(24 * 3'654)));
        REQUIRE_FALSE(refused);
        CHECK(refused.error().detail == "time_to_live 315705600000 ms is not within 0 to 10 years");
    }
}

}  // namespace gantry::client::test

// SPDX-License-Identifier: Apache-2.0
// What becomes of sends when another broker takes over as master.
#include "client/producer.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <future>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace gantry::client::test {
namespace {

using Kind = SendAction::Kind;

/// An address that refuses connections: bound, and nobody listens.
class DeadAddress {
public:
    DeadAddress() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in any{};
        any.sin_family = AF_INET;
        any.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
        REQUIRE(::bind(socket_, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0);
        socklen_t length = sizeof any;
        REQUIRE(::getsockname(socket_, reinterpret_cast<sockaddr*>(&any), &length) == 0);
        text_ = "127.0.0.1:" + std::to_string(::ntohs(any.sin_port));
    }

    ~DeadAddress() { ::close(socket_); }

    DeadAddress(const DeadAddress&) = delete;
    DeadAddress& operator=(const DeadAddress&) = delete;

    const std::string& text() const { return text_; }

private:
    int socket_;
    std::string text_;
};

/// Two brokers of one name, "group"; the first is the master in epoch 1.
class Group {
public:
    Group() : cluster(2) { route(0, 1); }

    /// One of them is master, the other one its slave.
    void route(std::size_t master, std::int64_t epoch) {
        const std::size_t slave = 1 - master;
        cluster.route_group(
            "T",
            1,
            {{0, cluster.broker(master).address()},
             {static_cast<std::int64_t>(slave) + 1, cluster.broker(slave).address()}},
            epoch);
    }

    void always(std::size_t broker, SendAction action) {
        cluster.run([&] {
            cluster.broker(broker).on_send = [action](const SeenFrame&) { return action; };
        });
    }

    std::size_t stored(std::size_t broker) {
        return cluster.run([&] { return cluster.broker(broker).queues[{"T", 0}].size(); });
    }

    std::size_t seen(std::size_t broker) {
        return cluster.run([&] { return cluster.broker(broker).frames.size(); });
    }

    FakeCluster cluster;
};

/// Sends without waiting; the results come in order.
std::vector<std::future<Result<SendReceipt>>> start_sends(Producer& producer, int count) {
    std::vector<std::future<Result<SendReceipt>>> results;
    for (int i = 0; i < count; ++i) {
        auto promise = std::make_shared<std::promise<Result<SendReceipt>>>();
        results.push_back(promise->get_future());
        REQUIRE(producer.send_async(
            message_of("T", std::to_string(i)),
            [promise](Result<SendReceipt> r) { promise->set_value(std::move(r)); }));
    }
    return results;
}

Producer::Options patient() {
    Producer::Options options;
    options.deadline = 15s;
    options.retries_max = 0;
    return options;
}

}  // namespace

TEST_SUITE("client/fail-over of senders") {
    TEST_CASE_FIXTURE(Group, "who is told that another one is master waits, and sends there") {
        always(0, {Kind::kRefuse, wire::ResponseCode::kNotMaster});
        for (const bool is_idempotent : {false, true}) {
            route(0, is_idempotent ? 3 : 1);
            Producer::Options options = patient();
            options.idempotent = is_idempotent;
            auto producer = Producer::create(cluster.connect(), options).value();
            auto results = start_sends(*producer, 20);
            const std::size_t before = seen(0);
            REQUIRE(wait_until([&] { return seen(0) > before + 3; }));
            const std::size_t stored_before = stored(1);
            route(1, is_idempotent ? 4 : 2);
            for (auto& result : results) {
                const Result<SendReceipt> receipt = result.get();
                REQUIRE_MESSAGE(receipt, to_string(receipt.error()));
                CHECK(receipt->queue.broker == "group");
            }
            CHECK(stored(1) == stored_before + 20);
        }
        CHECK(stored(0) == 0);
    }

    TEST_CASE_FIXTURE(Group, "a route of a lower epoch is passed over") {
        auto client = cluster.connect();
        auto producer = Producer::create(client, patient()).value();
        REQUIRE(producer->send(message_of("T", "0")));
        route(1, 5);
        REQUIRE(wait_until([&] {
            REQUIRE(producer->send(message_of("T", "n")));
            return stored(1) > 0;
        }));
        const std::size_t before = stored(0);
        const auto asked = [&] {
            return cluster.run([&] { return cluster.nameserver().route_queries; });
        };
        const std::uint64_t queries = asked();
        route(0, 4);
        // Also by the way of a route that is asked for: of a topic that is new to the client.
        cluster.route_group("U", 1, {{0, cluster.broker(0).address()}}, 4);
        REQUIRE(producer->send(message_of("U", "u")));
        CHECK(asked() > queries);
        for (int i = 0; i < 5; ++i) {
            REQUIRE(producer->send(message_of("T", "after")));
        }
        CHECK(stored(0) == before);
    }

    TEST_CASE_FIXTURE(Group, "what waits for a dead master goes on at the new one") {
        const DeadAddress dead;
        cluster.route_group("T", 1, {{0, dead.text()}, {2, cluster.broker(1).address()}}, 1);
        auto producer = Producer::create(cluster.connect(), patient()).value();
        auto results = start_sends(*producer, 5);
        CHECK(results[0].wait_for(100ms) == std::future_status::timeout);
        const auto changed = std::chrono::steady_clock::now();
        route(1, 2);
        for (auto& result : results) {
            CHECK(result.get());
        }
        CHECK(std::chrono::steady_clock::now() - changed < 3s);
        CHECK(stored(1) == 5);
    }

    TEST_CASE_FIXTURE(Group, "an idempotent producer does not wait for a silent master") {
        Producer::Options options = patient();
        options.idempotent = true;
        auto producer = Producer::create(cluster.connect(), options).value();
        REQUIRE(producer->send(message_of("T", "first")));
        cluster.run([&] {
            // The new one has the first message, and the producer's number of it, by replication.
            cluster.broker(1).numbers = cluster.broker(0).numbers;
            cluster.broker(1).queues = cluster.broker(0).queues;
            cluster.broker(0).is_silent = true;
        });
        auto results = start_sends(*producer, 5);
        CHECK(results[0].wait_for(100ms) == std::future_status::timeout);
        const auto changed = std::chrono::steady_clock::now();
        route(1, 2);
        for (auto& result : results) {
            CHECK(result.get());
        }
        // An attempt may take 3.75 s by itself.
        CHECK(std::chrono::steady_clock::now() - changed < 3s);
        CHECK(stored(1) == 6);
    }

    TEST_CASE_FIXTURE(Group, "without numbers the outcome at a silent master stays unknown") {
        Producer::Options options = patient();
        options.retries_max = 5;
        auto producer = Producer::create(cluster.connect(), options).value();
        REQUIRE(producer->send(message_of("T", "first")));
        cluster.run([&] { cluster.broker(0).is_silent = true; });
        auto results = start_sends(*producer, 1);
        CHECK(results[0].wait_for(100ms) == std::future_status::timeout);
        route(1, 2);
        const Result<SendReceipt> result = results[0].get();
        REQUIRE(!result);
        CHECK(result.error().code == Errc::kUnknown);
        CHECK(stored(1) == 0);
    }

    TEST_CASE_FIXTURE(Group, "while there is no master sends wait for the next one") {
        cluster.route_group("T", 1, {{2, cluster.broker(1).address()}}, 1);
        auto producer = Producer::create(cluster.connect(), patient()).value();
        auto results = start_sends(*producer, 5);
        CHECK(results[0].wait_for(100ms) == std::future_status::timeout);
        CHECK(seen(1) == 0);
        route(1, 2);
        for (auto& result : results) {
            CHECK(result.get());
        }
        // The same, for a producer that has no link to the old one.
        const DeadAddress dead;
        cluster.route_group("T", 1, {{0, dead.text()}, {1, cluster.broker(0).address()}}, 3);
        auto later = Producer::create(cluster.connect(), patient()).value();
        auto more = start_sends(*later, 5);
        CHECK(more[0].wait_for(50ms) == std::future_status::timeout);
        cluster.route_group("T", 1, {{1, cluster.broker(0).address()}}, 3);
        CHECK(more[0].wait_for(100ms) == std::future_status::timeout);
        route(0, 4);
        for (auto& result : more) {
            CHECK(result.get());
        }
        CHECK(stored(0) + stored(1) == 10);
    }

    TEST_CASE_FIXTURE(Group, "a nameserver that has lost sight of the master stops nobody") {
        auto producer = Producer::create(cluster.connect(), patient()).value();
        REQUIRE(producer->send(message_of("T", "0")));
        cluster.route_group("T", 1, {{2, cluster.broker(1).address()}}, 1);
        for (int i = 0; i < 20; ++i) {
            REQUIRE(producer->send(message_of("T", "n")));
        }
        CHECK(stored(0) == 21);
    }

    TEST_CASE_FIXTURE(Group, "without a master for too long, sends fail and are not stored") {
        cluster.route_group("T", 1, {{2, cluster.broker(1).address()}}, 1);
        Producer::Options options;
        options.deadline = 200ms;
        auto producer = Producer::create(cluster.connect(), options).value();
        const Result<SendReceipt> result = producer->send(message_of("T", "x"));
        REQUIRE(!result);
        CHECK(result.error().code == Errc::kGone);
    }
}

}  // namespace gantry::client::test

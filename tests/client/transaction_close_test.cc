// SPDX-License-Identifier: Apache-2.0
#include "client/transaction_producer.h"
#include "tests/client/fake_transactions.h"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <vector>

namespace gantry::client::test {
namespace {

using Kind = SendAction::Kind;

/// A gate that callbacks wait at.
struct Gate {
    TransactionOutcome wait() {
        ++waiting;
        future.wait();
        return TransactionOutcome::kCommit;
    }

    void open() { promise.set_value(); }

    std::promise<void> promise;
    std::shared_future<void> future = promise.get_future().share();
    std::atomic<int> waiting{0};
};

TransactionOutcome knows_nothing(const MessageView&) {
    return TransactionOutcome::kUnknown;
}

std::unique_ptr<TransactionProducer> make(FakeCluster& cluster,
                                          const TransactionProducer::Options& options) {
    return TransactionProducer::create(cluster.connect(), options, knows_nothing).value();
}

TransactionProducer::Options options_of() {
    TransactionProducer::Options options;
    options.group = "PG";
    options.topics = {"T"};
    options.deadline = kPatience;
    return options;
}

}  // namespace

TEST_SUITE("client/transaction producer's end") {
    TEST_CASE("an undecided transaction outlives its producer, and the next one is asked") {
        FakeCluster cluster;
        FakeTransactions transactions(cluster);
        cluster.create_topic("T", 1);
        std::string id;
        {
            const auto producer = make(cluster, options_of());
            id = producer->begin(message_of("T", "x"))->id;
            REQUIRE(wait_until([&] { return transactions.has_producer("PG"); }));
            CHECK(producer->close(kPatience));
            CHECK(producer->close(0ms));
        }
        REQUIRE(wait_until([&] { return !transactions.has_producer("PG"); }));
        CHECK(transactions.half(0).words == 0);
        std::atomic<bool> is_asked{false};
        const auto next = TransactionProducer::create(
            cluster.connect(), options_of(), [&](const MessageView& message) {
                is_asked = message.property("UNIQ_KEY") == id;
                return TransactionOutcome::kCommit;
            });
        REQUIRE(next);
        // Nothing was sent by it: it is known from the topics in its options.
        REQUIRE(wait_until([&] { return transactions.has_producer("PG"); }));
        REQUIRE(wait_until([&] { return transactions.ask(0); }));
        CHECK(wait_until([&] { return transactions.half(0).words == 1; }));
        CHECK(is_asked);
    }

    TEST_CASE("close waits for what runs, then fails what has not begun") {
        FakeCluster cluster;
        FakeTransactions transactions(cluster);
        cluster.create_topic("T", 1);
        TransactionProducer::Options options = options_of();
        options.threads = 1;
        const auto producer = make(cluster, options);
        Gate gate;
        std::atomic<int> closed{0};
        std::atomic<int> committed{0};
        for (int i = 0; i < 5; ++i) {
            REQUIRE(producer->send_async(
                message_of("T", std::to_string(i)),
                [&](const Transaction&) { return gate.wait(); },
                [&](Result<TransactionReceipt> receipt) {
                    committed += receipt ? 1 : 0;
                    closed += !receipt && receipt.error().code == Errc::kClosed ? 1 : 0;
                }));
        }
        REQUIRE(wait_until([&] { return gate.waiting == 1; }));
        CHECK(producer->close(10ms).error().code == Errc::kTimeout);
        CHECK(closed == 4);
        CHECK(producer
                  ->send_async(
                      message_of("T", "late"),
                      [](const Transaction&) { return TransactionOutcome::kCommit; },
                      [](const Result<TransactionReceipt>&) {})
                  .error()
                  .code == Errc::kClosed);
        CHECK(producer->begin(message_of("T", "late")).error().code == Errc::kClosed);
        gate.open();
        CHECK(wait_until([&] { return committed == 1; }));
        CHECK(wait_until([&] { return producer->close(0ms).has_value(); }));
        CHECK(transactions.halves().size() == 1);
    }

    TEST_CASE("the destructor waits for callbacks that run") {
        FakeCluster cluster;
        FakeTransactions transactions(cluster);
        cluster.create_topic("T", 1);
        Gate gate;
        std::atomic<int> ended{0};
        auto producer =
            TransactionProducer::create(cluster.connect(), options_of(), [&](const MessageView&) {
                const TransactionOutcome outcome = gate.wait();
                ++ended;
                return outcome;
            }).value();
        REQUIRE(producer->begin(message_of("T", "x")));
        REQUIRE(wait_until([&] { return transactions.ask(0); }));
        REQUIRE(wait_until([&] { return gate.waiting == 1; }));
        std::thread destroyer([&] { producer.reset(); });
        CHECK(ended == 0);
        gate.open();
        destroyer.join();
        CHECK(ended == 1);
        CHECK(gate.waiting == 1);
    }

    TEST_CASE("questions above checks_waiting_max are dropped, and may come again") {
        FakeCluster cluster;
        FakeTransactions transactions(cluster);
        cluster.create_topic("T", 1);
        Gate gate;
        TransactionProducer::Options options = options_of();
        options.threads = 1;
        options.checks_waiting_max = 1;
        const auto client = cluster.connect();
        const auto producer = TransactionProducer::create(client, options, [&](const MessageView&) {
                                  return gate.wait();
                              }).value();
        REQUIRE(producer->begin(message_of("T", "a")));
        REQUIRE(producer->begin(message_of("T", "b")));
        REQUIRE(wait_until([&] { return transactions.ask(0); }));
        REQUIRE(wait_until([&] { return gate.waiting == 1; }));
        REQUIRE(transactions.ask(1));
        REQUIRE(wait_until([&] {
            return client->metrics()
                       .values()["gantry_client_transaction_questions_dropped_total"] == 1;
        }));
        gate.open();
        REQUIRE(wait_until([&] { return transactions.half(0).words == 1; }));
        CHECK(transactions.half(1).words == 0);
        REQUIRE(wait_until([&] { return transactions.ask(1) && transactions.half(1).words > 0; }));
    }

    TEST_CASE("above in_flight_max sends are refused as busy") {
        FakeCluster cluster;
        FakeTransactions transactions(cluster);
        cluster.create_topic("T", 1);
        TransactionProducer::Options options = options_of();
        options.in_flight_max = 1;
        const auto producer = make(cluster, options);
        Gate gate;
        std::atomic<bool> is_done{false};
        REQUIRE(producer->send_async(
            message_of("T", "x"),
            [&](const Transaction&) { return gate.wait(); },
            [&](const Result<TransactionReceipt>&) { is_done = true; }));
        CHECK(producer->begin(message_of("T", "y")).error().code == Errc::kBusy);
        gate.open();
        REQUIRE(wait_until([&] { return is_done.load(); }));
        CHECK(wait_until([&] { return producer->begin(message_of("T", "y")).has_value(); }));
    }

    TEST_CASE("options and messages that cannot be are refused with their names") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        const auto client = cluster.connect();
        const auto refusal = [&](const TransactionProducer::Options& options) {
            const auto made = TransactionProducer::create(client, options, knows_nothing);
            return made ? std::string() : made.error().detail;
        };
        TransactionProducer::Options options = options_of();
        options.threads = 0;
        CHECK(refusal(options) == "threads 0 is not within 1 to 256");
        options = options_of();
        options.deadline = 0ms;
        CHECK(refusal(options) == "deadline 0 is not above 0 ms");
        options = options_of();
        options.group = "a b";
        CHECK(refusal(options).find("group") != std::string::npos);
        CHECK(TransactionProducer::create(client, options_of(), nullptr).error().code ==
              Errc::kRefused);
        const auto producer = make(cluster, options_of());
        CHECK(producer->begin(message_of("no topic", "x")).error().code == Errc::kRefused);
        CHECK(producer->begin(message_of("NONE", "x")).error().code == Errc::kNotFound);
        CHECK(producer->begin(message_of("T", std::string(5U << 20U, 'x'))).error().code ==
              Errc::kRefused);
    }
}

}  // namespace gantry::client::test

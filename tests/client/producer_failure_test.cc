// SPDX-License-Identifier: Apache-2.0
#include "client/producer.h"
#include "common/random.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <vector>

namespace gantry::client::test {
namespace {

using Kind = SendAction::Kind;

void always(FakeCluster& cluster, std::size_t broker, SendAction action) {
    cluster.run(
        [&] { cluster.broker(broker).on_send = [action](const SeenFrame&) { return action; }; });
}

/// Now and then cuts, refuses or does not answer.
void misbehave(FakeCluster& cluster, std::uint64_t seed) {
    cluster.run([&] {
        auto dice = std::make_shared<Random>(seed);
        for (std::size_t i = 0; i < cluster.broker_count(); ++i) {
            cluster.broker(i).on_send = [dice](const SeenFrame&) {
                switch (dice->below(40)) {
                    case 0:
                        return SendAction{Kind::kCut};
                    case 1:
                        return SendAction{Kind::kStoreCut};
                    case 2:
                        return SendAction{Kind::kRefuse, wire::ResponseCode::kSystemBusy};
                    case 3:
                        return SendAction{Kind::kStoreMute};
                    default:
                        return SendAction{};
                }
            };
        }
    });
}

std::map<std::string, int> copies_of_bodies(FakeCluster& cluster) {
    return cluster.run([&] {
        std::map<std::string, int> copies;
        for (std::size_t i = 0; i < cluster.broker_count(); ++i) {
            for (const auto& [key, records] : cluster.broker(i).queues) {
                for (const StoredRecord& record : records) {
                    ++copies[record.body];
                }
            }
        }
        return copies;
    });
}

std::size_t frames(FakeCluster& cluster, std::size_t broker = 0) {
    return cluster.run([&] { return cluster.broker(broker).frames.size(); });
}

}  // namespace

TEST_SUITE("client/producer failures") {
    TEST_CASE("a refusal that means not stored is repeated on another broker") {
        FakeCluster cluster(2);
        cluster.create_topic("T", 1);
        always(cluster, 0, {Kind::kRefuse, wire::ResponseCode::kDiskFull});
        auto producer = Producer::create(cluster.connect(), {}).value();
        for (int i = 0; i < 10; ++i) {
            const Result<SendReceipt> receipt = producer->send(message_of("T", "x"));
            REQUIRE(receipt);
            CHECK(receipt->queue.broker == "broker-b");
        }
        CHECK(cluster.stored_count("T") == 10);
        // After its first failure the broker is only probed.
        CHECK(frames(cluster, 0) < 5);
    }

    TEST_CASE("with one broker the same queue is tried again, then the last error is told") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        always(cluster, 0, {Kind::kRefuse, wire::ResponseCode::kSystemBusy});
        Producer::Options options;
        options.retries_max = 2;
        auto producer = Producer::create(cluster.connect(), options).value();
        const Result<SendReceipt> result = producer->send(message_of("T", "x"));
        REQUIRE_FALSE(result);
        CHECK(result.error().code == Errc::kBusy);
        CHECK(frames(cluster) == 3);
    }

    TEST_CASE("what the message itself is refused for is not repeated") {
        FakeCluster cluster(2);
        cluster.create_topic("T", 1);
        for (std::size_t i = 0; i < 2; ++i) {
            always(cluster, i, {Kind::kRefuse, wire::ResponseCode::kMessageIllegal});
        }
        auto producer = Producer::create(cluster.connect(), {}).value();
        CHECK(producer->send(message_of("T", "x")).error().code == Errc::kRefused);
        CHECK(frames(cluster, 0) + frames(cluster, 1) == 1);
    }

    TEST_CASE("no answer by the deadline is a time-out, and is not repeated") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        always(cluster, 0, {Kind::kStoreMute});
        Producer::Options options;
        options.deadline = 100ms;
        auto producer = Producer::create(cluster.connect(), options).value();
        const Result<SendReceipt> result = producer->send(message_of("T", "x"));
        REQUIRE_FALSE(result);
        CHECK(result.error().code == Errc::kTimeout);
        CHECK(frames(cluster) == 1);
        CHECK(cluster.stored_count("T") == 1);
    }

    TEST_CASE("a connection lost after the message left is an unknown outcome") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        auto producer = Producer::create(cluster.connect(), {}).value();
        REQUIRE(producer->send(message_of("T", "warm")));
        always(cluster, 0, {Kind::kStoreCut});
        const Result<SendReceipt> result = producer->send(message_of("T", "x"));
        REQUIRE_FALSE(result);
        CHECK(result.error().code == Errc::kUnknown);
        CHECK(cluster.stored_count("T") == 2);
        always(cluster, 0, {});
        CHECK(producer->send(message_of("T", "after")));
    }

    TEST_CASE("with retry_unknown an unknown outcome is repeated: at least once") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Producer::Options options;
        options.retry_unknown = true;
        auto producer = Producer::create(cluster.connect(), options).value();
        REQUIRE(producer->send(message_of("T", "warm")));
        cluster.run([&] {
            auto cuts = std::make_shared<int>(1);
            cluster.broker().on_send = [cuts](const SeenFrame&) {
                return SendAction{(*cuts)-- > 0 ? Kind::kStoreCut : Kind::kStore};
            };
        });
        CHECK(producer->send(message_of("T", "x")));
        CHECK(cluster.stored_count("T") == 3);
    }

    TEST_CASE("a broker that is away until the deadline is gone, and nothing was sent") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        cluster.run([&] {
            wire::TopicRouteData route;
            auto& broker = *route.add_brokerdatas();
            broker.set_brokername("dead");
            (*broker.mutable_brokeraddrs())[0] = "127.0.0.1:1";
            auto& queues = *route.add_queuedatas();
            queues.set_brokername("dead");
            queues.set_perm(6);
            queues.set_readqueuenums(1);
            queues.set_writequeuenums(1);
            cluster.nameserver().set_route("Dead", route);
        });
        Producer::Options options;
        options.deadline = 150ms;
        auto producer = Producer::create(cluster.connect(), options).value();
        const Result<SendReceipt> result = producer->send(message_of("Dead", "x"));
        REQUIRE_FALSE(result);
        CHECK(result.error().code == Errc::kGone);
    }

    TEST_CASE("without a nameserver a send ends by its deadline") {
        Client::Options client_options;
        client_options.nameservers = {"127.0.0.1:1", "127.0.0.1:2"};
        Producer::Options options;
        options.deadline = 200ms;
        auto producer = Producer::create(Client::start(client_options).value(), options).value();
        const Result<SendReceipt> result = producer->send(message_of("T", "x"));
        REQUIRE_FALSE(result);
        CHECK(result.error().code == Errc::kGone);
    }

    TEST_CASE("a dead nameserver in the list costs no send") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Client::Options client_options;
        client_options.nameservers = {"127.0.0.1:1",
                                      cluster.run([&] { return cluster.nameserver().address(); })};
        auto producer = Producer::create(cluster.connect(client_options), {}).value();
        CHECK(producer->send(message_of("T", "x")));
    }

    TEST_CASE("a new route takes the messages that wait to its broker") {
        FakeCluster cluster(2);
        cluster.route_topic("T", 1, {0});
        Producer::Options options;
        options.max_batches_in_flight = 1;
        options.deadline = 10s;
        auto producer = Producer::create(cluster.connect(), options).value();
        REQUIRE(producer->send(message_of("T", "warm")));
        always(cluster, 0, {Kind::kHold});
        std::atomic<int> done{0};
        std::atomic<int> elsewhere{0};
        for (int i = 0; i < 10; ++i) {
            REQUIRE(producer->send_async(message_of("T", "x"), [&](const Result<SendReceipt>& r) {
                elsewhere += r && r->queue.broker == "broker-b" ? 1 : 0;
                ++done;
            }));
            REQUIRE(wait_until(
                [&] { return cluster.run([&] { return cluster.broker().held() > 0; }); }));
        }
        cluster.route_topic("T", 1, {1});
        CHECK(wait_until([&] { return elsewhere.load() == 9; }));
        cluster.run([&] { cluster.broker().release_held(); });
        CHECK(wait_until([&] { return done.load() == 10; }));
    }

    TEST_CASE("keyed messages keep their order over retries with one batch in flight") {
        FakeCluster cluster(2);
        cluster.create_topic("T", 2);
        cluster.run([&] {
            for (std::size_t i = 0; i < 2; ++i) {
                auto count = std::make_shared<int>(0);
                cluster.broker(i).on_send = [count](const SeenFrame&) {
                    const bool refuses = ++*count % 3 != 0;
                    return refuses ? SendAction{Kind::kRefuse, wire::ResponseCode::kSystemBusy}
                                   : SendAction{};
                };
            }
        });
        Producer::Options options;
        options.max_batches_in_flight = 1;
        options.retries_max = 10;
        options.batch_bytes_max = 1'000;
        options.deadline = 20s;
        auto producer = Producer::create(cluster.connect(), options).value();
        std::atomic<int> done{0};
        std::atomic<int> failed{0};
        for (int i = 0; i < 200; ++i) {
            REQUIRE(producer->send_async(
                message_of("T", std::to_string(i)), "key", [&](const Result<SendReceipt>& r) {
                    failed += r ? 0 : 1;
                    ++done;
                }));
        }
        REQUIRE(wait_until([&] { return done.load() == 200; }));
        CHECK(failed == 0);
        std::vector<int> order;
        for (std::size_t b = 0; b < 2; ++b) {
            for (int q = 0; q < 2; ++q) {
                for (const std::string& body : cluster.run([&] {
                         std::vector<std::string> all;
                         for (const auto& r : cluster.broker(b).queues[{"T", q}]) {
                             all.push_back(r.body);
                         }
                         return all;
                     })) {
                    order.push_back(std::stoi(body));
                }
            }
        }
        CHECK(order.size() == 200);
        CHECK(std::is_sorted(order.begin(), order.end()));
    }

    TEST_CASE("close ends what is unanswered with a time-out, and refuses what comes later") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Producer::Options options;
        options.max_batches_in_flight = 1;
        auto producer = Producer::create(cluster.connect(), options).value();
        REQUIRE(producer->send(message_of("T", "warm")));
        always(cluster, 0, {Kind::kHold});
        std::atomic<int> timeouts{0};
        std::atomic<int> gone{0};
        const auto count = [&](const Result<SendReceipt>& r) {
            timeouts += !r && r.error().code == Errc::kTimeout ? 1 : 0;
            gone += !r && r.error().code == Errc::kGone ? 1 : 0;
        };
        REQUIRE(producer->send_async(message_of("T", "in flight"), count));
        REQUIRE(
            wait_until([&] { return cluster.run([&] { return cluster.broker().held() == 1; }); }));
        REQUIRE(producer->send_async(message_of("T", "waiting"), count));
        const Status closed = producer->close(50ms);
        CHECK(closed.error().code == Errc::kTimeout);
        CHECK(timeouts == 1);
        CHECK(gone == 1);
        CHECK(producer->send_async(message_of("T", "late"), count).error().code == Errc::kClosed);
        CHECK(producer->send(message_of("T", "late")).error().code == Errc::kClosed);
        CHECK(producer->close(1s));
        cluster.run([&] { cluster.broker().release_held(); });
    }

    TEST_CASE("a producer may be destroyed in its own callback") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        auto client = cluster.connect();
        auto producer = Producer::create(client, {}).value();
        std::atomic<bool> destroyed{false};
        REQUIRE(producer->send_async(message_of("T", "x"), [&](const Result<SendReceipt>&) {
            producer.reset();
            destroyed = true;
        }));
        CHECK(wait_until([&] { return destroyed.load(); }));
    }

    TEST_CASE("every send ends exactly once, whatever happens to the connections") {
        Random random(test_seed());
        for (int round = 0; round < 5; ++round) {
            FakeCluster cluster(2);
            cluster.create_topic("T", 2);
            misbehave(cluster, random.next());
            constexpr int kMessages = 2'000;
            Client::Options client_options;
            client_options.loop_count = 2;
            Producer::Options options;
            options.deadline = 400ms;
            options.batch_bytes_max = random.below(2) == 0 ? 0 : 2'000;
            options.max_batches_in_flight = 2;
            auto producer = Producer::create(cluster.connect(client_options), options).value();
            std::vector<std::atomic<int>> ended(kMessages);
            std::vector<std::atomic<bool>> stored(kMessages);
            std::atomic<int> total{0};
            for (int i = 0; i < kMessages; ++i) {
                const auto at = static_cast<std::size_t>(i);
                REQUIRE(producer->send_async(message_of("T", std::to_string(i)),
                                             [&, at](const Result<SendReceipt>& r) {
                                                 ++ended[at];
                                                 stored[at] = r.has_value();
                                                 ++total;
                                             }));
            }
            if (round % 2 == 0) {
                REQUIRE(wait_until([&] { return total.load() == kMessages; }));
            }
            static_cast<void>(producer->close(100ms));
            CHECK(total.load() == kMessages);
            std::map<std::string, int> copies = copies_of_bodies(cluster);
            for (std::size_t i = 0; i < kMessages; ++i) {
                CHECK(ended[i].load() == 1);
                // Retries happen only after "not stored": never twice.
                CHECK(copies[std::to_string(i)] <= 1);
                CHECK((!stored[i].load() || copies[std::to_string(i)] == 1));
            }
        }
    }
}

}  // namespace gantry::client::test

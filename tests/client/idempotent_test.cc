// SPDX-License-Identifier: Apache-2.0
#include "client/producer.h"
#include "common/random.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace gantry::client::test {
namespace {

using Kind = SendAction::Kind;
using Bodies = std::vector<std::string>;

Producer::Options idempotent(std::uint32_t batch_bytes_max = 0) {
    Producer::Options options;
    options.idempotent = true;
    options.batch_bytes_max = batch_bytes_max;
    options.deadline = 20s;
    return options;
}

/// Does `action` with the frames of these indexes, counted over all, and stores the others.
void act_on(FakeCluster& cluster, const std::set<std::size_t>& frames, SendAction action) {
    cluster.run([&] {
        FakeBroker& broker = cluster.broker();
        broker.on_send = [&broker, frames, action](const SeenFrame&) {
            return frames.count(broker.frames.size() - 1) != 0 ? action : SendAction{};
        };
    });
}

Bodies stored(FakeCluster& cluster, std::int32_t queue = 0, std::size_t broker = 0) {
    return cluster.run([&] {
        Bodies bodies;
        for (const StoredRecord& record : cluster.broker(broker).queues[{"T", queue}]) {
            bodies.push_back(record.body);
        }
        return bodies;
    });
}

std::vector<SeenFrame> seen(FakeCluster& cluster) {
    return cluster.run([&] { return cluster.broker().frames; });
}

/// Sends messages "0", "1", … without waiting for each; their results.
std::vector<Result<SendReceipt>> send_many(Producer& producer, int from, int to) {
    std::vector<std::future<Result<SendReceipt>>> futures;
    for (int i = from; i < to; ++i) {
        auto promise = std::make_shared<std::promise<Result<SendReceipt>>>();
        futures.push_back(promise->get_future());
        REQUIRE(producer.send_async(
            message_of("T", std::to_string(i)),
            [promise](Result<SendReceipt> result) { promise->set_value(std::move(result)); }));
    }
    std::vector<Result<SendReceipt>> results;
    for (auto& future : futures) {
        results.push_back(future.get());
    }
    return results;
}

Bodies numbers_between(int from, int to) {
    Bodies bodies;
    for (int i = from; i < to; ++i) {
        bodies.push_back(std::to_string(i));
    }
    return bodies;
}

void check_all_stored(const std::vector<Result<SendReceipt>>& results) {
    for (std::size_t i = 0; i < results.size(); ++i) {
        REQUIRE_MESSAGE(results[i], (results[i] ? "" : to_string(results[i].error())));
        CHECK(results[i]->queue_offset == static_cast<std::int64_t>(i));
    }
}

}  // namespace

TEST_SUITE("client/idempotent producer") {
    TEST_CASE("frames to a queue are numbered by their messages, each queue from 0") {
        FakeCluster cluster;
        cluster.create_topic("T", 2);
        auto producer = Producer::create(cluster.connect(), idempotent()).value();
        for (const std::int32_t queue : {0, 1, 0}) {
            REQUIRE(producer->send_to(message_of("T", "x"), {"T", "broker-a", queue}));
        }
        REQUIRE(producer->send_oneway(message_of("T", "x")));
        REQUIRE(wait_until([&] { return seen(cluster).size() == 4; }));
        const std::vector<SeenFrame> frames = seen(cluster);
        REQUIRE(frames[0].number);
        const std::uint64_t id = frames[0].number->producer;
        CHECK(frames[0].number == wire::SendNumber{id, 0, 0});
        CHECK(frames[1].number == wire::SendNumber{id, 0, 0});
        CHECK(frames[2].number == wire::SendNumber{id, 0, 1});
        CHECK_FALSE(frames[3].number);
        auto other = Producer::create(cluster.connect(), idempotent()).value();
        REQUIRE(other->send(message_of("T", "x")));
        CHECK(seen(cluster).back().number->producer != id);
    }

    TEST_CASE(
        "an unknown outcome resolves: the same frame goes to the same queue until it is known") {
        FakeCluster cluster;
        cluster.create_topic("T", 4);
        SUBCASE("the connection is lost behind it, stored") {
            act_on(cluster, {0, 1}, {Kind::kStoreCut});
        }
        SUBCASE("the connection is lost behind it, not stored") {
            act_on(cluster, {0, 1}, {Kind::kCut});
        }
        SUBCASE("stored, and no answer") {
            act_on(cluster, {0, 1}, {Kind::kStoreMute});
        }
        SUBCASE("the broker does not know") {
            act_on(cluster, {0, 1}, {Kind::kRefuse, wire::ResponseCode::kUnknownOutcome});
        }
        Producer::Options options = idempotent(32 << 10U);
        options.deadline = 4s;  // an attempt takes a second at most
        auto producer = Producer::create(cluster.connect(), options).value();
        const Result<SendReceipt> sent = producer->send(message_of("T", "x"));
        REQUIRE(sent);
        CHECK(sent->queue_offset == 0);
        CHECK(cluster.stored_count("T") == 1);
        const std::vector<SeenFrame> frames = seen(cluster);
        REQUIRE(frames.size() == 3);
        CHECK(frames[1].number == frames[0].number);
        CHECK(frames[2].number == frames[0].number);
        CHECK(frames[2].queue == frames[0].queue);
    }

    TEST_CASE(
        "with several frames in flight, failures of some change no order and store none twice") {
        constexpr int kMessages = 60;
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        std::uint32_t batch = 0;
        SUBCASE("refused for the moment, one by one") {
            act_on(cluster, {3, 4, 20}, {Kind::kRefuse, wire::ResponseCode::kSystemBusy});
        }
        SUBCASE("cut off") {
            act_on(cluster, {3, 9, 30}, {Kind::kCut});
        }
        SUBCASE("cut off when stored") {
            act_on(cluster, {3, 9, 30}, {Kind::kStoreCut});
        }
        SUBCASE("in batches") {
            batch = 1'000;
            act_on(cluster, {1, 2}, {Kind::kRefuse, wire::ResponseCode::kDiskFull});
        }
        auto producer = Producer::create(cluster.connect(), idempotent(batch)).value();
        check_all_stored(send_many(*producer, 0, kMessages));
        CHECK(stored(cluster) == numbers_between(0, kMessages));
    }

    TEST_CASE("a broker that lost what it acknowledged gets the rest in a new epoch") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        auto producer = Producer::create(cluster.connect(), idempotent()).value();
        check_all_stored(send_many(*producer, 0, 5));
        cluster.run([&] {
            FakeNumbers::Known& known = cluster.broker().numbers.known.begin()->second;
            known.next = 3;  // as if a power cut had taken two
            known.answers.erase(3);
            known.answers.erase(4);
        });
        check_all_stored([&] {
            std::vector<Result<SendReceipt>> results = send_many(*producer, 5, 20);
            results.insert(results.begin(), 5, SendReceipt{});
            for (int i = 0; i < 5; ++i) {
                results[static_cast<std::size_t>(i)]->queue_offset = i;
            }
            return results;
        }());
        CHECK(stored(cluster) == numbers_between(0, 20));
        CHECK(seen(cluster).back().number->epoch == 1);
    }

    TEST_CASE("a broker that forgot the producer gets a new epoch, if nothing is uncertain") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        auto producer = Producer::create(cluster.connect(), idempotent()).value();
        REQUIRE(producer->send(message_of("T", "0")));
        SUBCASE("nothing is") {
            cluster.run([&] { cluster.broker().numbers.known.clear(); });
            REQUIRE(producer->send(message_of("T", "1")));
            CHECK(stored(cluster) == numbers_between(0, 2));
        }
        SUBCASE("one may have been stored") {
            cluster.run([&] {
                FakeBroker& broker = cluster.broker();
                broker.on_send = [&broker](const SeenFrame&) {
                    if (broker.frames.size() == 2) {
                        return SendAction{Kind::kStoreCut};
                    }
                    if (broker.frames.size() == 3) {
                        broker.numbers.known.clear();
                    }
                    return SendAction{};
                };
            });
            const Result<SendReceipt> sent = producer->send(message_of("T", "1"));
            REQUIRE_FALSE(sent);
            CHECK(sent.error().code == Errc::kUnknown);
            REQUIRE(producer->send(message_of("T", "2")));
            CHECK(stored(cluster) == numbers_between(0, 3));
        }
    }

    TEST_CASE(
        "a deadline that comes first says unknown, and later messages do not suffer from it") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Producer::Options options = idempotent();
        options.deadline = 300ms;
        auto producer = Producer::create(cluster.connect(), options).value();
        REQUIRE(producer->send(message_of("T", "0")));
        Bodies expected{"0"};
        SUBCASE("it was stored") {
            act_on(cluster, {1}, {Kind::kStoreMute});
            expected.emplace_back("1");
        }
        SUBCASE("it was not") {
            cluster.run([&] {
                FakeBroker& broker = cluster.broker();
                broker.on_send = [&broker](const SeenFrame&) {
                    return broker.frames.size() == 2 ? SendAction{Kind::kHold} : SendAction{};
                };
            });
        }
        const Result<SendReceipt> sent = producer->send(message_of("T", "1"));
        REQUIRE_FALSE(sent);
        CHECK(sent.error().code == Errc::kTimeout);
        REQUIRE(producer->send(message_of("T", "2")));
        REQUIRE(producer->send(message_of("T", "3")));
        // What was on its way all the time comes at last, and is of an epoch that is over.
        cluster.run([&] { cluster.broker().release_held(); });
        REQUIRE(producer->send(message_of("T", "4")));
        expected.insert(expected.end(), {"2", "3", "4"});
        CHECK(stored(cluster) == expected);
    }

    TEST_CASE("what never left goes to another broker") {
        FakeCluster cluster(2);
        cluster.create_topic("T", 1);
        cluster.run([&] {
            wire::TopicRouteData route;
            for (const char* const name : {"broker-a", "broker-b"}) {
                auto& broker = *route.add_brokerdatas();
                broker.set_brokername(name);
                (*broker.mutable_brokeraddrs())[0] =
                    name == std::string("broker-a") ? "127.0.0.1:1" : cluster.broker(1).address();
                auto& queues = *route.add_queuedatas();
                queues.set_brokername(name);
                queues.set_perm(6);
                queues.set_readqueuenums(1);
                queues.set_writequeuenums(1);
            }
            cluster.nameserver().set_route("T", route);
        });
        auto producer = Producer::create(cluster.connect(), idempotent()).value();
        for (int i = 0; i < 20; ++i) {
            const Result<SendReceipt> sent = producer->send(message_of("T", std::to_string(i)));
            REQUIRE_MESSAGE(sent, (sent ? "" : to_string(sent.error())));
            CHECK(sent->queue.broker == "broker-b");
        }
        CHECK(stored(cluster, 0, 1) == numbers_between(0, 20));
    }

    TEST_CASE("options and properties that cannot be are refused") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Producer::Options options = idempotent();
        options.deadline = 301s;
        CHECK(Producer::create(cluster.connect(), options).error().code == Errc::kRefused);
        auto producer = Producer::create(cluster.connect(), idempotent()).value();
        Message message = message_of("T", "x");
        message.properties.emplace_back("GSEQ", "1");
        CHECK(producer->send(message).error().code == Errc::kRefused);
        // Room is left for the number.
        message.properties = {{"p", std::string(32'767 - 3, 'x')}};
        CHECK(producer->send(message).error().code == Errc::kRefused);
        message.properties = {{"p", std::string(32'767 - 3 - 48, 'x')}};
        CHECK(producer->send(message));
    }

    TEST_CASE("message ids are right behind a number in the frame") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Producer::Options options = idempotent(32 << 10U);
        options.linger = 50ms;
        auto producer = Producer::create(cluster.connect(), options).value();
        const std::vector<Result<SendReceipt>> results = send_many(*producer, 0, 5);
        check_all_stored(results);
        REQUIRE(seen(cluster).size() == 1);
        std::int64_t at = 0;
        for (std::size_t i = 0; i < results.size(); ++i) {
            const std::size_t bytes = cluster.run([&] {
                return cluster.broker().queues[{"T", 0}][i].bytes.size();
            });
            CHECK(std::strtoll(results[i]->message_id.substr(16).c_str(), nullptr, 16) == at);
            at += static_cast<std::int64_t>(bytes);
        }
    }

    TEST_CASE("among random failures every message is stored once, in order") {
        constexpr int kMessages = 3'000;
        FakeCluster cluster;
        cluster.create_topic("T", 3);
        auto dice = std::make_shared<Random>(test_seed());
        cluster.run([&] {
            cluster.broker().on_send = [dice](const SeenFrame&) {
                switch (dice->below(200)) {
                    case 0:
                        return SendAction{Kind::kCut};
                    case 1:
                        return SendAction{Kind::kStoreCut};
                    case 2:
                        return SendAction{Kind::kRefuse, wire::ResponseCode::kSystemBusy};
                    case 3:
                        return SendAction{Kind::kRefuse, wire::ResponseCode::kUnknownOutcome};
                    default:
                        return SendAction{};
                }
            };
        });
        Producer::Options options = idempotent(dice->below(2) == 0 ? 0 : 500);
        options.deadline = 60s;
        auto producer = Producer::create(cluster.connect(), options).value();
        for (const Result<SendReceipt>& result : send_many(*producer, 0, kMessages)) {
            REQUIRE_MESSAGE(result, (result ? "" : to_string(result.error())));
        }
        std::set<int> all;
        for (std::int32_t queue = 0; queue < 3; ++queue) {
            int last = -1;
            for (const std::string& body : stored(cluster, queue)) {
                const int number = std::stoi(body);
                CHECK(all.insert(number).second);
                CHECK(number > last);
                last = number;
            }
        }
        CHECK(all.size() == std::size_t{kMessages});
    }
}

}  // namespace gantry::client::test

// SPDX-License-Identifier: Apache-2.0
#include "client/producer.h"

#include "protocol/wire/message_id.h"
#include "protocol/wire/record.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <set>

namespace gantry::client::test {
namespace {

/// Results of asynchronous sends, by the order of their completion.
struct Results {
    Producer::Done collect() {
        return [this](Result<SendReceipt> result) {
            const std::lock_guard lock(mutex);
            results.push_back(std::move(result));
            ++count;
        };
    }

    bool wait_for_count(std::size_t wanted) {
        return wait_until([&] { return count.load() >= wanted; });
    }

    std::mutex mutex;
    std::vector<Result<SendReceipt>> results;
    std::atomic<std::size_t> count{0};
};

std::vector<std::string> bodies(FakeCluster& cluster,
                                std::size_t broker,
                                const std::string& topic,
                                std::int32_t queue) {
    return cluster.run([&] {
        std::vector<std::string> all;
        for (const StoredRecord& record : cluster.broker(broker).queues[{topic, queue}]) {
            all.push_back(record.body);
        }
        return all;
    });
}

std::size_t frame_count(FakeCluster& cluster, std::size_t broker = 0) {
    return cluster.run([&] { return cluster.broker(broker).frames.size(); });
}

void hold_all(FakeCluster& cluster) {
    cluster.run([&] {
        for (std::size_t i = 0; i < cluster.broker_count(); ++i) {
            cluster.broker(i).on_send = [](const SeenFrame&) {
                return SendAction{SendAction::Kind::kHold};
            };
        }
    });
}

void release_all(FakeCluster& cluster) {
    cluster.run([&] {
        for (std::size_t i = 0; i < cluster.broker_count(); ++i) {
            cluster.broker(i).on_send = nullptr;
            cluster.broker(i).release_held();
        }
    });
}

std::size_t held(FakeCluster& cluster) {
    return cluster.run([&] {
        std::size_t count = 0;
        for (std::size_t i = 0; i < cluster.broker_count(); ++i) {
            count += cluster.broker(i).held();
        }
        return count;
    });
}

}  // namespace

TEST_SUITE("client/producer") {
    TEST_CASE("a message is stored as sent and the receipt says where") {
        FakeCluster cluster;
        cluster.create_topic("T", 2);
        auto producer = Producer::create(cluster.connect(), {}).value();
        Message message = message_of("T", "body");
        message.tag = "red";
        message.keys = {"k1", "k2"};
        message.properties = {{"colour", "deep"}};
        message.flag = 7;
        const Result<SendReceipt> receipt = producer->send(message);
        REQUIRE(receipt);
        CHECK(receipt->queue.topic == "T");
        CHECK(receipt->queue.broker == "broker-a");
        CHECK(receipt->queue_offset == 0);
        CHECK(receipt->message_id.size() == 32);
        const std::string stored = cluster.run([&] {
            return cluster.broker().queues[{"T", receipt->queue.queue}].front().bytes;
        });
        const wire::Record record = wire::parse_record(as_bytes(stored)).value();
        CHECK(record.topic == "T");
        CHECK(as_text(record.body) == "body");
        CHECK(record.flag == 7);
        CHECK(record.queue_id == receipt->queue.queue);
        CHECK(wire::body_crc_matches(record));
        CHECK(record.born_ms > 0);
        const std::string expected =
            "KEYS\x01"
            "k1 k2\x02"
            "TAGS\x01"
            "red\x02"
            "colour\x01"
            "deep\x02";
        CHECK(record.properties == expected);
        CHECK(cluster.run([&] { return cluster.broker().frames.front().has_keys; }));
        CHECK(cluster.run([&] { return cluster.broker().frames.front().has_tags; }));
    }

    TEST_CASE("receipts of a batch count on from the first offset and log offset") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Producer::Options options;
        options.max_batches_in_flight = 1;
        auto producer = Producer::create(cluster.connect(), options).value();
        REQUIRE(producer->send(message_of("T", "first")));
        hold_all(cluster);
        Results results;
        for (int i = 0; i < 20; ++i) {
            REQUIRE(producer->send_async(message_of("T", std::string(10, 'x')), results.collect()));
        }
        REQUIRE(wait_until([&] { return held(cluster) >= 1; }));
        release_all(cluster);
        REQUIRE(results.wait_for_count(20));
        std::set<std::string> ids;
        for (std::size_t i = 0; i < 20; ++i) {
            REQUIRE(results.results[i]);
            CHECK(results.results[i]->queue_offset == static_cast<std::int64_t>(i) + 1);
            const auto at = static_cast<std::size_t>(results.results[i]->queue_offset);
            const std::string stored = cluster.run([&] {
                return cluster.broker().queues[{"T", 0}][at].bytes;
            });
            const wire::Record record = wire::parse_record(as_bytes(stored)).value();
            CHECK(results.results[i]->message_id ==
                  wire::format_message_id({record.store_host, record.log_offset}));
            ids.insert(results.results[i]->message_id);
        }
        CHECK(ids.size() == 20);
    }

    TEST_CASE("messages gather while the batches in flight are unanswered") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Producer::Options options;
        options.max_batches_in_flight = 1;
        options.batch_bytes_max = 1'000'000;
        auto producer = Producer::create(cluster.connect(), options).value();
        REQUIRE(producer->send(message_of("T", "warm")));
        hold_all(cluster);
        Results results;
        REQUIRE(producer->send_async(message_of("T", "lone"), results.collect()));
        REQUIRE(wait_until([&] { return held(cluster) == 1; }));
        for (int i = 0; i < 500; ++i) {
            REQUIRE(producer->send_async(message_of("T", "gathered"), results.collect()));
        }
        CHECK(frame_count(cluster) == 2);
        release_all(cluster);
        REQUIRE(results.wait_for_count(501));
        const std::vector<SeenFrame> frames = cluster.run([&] { return cluster.broker().frames; });
        REQUIRE(frames.size() >= 3);
        CHECK(frames[1].count == 1);
        // All of them, but for what the loop took in before the last send.
        CHECK(frames[2].count + (frames.size() > 3 ? frames[3].count : 0) == 500);
    }

    TEST_CASE("a batch is no longer than batch_bytes_max, a longer message goes alone") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Producer::Options options;
        options.max_batches_in_flight = 1;
        options.batch_bytes_max = 4'096;
        auto producer = Producer::create(cluster.connect(), options).value();
        REQUIRE(producer->send(message_of("T", "warm")));
        hold_all(cluster);
        Results results;
        for (int i = 0; i < 100; ++i) {
            const std::size_t size = i % 10 == 9 ? 10'000 : 500;
            REQUIRE(
                producer->send_async(message_of("T", std::string(size, 'b')), results.collect()));
        }
        release_all(cluster);
        REQUIRE(results.wait_for_count(100));
        for (const SeenFrame& frame : cluster.run([&] { return cluster.broker().frames; })) {
            CHECK((frame.bytes <= 4'096 || frame.count == 1));
        }
        CHECK(cluster.stored_count("T") == 101);
    }

    TEST_CASE("with batches off every message is a frame of its own, many in flight") {
        FakeCluster cluster;
        cluster.create_topic("T", 4);
        Producer::Options options;
        options.batch_bytes_max = 0;
        options.in_flight_max = 64;
        auto producer = Producer::create(cluster.connect(), options).value();
        REQUIRE(producer->send(message_of("T", "warm")));
        hold_all(cluster);
        Results results;
        for (int i = 0; i < 64; ++i) {
            REQUIRE(producer->send_async(message_of("T", "one"), results.collect()));
        }
        REQUIRE(wait_until([&] { return held(cluster) == 64; }));
        const Status refused = producer->send_async(message_of("T", "more"), results.collect());
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == Errc::kBusy);
        CHECK(refused.error().detail.find("in_flight_max 64") != std::string::npos);
        release_all(cluster);
        REQUIRE(results.wait_for_count(64));
        CHECK(frame_count(cluster) == 65);
        CHECK(results.count == 64);
    }

    TEST_CASE("free messages visit every queue of every broker") {
        FakeCluster cluster(2);
        cluster.create_topic("T", 3);
        auto producer = Producer::create(cluster.connect(), {}).value();
        std::set<std::pair<std::string, int>> seen;
        for (int i = 0; i < 6; ++i) {
            const Result<SendReceipt> receipt = producer->send(message_of("T", "x"));
            REQUIRE(receipt);
            seen.emplace(receipt->queue.broker, receipt->queue.queue);
        }
        CHECK(seen.size() == 6);
    }

    TEST_CASE("messages of one key stay on one queue in order") {
        FakeCluster cluster(2);
        cluster.create_topic("T", 4);
        auto producer = Producer::create(cluster.connect(), {}).value();
        Results results;
        for (int i = 0; i < 1'000; ++i) {
            const std::string key = "key" + std::to_string(i % 7);
            REQUIRE(producer->send_async(
                message_of("T", key + ":" + std::to_string(i)), key, results.collect()));
        }
        REQUIRE(results.wait_for_count(1'000));
        std::map<std::string, int> last;
        std::map<std::string, std::pair<std::size_t, int>> home;
        for (std::size_t broker = 0; broker < 2; ++broker) {
            for (int queue = 0; queue < 4; ++queue) {
                for (const std::string& body : bodies(cluster, broker, "T", queue)) {
                    const std::string key = body.substr(0, body.find(':'));
                    const int number = std::stoi(body.substr(body.find(':') + 1));
                    if (last.count(key) != 0) {
                        CHECK(number > last[key]);
                        CHECK(home[key] == std::pair{broker, queue});
                    }
                    last[key] = number;
                    home[key] = {broker, queue};
                }
            }
        }
        CHECK(last.size() == 7);
    }

    TEST_CASE("a selector and a given queue decide") {
        FakeCluster cluster;
        cluster.create_topic("T", 4);
        auto producer = Producer::create(cluster.connect(), {}).value();
        CHECK(
            producer->send_to(message_of("T", "given"), QueueId{"T", "broker-a", 3})->queue.queue ==
            3);
        const Result<SendReceipt> none =
            producer->send_to(message_of("T", "given"), QueueId{"T", "broker-a", 4});
        REQUIRE_FALSE(none);
        CHECK(none.error().code == Errc::kNotFound);
        producer->set_selector([](std::span<const QueueId> queues, const Message& message) {
            return message.body == "bad" ? queues.size() : std::size_t{2};
        });
        CHECK(producer->send(message_of("T", "good"))->queue.queue == 2);
        const Result<SendReceipt> bad = producer->send(message_of("T", "bad"));
        REQUIRE_FALSE(bad);
        CHECK(bad.error().code == Errc::kRefused);
    }

    TEST_CASE("what breaks a limit is refused at the door and names field, value and limit") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Producer::Options options;
        options.message_bytes_max = 100;
        auto producer = Producer::create(cluster.connect(), options).value();
        const auto refusal = [&](Message message) {
            const Result<SendReceipt> result = producer->send(std::move(message));
            REQUIRE_FALSE(result);
            CHECK(result.error().code == Errc::kRefused);
            return result.error().detail;
        };
        CHECK(refusal(message_of("T", std::string(101, 'x'))) ==
              "body 101 B > message_bytes_max 100 B");
        CHECK(refusal(message_of("bad topic", "x")).find("topic") != std::string::npos);
        CHECK(refusal(message_of(std::string(128, 't'), "x")).find("127") != std::string::npos);
        Message keyed = message_of("T", "x");
        keyed.keys = {"a key"};
        CHECK(refusal(keyed).find("a key") != std::string::npos);
        Message wide = message_of("T", "x");
        wide.properties = {{"name", std::string(32'768, 'v')}};
        CHECK(refusal(wide).find("32767") != std::string::npos);
        Message split = message_of("T", "x");
        split.properties = {{"na\x01me", "value"}};
        CHECK(refusal(split).find("separator") != std::string::npos);
        Message reserved = message_of("T", "x");
        reserved.properties = {{"TAGS", "value"}};
        CHECK(refusal(reserved).find("reserved") != std::string::npos);
        CHECK(frame_count(cluster) == 0);
    }

    TEST_CASE("an unknown topic is not found and a read-only one is denied") {
        FakeCluster cluster;
        cluster.create_topic("ReadOnly", 1, 4);
        auto producer = Producer::create(cluster.connect(), {}).value();
        CHECK(producer->send(message_of("Nowhere", "x")).error().code == Errc::kNotFound);
        CHECK(producer->send(message_of("ReadOnly", "x")).error().code == Errc::kDenied);
        CHECK(producer->queues("Nowhere").error().code == Errc::kNotFound);
    }

    TEST_CASE("an unknown topic is sent to the brokers of the auto-create template") {
        FakeCluster cluster;
        cluster.create_topic("TBW102", 8, 7);
        auto producer = Producer::create(cluster.connect(), {}).value();
        const Result<SendReceipt> receipt = producer->send(message_of("New", "x"));
        REQUIRE(receipt);
        CHECK(receipt->queue.topic == "New");
        CHECK(cluster.stored_count("New") == 1);
        CHECK(producer->queues("New").error().code == Errc::kNotFound);
    }

    TEST_CASE("one-way messages are stored and nobody answers") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        auto producer = Producer::create(cluster.connect(), {}).value();
        REQUIRE(producer->send(message_of("T", "warm")));
        for (int i = 0; i < 50; ++i) {
            REQUIRE(producer->send_oneway(message_of("T", "oneway")));
        }
        CHECK(wait_until([&] { return cluster.stored_count("T") == 51; }));
        CHECK(cluster.run([&] { return cluster.broker().frames.back().is_oneway; }));
    }

    TEST_CASE("sending from a callback needs no other thread") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        auto producer = Producer::create(cluster.connect(), {}).value();
        std::atomic<int> left{200};
        std::atomic<bool> failed{false};
        std::function<void(Result<SendReceipt>)> next = [&](const Result<SendReceipt>& result) {
            if (!result) {
                failed = true;
            }
            if (--left > 0 && !producer->send_async(message_of("T", "chain"), next)) {
                failed = true;
            }
        };
        REQUIRE(producer->send_async(message_of("T", "chain"), next));
        CHECK(wait_until([&] { return left.load() <= 0 || failed.load(); }));
        CHECK_FALSE(failed.load());
        CHECK(cluster.stored_count("T") == 200);
    }

    TEST_CASE("a memory limit pushes back and gives way when answers come") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Client::Options client_options;
        client_options.memory_bytes_max = 10'000;
        auto producer = Producer::create(cluster.connect(client_options), {}).value();
        REQUIRE(producer->send(message_of("T", "warm")));
        hold_all(cluster);
        Results results;
        std::size_t accepted = 0;
        Status status = ok();
        while ((status = producer->send_async(message_of("T", std::string(1'000, 'm')),
                                              results.collect()))) {
            ++accepted;
        }
        CHECK(status.error().code == Errc::kBusy);
        CHECK(status.error().detail.find("memory_bytes_max 10000") != std::string::npos);
        CHECK(accepted == 9);
        release_all(cluster);
        REQUIRE(results.wait_for_count(accepted));
        CHECK(producer->send(message_of("T", std::string(1'000, 'm'))));
    }

    TEST_CASE("flush waits for what is in flight, and says how much is not answered") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        auto producer = Producer::create(cluster.connect(), {}).value();
        REQUIRE(producer->send(message_of("T", "warm")));
        CHECK(producer->flush(1s));
        hold_all(cluster);
        Results results;
        REQUIRE(producer->send_async(message_of("T", "held"), results.collect()));
        const Status late = producer->flush(20ms);
        REQUIRE_FALSE(late);
        CHECK(late.error().code == Errc::kTimeout);
        release_all(cluster);
        CHECK(producer->flush(10s));
        CHECK(results.count == 1);
    }

    TEST_CASE("a producer that lingers gathers without being asked to wait") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Producer::Options options;
        options.linger = 50ms;
        auto producer = Producer::create(cluster.connect(), options).value();
        REQUIRE(producer->send(message_of("T", "warm")));
        Results results;
        for (int i = 0; i < 10; ++i) {
            REQUIRE(producer->send_async(message_of("T", "slow"), results.collect()));
        }
        REQUIRE(results.wait_for_count(10));
        CHECK(frame_count(cluster) <= 3);
    }

    TEST_CASE("producers register with the broker and a closed one is gone from it") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        auto client = cluster.connect();
        Producer::Options options;
        options.group = "PG";
        auto producer = Producer::create(client, options).value();
        REQUIRE(producer->send(message_of("T", "x")));
        CHECK(wait_until([&] {
            return cluster.run([&] { return cluster.broker().producers.count("PG") == 1; });
        }));
        producer.reset();
        CHECK(wait_until([&] {
            return cluster.run([&] { return cluster.broker().producers.count("PG") == 0; });
        }));
    }
}

}  // namespace gantry::client::test

// SPDX-License-Identifier: Apache-2.0
#include "client/consumer.h"

#include "client/producer.h"
#include "protocol/wire/properties.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <set>

namespace gantry::client::test {
namespace {

void store_numbers(
    FakeCluster& cluster, const std::string& topic, std::int32_t queue, int count, int first = 0) {
    cluster.run([&] {
        for (int i = first; i < first + count; ++i) {
            cluster.broker().store(topic, queue, std::to_string(i), i % 2 == 0 ? "even" : "odd");
        }
    });
}

PullConsumer::Options from_first(const std::string& group = {}) {
    PullConsumer::Options options;
    options.group = group;
    options.start_from.kind = StartFrom::Kind::kFirst;
    options.poll_hold = 1s;
    return options;
}

/// Polls until `count` messages have come.
std::vector<MessageView> poll_count(PullConsumer& consumer, std::size_t count) {
    std::vector<MessageView> all;
    wait_until([&] {
        for (MessageView& message : consumer.poll(50ms, count - all.size())) {
            all.push_back(std::move(message));
        }
        return all.size() >= count;
    });
    return all;
}

}  // namespace

TEST_SUITE("client/pull_consumer") {
    TEST_CASE("an assigned queue is read in order, with what the broker stored") {
        FakeCluster cluster;
        cluster.create_topic("T", 2);
        auto client = cluster.connect();
        auto producer = Producer::create(client, {}).value();
        Message message = message_of("T", "first");
        message.tag = "red";
        message.keys = {"k1", "k2"};
        message.properties = {{"colour", "deep"}};
        message.flag = 9;
        const QueueId queue{"T", "broker-a", 1};
        const SendReceipt receipt = producer->send_to(message, queue).value();
        store_numbers(cluster, "T", 1, 500);
        auto consumer = PullConsumer::create(client, from_first()).value();
        CHECK(consumer->queues("T")->size() == 2);
        REQUIRE(consumer->assign({queue}));
        const std::vector<MessageView> messages = poll_count(*consumer, 501);
        REQUIRE(messages.size() == 501);
        const MessageView& first = messages.front();
        CHECK(first.topic() == "T");
        CHECK(first.body() == "first");
        CHECK(first.tag() == "red");
        CHECK(first.keys() == "k1 k2");
        CHECK(first.property("colour") == "deep");
        CHECK(first.property("none").empty());
        CHECK(first.flag() == 9);
        CHECK(first.broker() == "broker-a");
        CHECK(first.queue() == 1);
        CHECK(first.queue_offset() == 0);
        CHECK(first.message_id() == receipt.message_id);
        CHECK(first.offset_message_id() == receipt.message_id);
        CHECK(first.reconsume_times() == 0);
        CHECK(first.store_ms() == 1'700'000'000'000);
        CHECK(first.born_ms() > 0);
        for (int i = 0; i < 500; ++i) {
            const MessageView& view = messages[static_cast<std::size_t>(i) + 1];
            CHECK(view.body() == std::to_string(i));
            CHECK(view.queue_offset() == i + 1);
        }
        CHECK(consumer->position(queue) == 501);
        CHECK(consumer->poll(0ms).empty());
    }

    TEST_CASE("a view keeps its bytes alive when the consumer is gone") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        store_numbers(cluster, "T", 0, 3);
        std::vector<MessageView> messages;
        {
            auto consumer = PullConsumer::create(cluster.connect(), from_first()).value();
            REQUIRE(consumer->assign({QueueId{"T", "broker-a", 0}}));
            messages = poll_count(*consumer, 3);
        }
        REQUIRE(messages.size() == 3);
        CHECK(messages[2].body() == "2");
        CHECK(messages[2].broker() == "broker-a");
        CHECK(MessageView{}.queue_offset() == 0);
        CHECK(MessageView{}.broker().empty());
    }

    TEST_CASE("a poll is woken by a message that arrives while it waits") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        auto consumer = PullConsumer::create(cluster.connect(), from_first()).value();
        REQUIRE(consumer->assign({QueueId{"T", "broker-a", 0}}));
        REQUIRE(wait_until(
            [&] { return cluster.run([&] { return !cluster.broker().pulls.empty(); }); }));
        std::thread sender([&] { store_numbers(cluster, "T", 0, 1); });
        const std::vector<MessageView> messages = consumer->poll(10s);
        sender.join();
        CHECK(messages.size() == 1);
    }

    TEST_CASE("where a group without offsets starts") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        store_numbers(cluster, "T", 0, 10);
        cluster.run([&] { cluster.broker().truncate_below("T", 0, 4); });
        const QueueId queue{"T", "broker-a", 0};
        const auto start = [&](StartFrom from, const std::string& group) {
            PullConsumer::Options options;
            options.group = group;
            options.start_from = from;
            auto consumer = PullConsumer::create(cluster.connect(), options).value();
            REQUIRE(consumer->assign({queue}));
            return consumer->position(queue);
        };
        CHECK(start({StartFrom::Kind::kLast, 0}, "") == 10);
        CHECK(start({StartFrom::Kind::kFirst, 0}, "") == 4);
        CHECK(start({StartFrom::Kind::kTimestamp, 1}, "") == 4);
        CHECK(start({StartFrom::Kind::kTimestamp, 1'800'000'000'000}, "") == 10);
        CHECK(start({StartFrom::Kind::kFirst, 0}, "G") == 4);
        cluster.run([&] { cluster.broker().committed["G"][{"T", 0}] = 7; });
        CHECK(start({StartFrom::Kind::kFirst, 0}, "G") == 7);
    }

    TEST_CASE("a tag filter holds against colliding hashes, and the position moves over the rest") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        REQUIRE(wire::tag_hash("Aa") == wire::tag_hash("BB"));
        cluster.run([&] {
            for (int i = 0; i < 30; ++i) {
                cluster.broker().store("T",
                                       0,
                                       std::to_string(i),
                                       i % 3 == 0   ? "Aa"
                                       : i % 3 == 1 ? "BB"
                                                    : "C");
            }
        });
        auto client = cluster.connect();
        auto consumer = PullConsumer::create(client, from_first("G")).value();
        cluster.run([&] { cluster.broker().members["G"]; });
        REQUIRE(consumer->subscribe("T", "Aa || D"));
        const std::vector<MessageView> messages = poll_count(*consumer, 10);
        REQUIRE(messages.size() == 10);
        for (const MessageView& message : messages) {
            CHECK(message.tag() == "Aa");
        }
        CHECK(consumer->poll(0ms).empty());
        CHECK(consumer->position(QueueId{"T", "broker-a", 0}) == 30);
        CHECK(consumer->subscribe("T", "||").error().code == Errc::kRefused);
    }

    TEST_CASE("seek, pause and resume") {
        FakeCluster cluster;
        cluster.create_topic("T", 2);
        store_numbers(cluster, "T", 0, 100);
        store_numbers(cluster, "T", 1, 100);
        auto consumer = PullConsumer::create(cluster.connect(), from_first()).value();
        const QueueId first{"T", "broker-a", 0};
        const QueueId second{"T", "broker-a", 1};
        REQUIRE(consumer->assign({first, second}));
        consumer->pause(second);
        std::vector<MessageView> messages = poll_count(*consumer, 100);
        for (const MessageView& message : messages) {
            CHECK(message.queue() == 0);
        }
        CHECK(consumer->poll(20ms).empty());
        REQUIRE(consumer->seek(first, 90));
        CHECK(consumer->position(first) == 90);
        messages = poll_count(*consumer, 10);
        CHECK(messages.front().queue_offset() == 90);
        consumer->resume(second);
        messages = poll_count(*consumer, 100);
        CHECK(messages.front().queue() == 1);
        CHECK(consumer->seek(QueueId{"T", "broker-a", 7}, 0).error().code == Errc::kNotFound);
        CHECK(consumer->seek(first, -1).error().code == Errc::kRefused);
    }

    TEST_CASE("an offset out of range moves to the nearest and is counted") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        store_numbers(cluster, "T", 0, 10);
        cluster.run([&] { cluster.broker().truncate_below("T", 0, 5); });
        auto consumer = PullConsumer::create(cluster.connect(), from_first()).value();
        const QueueId queue{"T", "broker-a", 0};
        REQUIRE(consumer->assign({queue}));
        REQUIRE(consumer->seek(queue, 0));
        CHECK(poll_count(*consumer, 5).front().queue_offset() == 5);
        CHECK(consumer->out_of_range_count() == 1);
        REQUIRE(consumer->seek(queue, 1'000));
        CHECK(wait_until(
            [&] { return consumer->poll(5ms).empty() && consumer->position(queue) == 10; }));
        CHECK(consumer->out_of_range_count() == 2);
    }

    TEST_CASE("offsets are committed, told and asked for") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        store_numbers(cluster, "T", 0, 10);
        auto consumer = PullConsumer::create(cluster.connect(), from_first("G")).value();
        const QueueId queue{"T", "broker-a", 0};
        CHECK_FALSE(consumer->committed(queue)->has_value());
        REQUIRE(consumer->assign({queue}));
        CHECK(poll_count(*consumer, 6).size() == 6);
        REQUIRE(consumer->commit());
        CHECK(cluster.run([&] { return cluster.broker().committed["G"][{"T", 0}]; }) == 6);
        CHECK(consumer->committed(queue)->value() == 6);
        const auto requests = cluster.run([&] { return cluster.broker().commit_requests; });
        REQUIRE(consumer->commit());
        CHECK(cluster.run([&] { return cluster.broker().commit_requests; }) == requests);
        REQUIRE(consumer->commit(queue, 2));
        CHECK(consumer->committed(queue)->value() == 2);
        CHECK(consumer->min_offset(queue).value() == 0);
        CHECK(consumer->max_offset(queue).value() == 10);
        CHECK(consumer->offset_by_time(queue, 1).value() == 0);
        CHECK(consumer->max_offset(QueueId{"T", "elsewhere", 0}).error().code == Errc::kNotFound);
        auto nobody = PullConsumer::create(cluster.connect(), from_first()).value();
        CHECK(nobody->commit().error().code == Errc::kRefused);
    }

    TEST_CASE("no more than buffer_bytes_max is fetched ahead, and all comes in the end") {
        FakeCluster cluster;
        cluster.create_topic("T", 2);
        cluster.run([&] {
            for (int i = 0; i < 400; ++i) {
                cluster.broker().store("T", i % 2, std::string(1'000, 'x'));
            }
        });
        PullConsumer::Options options = from_first();
        options.pull_bytes_max = 5'000;
        options.buffer_bytes_max = 20'000;
        Client::Options client_options;
        auto consumer = PullConsumer::create(cluster.connect(client_options), options).value();
        REQUIRE(consumer->assign({{"T", "broker-a", 0}, {"T", "broker-a", 1}}));
        const auto pulls = [&] {
            return cluster.run([&] { return cluster.broker().pulls.size(); });
        };
        REQUIRE(wait_until([&] { return pulls() >= 4; }));
        std::size_t before = 0;
        wait_until([&] { return std::exchange(before, pulls()) == pulls(); });
        CHECK(pulls() <= 6);
        CHECK(poll_count(*consumer, 400).size() == 400);
    }

    TEST_CASE("a cut connection costs nothing but time") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        store_numbers(cluster, "T", 0, 100);
        PullConsumer::Options options = from_first();
        options.pull_messages_max = 10;
        auto consumer = PullConsumer::create(cluster.connect(), options).value();
        REQUIRE(consumer->assign({QueueId{"T", "broker-a", 0}}));
        std::vector<MessageView> all = poll_count(*consumer, 20);
        cluster.run([&] { cluster.broker().cut_all(); });
        store_numbers(cluster, "T", 0, 100, 100);
        for (MessageView& message : poll_count(*consumer, 180)) {
            all.push_back(std::move(message));
        }
        REQUIRE(all.size() == 200);
        for (std::size_t i = 0; i < all.size(); ++i) {
            CHECK(all[i].body() == std::to_string(i));
        }
    }

    TEST_CASE("an early empty answer is no reason to ask in circles") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        cluster.run([&] { cluster.broker().answers_empty_at_once = true; });
        auto consumer = PullConsumer::create(cluster.connect(), from_first()).value();
        REQUIRE(consumer->assign({QueueId{"T", "broker-a", 0}}));
        CHECK(consumer->poll(300ms).empty());
        CHECK(cluster.run([&] { return cluster.broker().pulls.size(); }) < 40);
    }

    TEST_CASE("assign refuses what does not exist and does not mix with subscribe") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        auto consumer = PullConsumer::create(cluster.connect(), from_first("G")).value();
        CHECK(consumer->assign({{"Nowhere", "broker-a", 0}}).error().code == Errc::kNotFound);
        CHECK(consumer->assign({{"T", "broker-a", 1}}).error().code == Errc::kNotFound);
        CHECK(consumer->assign({{"T", "broker-x", 0}}).error().code == Errc::kNotFound);
        REQUIRE(consumer->assign({{"T", "broker-a", 0}}));
        CHECK(consumer->subscribe("T").error().code == Errc::kConflict);
        REQUIRE(consumer->assign({}));
        CHECK(consumer->assignment().empty());
    }
}

}  // namespace gantry::client::test

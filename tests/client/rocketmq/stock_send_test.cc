// SPDX-License-Identifier: Apache-2.0
#include "client/produce/rocketmq_send.h"
#include "client/producer.h"
#include "protocol/wire/properties.h"
#include "tests/client/rocketmq/stock_broker.h"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <utility>

namespace gantry::client::test {
namespace {

using wire::RequestCode;
using wire::ResponseCode;

/// Sends them all without waiting, then waits for the receipts.
std::vector<Result<SendReceipt>> send_all(Producer& producer,
                                          StockBroker& broker,
                                          std::vector<Message> messages) {
    std::vector<std::future<Result<SendReceipt>>> futures;
    broker.hold();
    for (Message& message : messages) {
        auto promise = std::make_shared<std::promise<Result<SendReceipt>>>();
        futures.push_back(promise->get_future());
        REQUIRE(producer.send_async(std::move(message), [promise](Result<SendReceipt> result) {
            promise->set_value(std::move(result));
        }));
        if (futures.size() == 1) {
            REQUIRE(wait_until([&] { return !broker.seen().empty(); }));
        }
    }
    broker.release();
    std::vector<Result<SendReceipt>> results;
    for (auto& future : futures) {
        results.push_back(future.get());
    }
    return results;
}

Message marked(const std::string& body, int number) {
    Message message = message_of("T", body);
    message.tag = "A";
    message.keys = {"k" + std::to_string(number)};
    message.properties = {{"color", "red"}};
    message.flag = 7 + number;
    return message;
}

}  // namespace

TEST_SUITE("client/rocketmq_send") {
    TEST_CASE("a message by itself is a V2 send, those that wait are a batch") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        StockBroker broker(cluster);
        Producer::Options options;
        options.group = "makers";
        auto producer = Producer::create(connect_stock(cluster), options).value();
        const auto results =
            send_all(*producer, broker, {marked("one", 0), marked("two", 1), marked("three", 2)});
        const std::vector<StockSend> seen = broker.seen();
        REQUIRE(seen.size() == 2);
        CHECK(seen[0].code == RequestCode::kSendMessageV2);
        CHECK(seen[0].codec == wire::Codec::kJson);
        CHECK(seen[0].body == "one");
        CHECK(seen[0].fields.producergroup() == "makers");
        CHECK(seen[0].fields.topic() == "T");
        CHECK(seen[0].fields.defaulttopic() == "TBW102");
        CHECK(seen[0].fields.flag() == 7);
        CHECK(wire::find_property(seen[0].fields.properties(), "color") == "red");
        CHECK(wire::find_property(seen[0].fields.properties(), "KEYS") == "k0");
        CHECK(seen[1].code == RequestCode::kSendBatchMessage);
        CHECK(seen[1].fields.batch());
        const auto batch = wire::parse_batch(as_bytes(seen[1].body), 10).value();
        REQUIRE(batch.size() == 2);
        CHECK(as_text(batch[0].body) == "two");
        CHECK(batch[1].flag == 9);
        CHECK(wire::find_property(batch[1].properties, "TAGS") == "A");
        REQUIRE(results.size() == 3);
        for (std::size_t i = 0; i < results.size(); ++i) {
            REQUIRE(results[i]);
            CHECK(results[i]->queue_offset == static_cast<std::int64_t>(i));
            CHECK(results[i]->message_id == "id-" + std::to_string(i));
            CHECK(results[i]->queue == QueueId{"T", "broker-a", 0});
        }
    }

    TEST_CASE("what a batch cannot hold goes by itself, in its turn") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        StockBroker broker(cluster);
        Producer::Options options;
        options.compression.method = Compression::Method::kZlib;
        options.compression.body_bytes_min = 100;
        auto producer = Producer::create(connect_stock(cluster), options).value();
        Message levelled = message_of("T", "levelled");
        levelled.properties = {{"DELAY", "3"}};
        const auto results = send_all(*producer,
                                      broker,
                                      {message_of("T", "a"),
                                       message_of("T", "b"),
                                       message_of("T", std::string(1'000, 'c')),
                                       levelled,
                                       message_of("T", "d"),
                                       message_of("T", "e")});
        std::vector<std::pair<std::int32_t, bool>> kinds;
        for (const StockSend& send : broker.seen()) {
            kinds.emplace_back(send.fields.sysflag(), send.fields.batch());
        }
        CHECK(kinds == std::vector<std::pair<std::int32_t, bool>>{
                           {0, false}, {0, false}, {0x301, false}, {0, false}, {0, true}});
        for (std::size_t i = 0; i < results.size(); ++i) {
            REQUIRE(results[i]);
            CHECK(results[i]->queue_offset == static_cast<std::int64_t>(i));
        }
    }

    TEST_CASE("a queue has one request on its way, as brokers store them in any order") {
        FakeCluster cluster;
        cluster.create_topic("T", 2);
        StockBroker broker(cluster);
        Producer::Options options;
        options.batch_bytes_max = 0;
        auto producer = Producer::create(connect_stock(cluster), options).value();
        broker.hold();
        std::atomic<int> done{0};
        for (int i = 0; i < 6; ++i) {
            REQUIRE(producer->send_async_to(message_of("T", std::to_string(i)),
                                            {"T", "broker-a", i % 2},
                                            [&done](const Result<SendReceipt>&) { ++done; }));
        }
        REQUIRE(wait_until([&] { return broker.seen().size() == 2; }));
        broker.release();
        REQUIRE(wait_until([&] { return done == 6; }));
        std::vector<std::string> bodies[2];
        for (const StockSend& send : broker.seen()) {
            bodies[send.fields.queueid()].push_back(send.body);
        }
        CHECK(bodies[0] == std::vector<std::string>{"0", "2", "4"});
        CHECK(bodies[1] == std::vector<std::string>{"1", "3", "5"});
    }

    TEST_CASE("what a broker answers says whether the message is stored") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        StockBroker broker(cluster);
        auto producer = Producer::create(connect_stock(cluster), {}).value();
        for (const ResponseCode code : {ResponseCode::kFlushDiskTimeout,
                                        ResponseCode::kSlaveNotAvailable,
                                        ResponseCode::kFlushSlaveTimeout}) {
            broker.reply_once({{code}});
            CHECK(producer->send(message_of("T", "in the master's log")));
        }
        broker.reply_once({{ResponseCode::kSystemError, "[PC_SYNCHRONIZED]broker busy, start"},
                           {ResponseCode::kServiceNotAvailable, "shutting down"}});
        const std::size_t before = broker.seen().size();
        CHECK(producer->send(message_of("T", "repeated")));
        CHECK(broker.seen().size() == before + 3);
        const auto error_of = [&](StockBroker::Reply reply) {
            broker.reply_once({std::move(reply)});
            const Result<SendReceipt> sent = producer->send(message_of("T", "once"));
            REQUIRE_FALSE(sent);
            return sent.error().code;
        };
        CHECK(error_of({ResponseCode::kSystemError, "java.lang.X"}) == Errc::kUnknown);
        CHECK(error_of({ResponseCode::kSystemError, "o.a.r.acl.common.AclException: No"}) ==
              Errc::kDenied);
        CHECK(error_of({ResponseCode::kMessageIllegal, "too large"}) == Errc::kRefused);
        CHECK(error_of({ResponseCode::kNoPermission, "no"}) == Errc::kDenied);
    }

    TEST_CASE("brokers before 5.0 are told delays as levels") {
        Message message = message_of("T", "later");
        message.deliver_after = 30s;
        CHECK(delay_level_of(message) == 4);
        message.deliver_after = std::chrono::hours(2);
        CHECK(delay_level_of(message) == 18);
        message.deliver_after = 31s;
        CHECK(delay_level_of(message) == 0);
        wire::Header answer;
        answer.language = wire::Language::kJava;
        answer.version = 409;
        CHECK(delays_by_level(answer));
        answer.version = 479;
        CHECK_FALSE(delays_by_level(answer));
        answer.version = 409;
        answer.language = wire::Language::kCpp;
        CHECK_FALSE(delays_by_level(answer));
        Lane lane;
        Frame frame;
        frame.lane = &lane;
        message.deliver_after = std::chrono::minutes(1);
        message.tag = "A";
        frame.sends.emplace_back().message = message;
        const RocketMqSend levelled = rocketmq_send(frame, "g", true);
        CHECK(wire::find_property(levelled.fields.properties(), "DELAY") == "5");
        CHECK(wire::find_property(levelled.fields.properties(), "TIMER_DELAY_MS").empty());
        CHECK(wire::find_property(levelled.fields.properties(), "TAGS") == "A");
        const RocketMqSend timed = rocketmq_send(frame, "g", false);
        CHECK(wire::find_property(timed.fields.properties(), "TIMER_DELAY_MS") == "60000");
    }

    TEST_CASE("a delayed message waits until the broker has told its release") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        StockBroker broker(cluster);
        auto producer = Producer::create(connect_stock(cluster), {}).value();
        Message message = message_of("T", "later");
        message.deliver_after = 31s;
        REQUIRE(producer->send(message));
        const std::vector<StockSend> seen = broker.seen();
        REQUIRE(seen.size() == 1);
        CHECK(wire::find_property(seen[0].fields.properties(), "TIMER_DELAY_MS") == "31000");
    }
}

}  // namespace gantry::client::test

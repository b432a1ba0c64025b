// SPDX-License-Identifier: Apache-2.0
#include "client/consumer.h"
#include "client/producer.h"
#include "protocol/wire/properties.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::client::test {
namespace {

/// The requests in the topic's queue 0, as whoever replies would see them.
std::vector<wire::Record> requests(FakeCluster& cluster, std::vector<std::string>& keep) {
    keep = cluster.run([&] {
        std::vector<std::string> bytes;
        for (const StoredRecord& record : cluster.broker().queues[{"T", 0}]) {
            bytes.push_back(record.bytes);
        }
        return bytes;
    });
    std::vector<wire::Record> records;
    for (const std::string& bytes : keep) {
        records.push_back(wire::parse_record(as_bytes(bytes)).value());
    }
    return records;
}

std::string property(const wire::Record& record, std::string_view name) {
    return std::string(wire::find_property(record.properties, name));
}

/// Pushes a reply as a broker does.
bool push(FakeCluster& cluster, const std::string& id, const std::string& body) {
    wire::PushReplyMessageRequest fields;
    fields.set_producergroup("replier");
    fields.set_topic("cluster_REPLY_TOPIC");
    fields.set_defaulttopic("TBW102");
    fields.set_defaulttopicqueuenums(4);
    fields.set_queueid(0);
    fields.set_sysflag(0);
    fields.set_borntimestamp(5);
    fields.set_flag(0);
    std::string properties;
    static_cast<void>(wire::append_property(properties, wire::property::kCorrelationId, id));
    fields.set_properties(properties);
    fields.set_bornhost("127.0.0.1:7");
    fields.set_storehost("127.0.0.1:8");
    fields.set_storetimestamp(9);
    return cluster.run([&] {
        return cluster.broker().tell_producer(
            "PG", wire::RequestCode::kPushReplyMessageToClient, fields, body);
    });
}

struct Asking {
    explicit Asking(const Producer::Options& given = {}) {
        cluster.create_topic("T", 1);
        Producer::Options options = given;
        options.group = "PG";
        client = cluster.connect();
        producer = Producer::create(client, options).value();
    }

    std::future<Result<MessageView>> ask(const std::string& body, std::chrono::milliseconds limit) {
        auto promise = std::make_shared<std::promise<Result<MessageView>>>();
        REQUIRE(producer->request_async(
            message_of("T", body), limit, [promise](Result<MessageView> reply) {
                promise->set_value(std::move(reply));
            }));
        return promise->get_future();
    }

    /// Waits for as many requests; the ids of their replies by body.
    std::map<std::string, std::string> ids(std::size_t count) {
        REQUIRE(wait_until([&] { return cluster.stored_count("T") == count; }));
        REQUIRE(wait_until([&] {
            return cluster.run([&] { return cluster.broker().producers.contains("PG"); });
        }));
        std::vector<std::string> keep;
        std::map<std::string, std::string> found;
        for (const wire::Record& record : requests(cluster, keep)) {
            found[std::string(as_text(record.body))] =
                property(record, wire::property::kCorrelationId);
        }
        return found;
    }

    FakeCluster cluster;
    std::shared_ptr<Client> client;
    std::unique_ptr<Producer> producer;
};

}  // namespace

TEST_SUITE("client/request") {
    TEST_CASE("a request says who asks, and ends with its reply") {
        Asking asking;
        auto reply = asking.ask("question", 20s);
        const auto ids = asking.ids(1);
        std::vector<std::string> keep;
        const wire::Record record = requests(asking.cluster, keep).front();
        CHECK(property(record, wire::property::kReplyTo) == asking.client->client_id());
        CHECK(property(record, wire::property::kReplyTtl) == "20000");
        CHECK(property(record, wire::property::kCluster) == "cluster");
        REQUIRE(push(asking.cluster, ids.at("question"), "answer"));
        const Result<MessageView> got = reply.get();
        REQUIRE(got);
        CHECK(got->body() == "answer");
        CHECK(got->topic() == "cluster_REPLY_TOPIC");
        CHECK(got->store_ms() == 9);
        CHECK(asking.client->metrics().values()["gantry_client_requests_answered_total"] == 1);
    }

    TEST_CASE("each of many gets its own reply, in whatever order they come, and only one") {
        Asking asking;
        std::vector<std::future<Result<MessageView>>> replies;
        constexpr int kRequests = 50;
        for (int i = 0; i < kRequests; ++i) {
            replies.push_back(asking.ask(std::to_string(i), 20s));
        }
        const auto ids = asking.ids(kRequests);
        for (auto at = ids.rbegin(); at != ids.rend(); ++at) {
            REQUIRE(push(asking.cluster, at->second, "re " + at->first));
            REQUIRE(push(asking.cluster, at->second, "twice"));
            REQUIRE(push(asking.cluster, "nobody's", "lost"));
        }
        for (int i = 0; i < kRequests; ++i) {
            const auto got = replies[static_cast<std::size_t>(i)].get();
            REQUIRE(got);
            CHECK(got->body() == "re " + std::to_string(i));
        }
    }

    TEST_CASE("without a reply it times out, what comes later is for nobody") {
        Asking asking;
        auto reply = asking.ask("question", 50ms);
        const auto got = reply.get();
        REQUIRE_FALSE(got);
        CHECK(got.error().code == Errc::kTimeout);
        const auto ids = asking.ids(1);
        CHECK(push(asking.cluster, ids.at("question"), "late"));
        auto next = asking.ask("next", 20s);
        CHECK(push(asking.cluster, asking.ids(2).at("next"), "in time"));
        CHECK(next.get()->body() == "in time");
    }

    TEST_CASE("a request that is not stored fails at once, one of unknown fate may be answered") {
        Asking asking;
        asking.cluster.run([&] {
            asking.cluster.broker().on_send = [count = 0](const SeenFrame&) mutable {
                return ++count == 1 ? SendAction{SendAction::Kind::kRefuse,
                                                 wire::ResponseCode::kMessageIllegal}
                                    : SendAction{SendAction::Kind::kStoreMute};
            };
        });
        const auto refused = asking.ask("refused", 20s).get();
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == Errc::kRefused);
        auto mute = asking.ask("mute", 20s);
        REQUIRE(push(asking.cluster, asking.ids(1).at("mute"), "answer"));
        CHECK(mute.get()->body() == "answer");
        CHECK_FALSE(asking.producer->request(message_of("NOPE", "x"), 1s));
    }

    TEST_CASE("limits are kept, and close ends what is under way") {
        Producer::Options options;
        options.in_flight_max = 2;
        Asking asking(options);
        CHECK(asking.producer->request(message_of("T", "x"), 0ms).error().code == Errc::kRefused);
        CHECK(asking.producer->request(message_of("T", "x"), std::chrono::hours{25}).error().code ==
              Errc::kRefused);
        auto one = asking.ask("one", std::chrono::hours{1});
        auto two = asking.ask("two", std::chrono::hours{1});
        std::atomic<bool> is_called{false};
        const Status third = asking.producer->request_async(
            message_of("T", "three"), 1s, [&is_called](Result<MessageView>) { is_called = true; });
        REQUIRE_FALSE(third);
        CHECK(third.error().code == Errc::kBusy);
        asking.ids(2);
        CHECK(asking.producer->close(5s));
        CHECK(one.get().error().code == Errc::kClosed);
        CHECK(two.get().error().code == Errc::kClosed);
        CHECK_FALSE(is_called);
        CHECK(asking.producer->request(message_of("T", "x"), 1s).error().code == Errc::kClosed);
    }

    TEST_CASE("a reply is repeated until its broker takes it, and needs a request") {
        Asking asking;
        std::atomic<int> tries{0};
        asking.cluster.run([&] {
            FakeBroker& broker = asking.cluster.broker();
            broker.on_other = [&](const net::Received& frame) {
                if (frame.header.request() != wire::RequestCode::kSendReplyMessageV2) {
                    return false;
                }
                const wire::SendMessageResponse taken;
                if (++tries < 3) {
                    broker.reply(net::reply_to(frame), wire::ResponseCode::kConsumerNotOnline);
                } else {
                    broker.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, &taken);
                }
                return true;
            };
        });
        auto reply = asking.ask("question", 20s);
        asking.ids(1);
        auto consumer = PullConsumer::create(asking.client, {}).value();
        REQUIRE(consumer->assign(consumer->queues("T").value()));
        REQUIRE(consumer->seek(consumer->assignment().front(), 0));
        std::vector<MessageView> got;
        REQUIRE(wait_until([&] {
            got = consumer->poll(100ms);
            return !got.empty();
        }));
        Message answer;
        answer.body = "answer";
        CHECK(asking.producer->reply(got.front(), answer));
        CHECK(tries == 3);
        CHECK(asking.producer->reply(MessageView(), answer).error().code == Errc::kRefused);
    }
}

}  // namespace gantry::client::test

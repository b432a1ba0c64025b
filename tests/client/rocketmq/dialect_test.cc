// SPDX-License-Identifier: Apache-2.0
#include "client/admin_client.h"
#include "client/consumer.h"
#include "client/ordered_consumer.h"
#include "client/pop_consumer.h"
#include "client/producer.h"
#include "client/transaction_producer.h"
#include "protocol/wire/header.h"
#include "tests/client/rocketmq/stock_broker.h"

#include <doctest/doctest.h>

namespace gantry::client::test {
namespace {

/// A nameserver that answers everything with an empty success, as one written in Java does.
class JavaNameserver final : public net::ConnectionHandler {
public:
    JavaNameserver() {
        net::EventLoop::Options loop;
        loop.name = "java";
        loop_ = net::EventLoop::create(loop).value();
        net::Server::Options options;
        options.address = "127.0.0.1";
        server_ = net::Server::listen(options, {loop_.get()}, *this).value();
        loop_->start_thread();
    }

    ~JavaNameserver() override {
        loop_->stop();
        loop_->join();
        server_->stop(0ms);
        server_.reset();
    }

    std::string address() const { return "127.0.0.1:" + std::to_string(server_->port()); }

    void on_open(net::Connection&) override {}

    void on_close(net::Connection&, const Error&) override {}

    void on_frame(const net::Received& frame) override {
        wire::HeaderToSend header;
        header.opaque = frame.header.opaque;
        header.is_response = true;
        header.language = wire::Language::kJava;
        wire::append_frame_head(frame.connection.output().tail(), wire::Codec::kJson, header, 0);
    }

private:
    std::unique_ptr<net::EventLoop> loop_;
    std::unique_ptr<net::Server> server_;
};

Result<std::shared_ptr<Client>> detect(std::vector<std::string> nameservers) {
    Client::Options options;
    options.nameservers = std::move(nameservers);
    options.dialect = Dialect::kDetect;
    return Client::start(options);
}

/// A refusal for the dialect's sake.
template <class T>
bool is_unsupported(const Result<T>& result) {
    return !result && result.error().code == Errc::kUnsupported &&
           result.error().detail.find("RocketMQ") != std::string::npos;
}

}  // namespace

TEST_SUITE("client/dialect") {
    TEST_CASE("a nameserver's answer says whose it is") {
        FakeCluster cluster;
        const JavaNameserver java;
        CHECK(detect({cluster.nameserver().address()}).value()->dialect() == Dialect::kGantry);
        CHECK(detect({java.address()}).value()->dialect() == Dialect::kRocketMq);
        // One that is away says nothing.
        CHECK(detect({"127.0.0.1:1", java.address()}).value()->dialect() == Dialect::kRocketMq);
    }

    TEST_CASE("without an answer nothing is detected") {
        CHECK(detect({"127.0.0.1:1"}).error().code == Errc::kGone);
        FakeCluster cluster;
        cluster.run([&] { cluster.nameserver().is_silent = true; });
        CHECK(detect({cluster.nameserver().address()}).error().code == Errc::kTimeout);
    }

    TEST_CASE("what RocketMQ does not have is refused, and says so") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        StockBroker broker(cluster);
        const auto client = connect_stock(cluster);
        Producer::Options idempotent;
        idempotent.idempotent = true;
        CHECK(is_unsupported(Producer::create(client, idempotent)));
        OrderedConsumer::Options ordered;
        ordered.group = "g";
        CHECK(is_unsupported(OrderedConsumer::create(client, ordered)));
        PopConsumer::Options pop;
        pop.group = "g";
        CHECK(is_unsupported(PopConsumer::create(client, pop)));
        TransactionProducer::Options transactions;
        transactions.group = "g";
        CHECK(is_unsupported(
            TransactionProducer::create(client, transactions, [](const MessageView&) {
                return TransactionOutcome::kUnknown;
            })));
        auto producer = Producer::create(client, {}).value();
        Message mortal = message_of("T", "x");
        mortal.time_to_live = 1s;
        CHECK(is_unsupported(producer->send(mortal)));
        CHECK(is_unsupported(producer->request(message_of("T", "x"), 1s)));
        CHECK(is_unsupported(producer->reply(MessageView{}, message_of("T", "x"))));
        auto admin = AdminClient::create(client, {}).value();
        CHECK(is_unsupported(admin->list_groups()));
        CHECK(is_unsupported(admin->describe_broker("broker-a")));
        CHECK(is_unsupported(admin->list_delayed({})));
        GroupSettings group;
        group.group = "g";
        group.out_of_range = OutOfRangePolicy::kFail;
        CHECK(is_unsupported(admin->set_group(group)));
        TopicSpec spec;
        spec.topic = "U";
        spec.attributes["retention.ms"] = "1";
        CHECK(is_unsupported(admin->create_topic(spec)));
        CHECK(broker.seen().empty());
    }

    TEST_CASE("a topic that exists is not created again") {
        FakeCluster cluster;
        cluster.create_topic("T", 3);
        auto admin = AdminClient::create(connect_stock(cluster), {}).value();
        TopicSpec spec;
        spec.topic = "T";
        CHECK(admin->create_topic(spec).error().code == Errc::kConflict);
        CHECK(cluster.run([&] { return cluster.broker().topics.empty(); }));
    }

    TEST_CASE("system topics, and those named after brokers and clusters, are not listed") {
        FakeCluster cluster;
        for (const char* const topic : {"T", "broker-a", "cluster", "TBW102", "%RETRY%g"}) {
            cluster.create_topic(topic, 1);
        }
        auto admin = AdminClient::create(connect_stock(cluster), {}).value();
        CHECK(admin->list_topics().value() == std::vector<std::string>{"%RETRY%g", "T"});
    }

    TEST_CASE("routes are asked for, no watch is tried") {
        FakeCluster cluster;
        cluster.create_topic("T", 2);
        auto producer = Producer::create(connect_stock(cluster), {}).value();
        CHECK(producer->queues("T")->size() == 2);
        CHECK(cluster.run([&] { return cluster.nameserver().route_queries; }) == 1);
    }

    TEST_CASE("messages are read and offsets known without a group of one's own") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        cluster.run([&] {
            cluster.broker().store("T", 0, "a", "tag");
            cluster.broker().store("T", 0, "b");
        });
        PullConsumer::Options options;
        options.start_from.kind = StartFrom::Kind::kFirst;
        auto consumer = PullConsumer::create(connect_stock(cluster), options).value();
        const QueueId queue{"T", "broker-a", 0};
        REQUIRE(consumer->assign({queue}));
        std::vector<std::string> bodies;
        REQUIRE(wait_until([&] {
            for (const MessageView& message : consumer->poll(100ms)) {
                bodies.emplace_back(message.body());
            }
            return bodies.size() == 2;
        }));
        CHECK(bodies == std::vector<std::string>{"a", "b"});
        CHECK(consumer->max_offset(queue).value() == 2);
        CHECK(consumer->min_offset(queue).value() == 0);
        CHECK(cluster.run([&] { return cluster.broker().pulls.front().consumergroup(); }) ==
              "TOOLS_CONSUMER");
    }
}

}  // namespace gantry::client::test

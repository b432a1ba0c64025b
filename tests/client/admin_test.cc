// SPDX-License-Identifier: Apache-2.0
#include "client/admin_client.h"
#include "client/producer.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

namespace gantry::client::test {
namespace {

std::unique_ptr<AdminClient> admin_of(FakeCluster& cluster) {
    AdminClient::Options options;
    options.timeout = 2s;
    return AdminClient::create(cluster.connect(), options).value();
}

}  // namespace

TEST_SUITE("client/admin_client") {
    TEST_CASE("topics are created on every master, described, updated and deleted") {
        FakeCluster cluster(2);
        auto admin = admin_of(cluster);
        cluster.create_topic("T", 4);
        TopicSpec spec;
        spec.topic = "T";
        spec.read_queues = 4;
        spec.write_queues = 4;
        REQUIRE(admin->create_topic(spec));
        CHECK(admin->create_topic(spec).error().code == Errc::kConflict);
        CHECK(admin->list_topics().value() == std::vector<std::string>{"T"});
        std::vector<TopicOnBroker> found = admin->describe_topic("T").value();
        REQUIRE(found.size() == 2);
        CHECK(found[0].broker == "broker-a");
        CHECK(found[1].spec.write_queues == 4);
        spec.write_queues = 6;
        spec.perm = 4;
        REQUIRE(admin->update_topic(spec));
        found = admin->describe_topic("T").value();
        CHECK(found[1].spec.write_queues == 6);
        CHECK(found[1].spec.perm == 4);
        REQUIRE(admin->delete_topic("T"));
        CHECK(cluster.run([&] { return cluster.broker(1).topics.empty(); }));
        CHECK(admin->describe_topic("T").error().code == Errc::kNotFound);
        CHECK(admin->delete_topic("T").error().code == Errc::kNotFound);
        CHECK(admin->update_topic(spec).error().code == Errc::kNotFound);
    }

    TEST_CASE("what is out of range is refused before anybody is asked") {
        FakeCluster cluster;
        auto admin = admin_of(cluster);
        TopicSpec spec;
        spec.topic = "T";
        spec.read_queues = 0;
        CHECK(admin->create_topic(spec).error().detail == "read_queues 0 is not in 1..65536");
        spec.read_queues = 1;
        spec.perm = 8;
        CHECK(admin->create_topic(spec).error().detail == "perm 8 is not in 0..7");
        spec.perm = 6;
        spec.topic = "bad topic";
        CHECK(admin->create_topic(spec).error().code == Errc::kRefused);
        spec.topic = "T";
        CHECK(admin->create_topic(spec, "elsewhere").error().code == Errc::kNotFound);
    }

    TEST_CASE("status of a topic's queues, of a broker and of the cluster") {
        FakeCluster cluster(2);
        cluster.create_topic("T", 2);
        cluster.run([&] {
            cluster.broker(1).store("T", 1, "x");
            cluster.broker(1).store("T", 1, "y");
        });
        auto admin = admin_of(cluster);
        const std::vector<QueueStatus> status = admin->topic_status("T").value();
        REQUIRE(status.size() == 1);
        CHECK(status[0].queue == QueueId{"T", "broker-b", 1});
        CHECK(status[0].max_offset == 2);
        const std::vector<BrokerAddress> brokers = admin->cluster().value();
        REQUIRE(brokers.size() == 2);
        CHECK(brokers[0].broker == "broker-a");
        CHECK(brokers[0].cluster == "cluster");
        const BrokerStatus broker = admin->describe_broker("broker-b").value();
        CHECK(broker.address.broker == "broker-b");
        CHECK(broker.state == "writable");
        CHECK(broker.counters.at("gantry_test_total") == 7);
        CHECK(admin->describe_broker(brokers[0].address)->address.broker == "broker-a");
        CHECK(admin->describe_broker("nobody").error().code == Errc::kNotFound);
    }

    TEST_CASE("groups of several brokers are one") {
        FakeCluster cluster(2);
        cluster.run([&] {
            cluster.broker(0).members["G"] = {{"m1", 1}, {"m2", 2}};
            cluster.broker(1).members["G"] = {{"m1", 1}, {"m2", 2}};
        });
        auto admin = admin_of(cluster);
        const std::vector<GroupSummary> groups = admin->list_groups().value();
        REQUIRE(groups.size() == 1);
        CHECK(groups[0].group == "G");
        CHECK(groups[0].members == 2);
        CHECK(groups[0].lag == 6);
    }

    TEST_CASE("messages are found by id and by exact key") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        auto client = cluster.connect();
        auto producer = Producer::create(client, {}).value();
        Message message = message_of("T", "wanted");
        message.keys = {"k1", "k2"};
        const SendReceipt receipt = producer->send(message).value();
        message.body = "other";
        message.keys = {"k11"};
        REQUIRE(producer->send(message));
        auto admin = AdminClient::create(client, {}).value();
        CHECK(admin->message_by_id(receipt.message_id)->body() == "wanted");
        CHECK(admin->message_by_id(receipt.message_id)->broker() == "broker-a");
        std::string missing = receipt.message_id;
        missing.back() = 'F';
        CHECK(admin->message_by_id(missing).error().code == Errc::kNotFound);
        CHECK(admin->message_by_id("no id").error().code == Errc::kRefused);
        const auto found = admin->messages_by_key("T", "k1", 0, 2'000'000'000'000, 10).value();
        REQUIRE(found.size() == 1);
        CHECK(found[0].body() == "wanted");
        CHECK(admin->messages_by_key("T", "k", 0, 2'000'000'000'000, 10)->empty());
    }

    TEST_CASE("a server that does not answer is a time-out, none at all is gone") {
        FakeCluster cluster;
        cluster.run([&] { cluster.broker().is_silent = true; });
        AdminClient::Options options;
        options.timeout = 100ms;
        auto admin = AdminClient::create(cluster.connect(), options).value();
        CHECK(admin->describe_broker("broker-a").error().code == Errc::kTimeout);
        Client::Options nowhere;
        nowhere.nameservers = {"127.0.0.1:1"};
        auto lost = AdminClient::create(Client::start(nowhere).value(), options).value();
        CHECK(lost->cluster().error().code == Errc::kGone);
    }

    TEST_CASE("a malformed nameserver address is refused at the start") {
        for (const char* address : {"", "host", "host:", ":9876", "host:99999", "host:12x"}) {
            Client::Options options;
            options.nameservers = {address};
            CHECK(Client::start(options).error().code == Errc::kRefused);
        }
        CHECK(Client::start({}).error().code == Errc::kRefused);
    }
}

}  // namespace gantry::client::test

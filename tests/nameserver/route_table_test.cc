// SPDX-License-Identifier: Apache-2.0
#include "nameserver/route_table.h"

#include "tests/nameserver/route_fixture.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

namespace gantry::nameserver {

using Topics = std::set<std::string>;

TEST_SUITE("nameserver/route_table") {
    TEST_CASE_FIXTURE(RouteFixture, "a registration makes routes, in broker name order") {
        CHECK(add({"broker-b", "10.0.0.2:10911", "east", 0, 0, 0, 2}, 1, {topic_of("T", 8)}) == "");
        CHECK(add({}, 1, {topic_of("T"), topic_of("U", 2, 4)}) == "");
        CHECK(route("T") ==
              "broker-a{0=10.0.0.1:10911} 4/4 perm 6; broker-b{0=10.0.0.2:10911} 8/8 perm 6");
        CHECK(route("U") == "broker-a{0=10.0.0.1:10911} 2/2 perm 4");
        CHECK(route("V") == "");
        CHECK(table.broker_count() == 2);
        CHECK(table.topic_count() == 2);
        CHECK(take_changed() == Topics{"T", "U"});
    }

    TEST_CASE_FIXTURE(RouteFixture, "a whole registration of a newer version replaces the topics") {
        add({}, 1, {topic_of("T"), topic_of("U"), topic_of("V")});
        const std::uint64_t before = table.version("V");
        take_changed();
        CHECK(add({}, 2, {topic_of("T", 9), topic_of("V")}) == "");
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 9/9 perm 6");
        CHECK(route("U") == "");
        CHECK(take_changed() == Topics{"T", "U"});
        CHECK(table.version("V") == before);
    }

    TEST_CASE_FIXTURE(RouteFixture, "a stock broker's registration adds and never removes topics") {
        add({}, 1, {topic_of("T"), topic_of("U")}, false);
        CHECK(add({}, 2, {topic_of("T", 9)}, false) == "");
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 9/9 perm 6");
        CHECK(route("U") == "broker-a{0=10.0.0.1:10911} 4/4 perm 6");
        // The version is known: only unknown topics count.
        CHECK(add({}, 2, {topic_of("T", 3), topic_of("V")}, false) == "");
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 9/9 perm 6");
        CHECK(route("V") == "broker-a{0=10.0.0.1:10911} 4/4 perm 6");
    }

    TEST_CASE_FIXTURE(RouteFixture, "what a stock broker leaves out has RocketMQ's defaults") {
        wire::TopicConfigTable sent;
        (*sent.mutable_topicconfigtable())["T"];
        const auto request = TestBroker{}.request();
        CHECK(table.register_broker({request, &sent, false, net::ConnectionId(1)}).has_value());
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 16/16 perm 6");
    }

    TEST_CASE_FIXTURE(RouteFixture, "versions differ at every change and after a restart") {
        const std::uint64_t absent = table.version("T");
        add({}, 1, {topic_of("T")});
        const std::uint64_t first = table.version("T");
        add({}, 2, {topic_of("T", 5)});
        const std::uint64_t second = table.version("T");
        CHECK(absent < first);
        CHECK(first < second);
        table.delete_topic("T", "");
        CHECK(table.version("T") == absent);
        clock.advance(std::chrono::milliseconds(1));
        RouteTable restarted(clock, {}, [](const std::string&) {});
        CHECK(restarted.version("T") > second);
    }

    TEST_CASE_FIXTURE(RouteFixture, "a slave adds its address and brings no topics of its own") {
        add({}, 1, {topic_of("T")});
        take_changed();
        const TestBroker slave{"broker-a", "10.0.0.9:10911", "east", 1, 0, 0, 2};
        const wire::TopicConfigTable topics = table_of(7, {topic_of("T", 1), topic_of("X")});
        const wire::RegisterBrokerRequest request = slave.request();
        const auto response = table.register_broker({request, &topics, true, net::ConnectionId(2)});
        REQUIRE(response.has_value());
        CHECK(response->masteraddr() == "10.0.0.1:10911");
        CHECK(response->haserveraddr() == "10.0.0.1:109112");
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911 1=10.0.0.9:10911} 4/4 perm 6");
        CHECK(route("X") == "");
        CHECK(take_changed() == Topics{"T"});
    }

    TEST_CASE_FIXTURE(RouteFixture, "without a master the lowest id tells the topics") {
        const TestBroker slave{"broker-a", "10.0.0.9:10911", "east", 2, 0, 0, 2};
        add(slave, 7, {topic_of("T", 1), topic_of("X")});
        CHECK(route("T") == "broker-a{2=10.0.0.9:10911} 1/1 perm 6");
        add({}, 7, {topic_of("T")});
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911 2=10.0.0.9:10911} 4/4 perm 6");
        CHECK(route("X") == "");
    }

    TEST_CASE_FIXTURE(RouteFixture, "topics outlive their master while a slave is registered") {
        add({}, 1, {topic_of("T")});
        const TestBroker slave{"broker-a", "10.0.0.9:10911", "east", 1, 0, 0, 2};
        add(slave, 1, {topic_of("T")});
        const std::uint64_t before = table.version("T");
        table.connection_lost(net::ConnectionId(1));
        CHECK(route("T") == "broker-a{1=10.0.0.9:10911} 4/4 perm 6");
        CHECK(table.version("T") > before);
        table.connection_lost(net::ConnectionId(2));
        CHECK(route("T") == "");
        CHECK(table.broker_count() == 0);
        CHECK(table.topic_count() == 0);
    }

    TEST_CASE_FIXTURE(RouteFixture, "internal topics are ignored, illegal ones counted") {
        CHECK(add({},
                  1,
                  {topic_of("GANTRY_SYS_STATE"),
                   topic_of("bad topic"),
                   topic_of("neg", -1),
                   topic_of("T")}) == "");
        CHECK(table.topic_count() == 1);
        CHECK(route("GANTRY_SYS_STATE") == "");
        CHECK(table.rejected_topics() == 2);
    }

    TEST_CASE_FIXTURE(RouteFixture, "a registration without a body refreshes only") {
        add({}, 1, {topic_of("T")});
        take_changed();
        const auto request = TestBroker{}.request();
        CHECK(table.register_broker({request, nullptr, true, net::ConnectionId(1)}).has_value());
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 4/4 perm 6");
        CHECK(take_changed().empty());
    }

    TEST_CASE_FIXTURE(RouteFixture, "malformed names and addresses are refused by field") {
        CHECK(add({""}, 1, {}) == "refused: brokerName \"\": allowed are 1 to 255 bytes");
        CHECK(add({"a b"}, 1, {}) ==
              "refused: brokerName \"a b\": allowed are printable ASCII characters without blanks");
        CHECK(add({"a", "nowhere"}, 1, {}) ==
              "refused: brokerAddr \"nowhere\": expected host:port");
        CHECK(add({"a", ":1"}, 1, {}) == "refused: brokerAddr \":1\": expected host:port");
        CHECK(add({"a", "h:0"}, 1, {}) == "refused: brokerAddr \"h:0\": expected host:port");
        CHECK(add({"a", "h:65536"}, 1, {}) ==
              "refused: brokerAddr \"h:65536\": expected host:port");
        CHECK(add({"a", "h:1", std::string(256, 'c')}, 1, {}) ==
              "refused: clusterName \"" + std::string(255, 'c') + "\": allowed are 1 to 255 bytes");
        CHECK(add({"a", "h:1", "c", -1}, 1, {}) ==
              "refused: brokerId \"-1\": allowed is at least 0");
        CHECK(add({"a", "h:1", "c", 0, -2}, 1, {}) ==
              "refused: epoch \"-2\": allowed is at least 0");
        CHECK(table.broker_count() == 0);
    }

    TEST_CASE("limits on brokers and topics name their setting") {
        RouteTable::Options options;
        options.brokers_max = 2;
        options.topics_per_broker_max = 2;
        RouteFixture fixture(options);
        CHECK(fixture.add({}, 1, {topic_of("A"), topic_of("B"), topic_of("C")}) ==
              "refused: topics \"3\": more than limits.topics_per_broker_max 2");
        CHECK(fixture.add({}, 1, {topic_of("A"), topic_of("B")}) == "");
        CHECK(fixture.delta({}, 1, 2, {topic_of("C")}) ==
              "refused: topics \"2 + 1\": more than limits.topics_per_broker_max 2");
        CHECK(fixture.add({"broker-a", "10.0.0.9:1", "east", 1, 0, 0, 2}, 1, {}) == "");
        CHECK(fixture.add({"broker-a", "10.0.0.9:2", "east", 2, 0, 0, 3}, 1, {}) ==
              "refused: brokerName \"broker-a\": limits.brokers_max 2 brokers are registered");
        CHECK(fixture.add({"broker-b", "10.0.0.9:2", "east", 0, 0, 0, 3}, 1, {}) ==
              "refused: brokerName \"broker-b\": limits.brokers_max 2 brokers are registered");
        CHECK(fixture.add({}, 2, {topic_of("A")}) == "");
    }

    TEST_CASE_FIXTURE(RouteFixture, "a delta changes and removes topics on top of its base") {
        add({}, 1, {topic_of("T"), topic_of("U")});
        take_changed();
        CHECK(delta({}, 1, 2, {topic_of("T", 6), topic_of("N")}, {"U", "unknown"}) == "");
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 6/6 perm 6");
        CHECK(route("N") == "broker-a{0=10.0.0.1:10911} 4/4 perm 6");
        CHECK(route("U") == "");
        CHECK(take_changed() == Topics{"N", "T", "U"});
        CHECK(delta({}, 2, 3, {topic_of("N", 7)}) == "");
        CHECK(route("N") == "broker-a{0=10.0.0.1:10911} 7/7 perm 6");
    }

    TEST_CASE_FIXTURE(RouteFixture, "a delta on another base or of an unknown broker conflicts") {
        CHECK(delta({}, 1, 2, {topic_of("T")}) ==
              "conflict: broker broker-a at 10.0.0.1:10911: not registered");
        add({}, 1, {topic_of("T")});
        CHECK(delta({}, 2, 3, {topic_of("T", 6)}) ==
              "conflict: broker broker-a at 10.0.0.1:10911: base version 2/1700000000000 is not "
              "the registered 1/1700000000000");
        CHECK(delta({"broker-a", "10.0.0.7:1"}, 1, 2, {}) ==
              "conflict: broker broker-a at 10.0.0.7:1: not registered with id 0");
        CHECK(delta({"broker-a", "10.0.0.1:10911", "east", 1}, 1, 2, {}) ==
              "conflict: broker broker-a at 10.0.0.1:10911: not registered with id 1");
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 4/4 perm 6");
    }

    TEST_CASE_FIXTURE(RouteFixture, "a slave's delta moves its version and no topics") {
        add({}, 1, {topic_of("T")});
        const TestBroker slave{"broker-a", "10.0.0.9:10911", "east", 1, 0, 0, 2};
        add(slave, 1, {topic_of("T")});
        CHECK(delta(slave, 1, 2, {topic_of("T", 9)}) == "");
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911 1=10.0.0.9:10911} 4/4 perm 6");
        // Once it is the lowest id, its topics must come in full first.
        table.connection_lost(net::ConnectionId(1));
        CHECK(delta(slave, 2, 3, {topic_of("T", 9)}) ==
              "conflict: broker broker-a at 10.0.0.9:10911: its topics were told by another id");
    }

    TEST_CASE_FIXTURE(RouteFixture, "wiped permissions last until the broker registers in full") {
        add({}, 1, {topic_of("T"), topic_of("R", 4, 4)});
        take_changed();
        CHECK(table.wipe_write_permission("broker-a") == 2);
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 4/4 perm 4");
        CHECK(take_changed() == Topics{"T"});
        CHECK(heartbeat({}));
        CHECK(delta({}, 1, 2, {topic_of("N")}) == "");
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 4/4 perm 4");
        add({}, 2, {topic_of("T"), topic_of("R", 4, 4)});
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 4/4 perm 6");
        CHECK(table.wipe_write_permission("nobody") == 0);
    }

    TEST_CASE_FIXTURE(RouteFixture,
                      "a stock broker's wiped permissions last until a newer version") {
        // It registers the same again every 30 s.
        add({}, 1, {topic_of("T")}, false);
        table.wipe_write_permission("broker-a");
        add({}, 1, {topic_of("T")}, false);
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 4/4 perm 4");
        add({}, 2, {topic_of("T")}, false);
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 4/4 perm 6");
    }

    TEST_CASE_FIXTURE(RouteFixture, "restored permissions are those registered") {
        add({}, 1, {topic_of("T"), topic_of("R", 4, 4)});
        table.wipe_write_permission("broker-a");
        CHECK(table.restore_write_permission("broker-a") == 2);
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 4/4 perm 6");
        CHECK(route("R") == "broker-a{0=10.0.0.1:10911} 4/4 perm 4");
        CHECK(table.restore_write_permission("nobody") == 0);
    }

    TEST_CASE_FIXTURE(RouteFixture,
                      "a deleted topic is gone on all brokers or those of a cluster") {
        add({}, 1, {topic_of("T")});
        add({"broker-w", "10.0.0.2:10911", "west", 0, 0, 0, 2}, 1, {topic_of("T")});
        take_changed();
        table.delete_topic("T", "west");
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 4/4 perm 6");
        CHECK(take_changed() == Topics{"T"});
        table.delete_topic("T", "");
        CHECK(route("T") == "");
        CHECK(take_changed() == Topics{"T"});
        table.delete_topic("T", "");
        CHECK(take_changed().empty());
    }

    TEST_CASE_FIXTURE(RouteFixture, "lists show topics, clusters and brokers") {
        CHECK(table.system_topics().topiclist_size() == 0);
        add({}, 1, {topic_of("U"), topic_of("T")});
        add({"broker-w", "10.0.0.2:10911", "west", 0, 0, 0, 2}, 1, {topic_of("W")});
        const auto names = [](const wire::TopicList& list) {
            return std::vector<std::string>(list.topiclist().begin(), list.topiclist().end());
        };
        CHECK(names(table.topics()) == std::vector<std::string>{"T", "U", "W"});
        CHECK(names(table.topics_of_cluster("west")) == std::vector<std::string>{"W"});
        CHECK(names(table.topics_of_cluster("none")).empty());
        CHECK(names(table.system_topics()) ==
              std::vector<std::string>{"east", "broker-a", "west", "broker-w"});
        CHECK(table.system_topics().brokeraddr() == "10.0.0.1:10911");
        const wire::ClusterInfo info = table.cluster_info();
        CHECK(info.brokeraddrtable().at("broker-w").brokeraddrs().at(0) == "10.0.0.2:10911");
        CHECK(info.clusteraddrtable().at("east").values(0) == "broker-a");
    }
}

}  // namespace gantry::nameserver

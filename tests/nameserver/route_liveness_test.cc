// SPDX-License-Identifier: Apache-2.0
#include "tests/nameserver/route_fixture.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>

namespace gantry::nameserver {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const TestBroker kMaster{};

TestBroker on_connection(TestBroker broker, std::uint64_t connection) {
    broker.connection = connection;
    return broker;
}

TestBroker with_epoch(TestBroker broker, std::int64_t epoch) {
    broker.epoch = epoch;
    return broker;
}

/// Lets time pass as a running nameserver does: a check every second.
std::size_t run_for(RouteFixture& fixture, seconds time) {
    std::size_t removed = 0;
    for (seconds passed{0}; passed < time; ++passed) {
        fixture.clock.advance(seconds(1));
        removed += fixture.table.expire();
    }
    return removed;
}

}  // namespace

TEST_SUITE("nameserver/route_liveness") {
    TEST_CASE_FIXTURE(RouteFixture, "a closed connection removes what registered on it") {
        add(kMaster, 1, {topic_of("T")});
        table.connection_lost(net::ConnectionId(7));
        CHECK(route("T") != "");
        table.connection_lost(net::ConnectionId(1));
        CHECK(route("T") == "");
        CHECK(take_changed() == std::set<std::string>{"T"});
    }

    TEST_CASE_FIXTURE(RouteFixture,
                      "a stale close does not remove a broker heard elsewhere since") {
        add(kMaster, 1, {topic_of("T")});
        SUBCASE("registered again") {
            add(on_connection(kMaster, 2), 1, {topic_of("T")});
        }
        SUBCASE("heartbeat") {
            CHECK(heartbeat(on_connection(kMaster, 2)));
        }
        SUBCASE("delta") {
            CHECK(delta(on_connection(kMaster, 2), 1, 2, {topic_of("T")}) == "");
        }
        SUBCASE("version query") {
            CHECK(table.data_version(kMaster.identity(), net::ConnectionId(2)).has_value());
        }
        table.connection_lost(net::ConnectionId(1));
        CHECK(route("T") != "");
        table.connection_lost(net::ConnectionId(2));
        CHECK(route("T") == "");
    }

    TEST_CASE_FIXTURE(RouteFixture, "one connection may carry several brokers") {
        add(kMaster, 1, {topic_of("T")});
        add({"broker-b", "10.0.0.2:10911"}, 1, {topic_of("T")});
        table.connection_lost(net::ConnectionId(1));
        CHECK(table.broker_count() == 0);
    }

    TEST_CASE_FIXTURE(RouteFixture, "unregistering removes the broker at that address only") {
        add(kMaster, 1, {topic_of("T")});
        TestBroker other = kMaster;
        other.address = "10.0.0.8:10911";
        table.unregister_broker(other.identity());
        CHECK(route("T") != "");
        table.unregister_broker(kMaster.identity());
        CHECK(route("T") == "");
        table.unregister_broker(kMaster.identity());
        // Nothing is left to be removed with the connection.
        add(on_connection(kMaster, 2), 1, {topic_of("T")});
        table.connection_lost(net::ConnectionId(1));
        CHECK(route("T") != "");
    }

    TEST_CASE_FIXTURE(RouteFixture, "a silent broker expires after route.expiry_ms") {
        add(kMaster, 1, {topic_of("T")});
        CHECK(run_for(*this, seconds(120)) == 0);
        CHECK(route("T") != "");
        CHECK(run_for(*this, seconds(1)) == 1);
        CHECK(route("T") == "");
    }

    TEST_CASE_FIXTURE(RouteFixture, "an announced time-out replaces the default") {
        TestBroker quick = kMaster;
        quick.timeout_ms = 3'000;
        add(quick, 1, {topic_of("T")});
        CHECK(run_for(*this, seconds(3)) == 0);
        CHECK(heartbeat(quick));
        CHECK(run_for(*this, seconds(3)) == 0);
        CHECK(run_for(*this, seconds(1)) == 1);
        CHECK(!heartbeat(quick));
    }

    TEST_CASE_FIXTURE(RouteFixture, "deltas and version queries count as signs of life") {
        TestBroker quick = kMaster;
        quick.timeout_ms = 2'000;
        add(quick, 1, {topic_of("T")});
        run_for(*this, seconds(2));
        CHECK(delta(quick, 1, 2, {}) == "");
        CHECK(run_for(*this, seconds(2)) == 0);
        CHECK(table.data_version(quick.identity(), net::ConnectionId(1))->counter() == 2);
        CHECK(run_for(*this, seconds(2)) == 0);
        CHECK(run_for(*this, seconds(1)) == 1);
        CHECK(!table.data_version(quick.identity(), net::ConnectionId(1)).has_value());
    }

    TEST_CASE_FIXTURE(RouteFixture, "time in which the nameserver stood still expires nobody") {
        TestBroker quick = kMaster;
        quick.timeout_ms = 2'000;
        add(quick, 1, {topic_of("T")});
        table.expire();
        clock.advance(seconds(600));
        CHECK(table.expire() == 0);
        CHECK(run_for(*this, seconds(2)) == 0);
        CHECK(run_for(*this, seconds(1)) == 1);
    }

    TEST_CASE_FIXTURE(RouteFixture, "the highest epoch wins and an older one conflicts") {
        add(with_epoch(kMaster, 5), 1, {topic_of("T")});
        TestBroker promoted{"broker-a", "10.0.0.9:10911", "east", 0, 6, 0, 2};
        CHECK(add(promoted, 1, {topic_of("T")}) == "");
        CHECK(route("T") == "broker-a{0=10.0.0.9:10911} 4/4 perm 6");
        CHECK(add(with_epoch(kMaster, 5), 1, {topic_of("T")}) ==
              "conflict: epoch 5 of broker broker-a is below 6, the highest registered");
        CHECK(delta(with_epoch(promoted, 5), 1, 2, {}) ==
              "conflict: broker broker-a at 10.0.0.9:10911: epoch 5 is below 6");
        CHECK(!heartbeat(kMaster));
        // The old master's connection holds nothing any more.
        table.connection_lost(net::ConnectionId(1));
        CHECK(route("T") == "broker-a{0=10.0.0.9:10911} 4/4 perm 6");
    }

    TEST_CASE_FIXTURE(RouteFixture, "an epoch fences for one time-out after the last broker went") {
        TestBroker fast = with_epoch(kMaster, 5);
        fast.timeout_ms = 10'000;
        add(fast, 1, {topic_of("T")});
        table.connection_lost(net::ConnectionId(1));
        CHECK(add(with_epoch(kMaster, 4), 1, {topic_of("T")}) ==
              "conflict: epoch 4 of broker broker-a is below 5, the highest registered");
        run_for(*this, seconds(10));
        CHECK(add(with_epoch(kMaster, 4), 1, {topic_of("T")}) == "");
    }

    TEST_CASE_FIXTURE(RouteFixture, "a slave that becomes master keeps its address, not its id") {
        add(kMaster, 1, {topic_of("T")});
        const TestBroker slave{"broker-a", "10.0.0.9:10911", "east", 1, 0, 0, 2};
        add(slave, 1, {topic_of("T")});
        TestBroker promoted = with_epoch(slave, 1);
        promoted.id = 0;
        CHECK(add(promoted, 1, {topic_of("T")}) == "");
        CHECK(route("T") == "broker-a{0=10.0.0.9:10911} 4/4 perm 6");
        CHECK(table.broker_count() == 1);
        table.connection_lost(net::ConnectionId(2));
        CHECK(table.broker_count() == 0);
    }

    TEST_CASE_FIXTURE(RouteFixture, "an id moves to another address once its holder is silent") {
        add(kMaster, 1, {topic_of("T")});
        const TestBroker moved{"broker-a", "10.0.0.9:10911", "east", 0, 0, 0, 2};
        CHECK(add(moved, 1, {topic_of("T")}) ==
              "conflict: id 0 of broker broker-a is held by 10.0.0.1:10911, which is alive");
        run_for(*this, seconds(10));
        CHECK(add(moved, 1, {topic_of("T")}) == "");
        CHECK(route("T") == "broker-a{0=10.0.0.9:10911} 4/4 perm 6");
        CHECK(table.broker_count() == 1);
        table.connection_lost(net::ConnectionId(1));
        CHECK(table.broker_count() == 1);
    }

    TEST_CASE_FIXTURE(RouteFixture, "an id moves at once when its holder's connection closed") {
        add(kMaster, 1, {topic_of("T")});
        table.connection_lost(net::ConnectionId(1));
        CHECK(add({"broker-a", "10.0.0.9:10911", "east", 0, 0, 0, 2}, 1, {topic_of("T")}) == "");
        CHECK(route("T") == "broker-a{0=10.0.0.9:10911} 4/4 perm 6");
    }

    TEST_CASE_FIXTURE(RouteFixture, "a broker name belongs to one cluster") {
        add(kMaster, 1, {topic_of("T")});
        add({"broker-a", "10.0.0.9:10911", "east", 1, 0, 0, 2}, 1, {});
        CHECK(add({"broker-a", "10.0.0.7:10911", "west", 2, 0, 0, 3}, 1, {}) ==
              "conflict: broker name broker-a belongs to cluster east, not west");
        // Alone, a broker may change its own cluster.
        table.connection_lost(net::ConnectionId(2));
        take_changed();
        TestBroker renamed = kMaster;
        renamed.cluster = "west";
        CHECK(add(renamed, 1, {topic_of("T")}) == "");
        CHECK(table.topics_of_cluster("west").topiclist_size() == 1);
        CHECK(take_changed() == std::set<std::string>{"T"});
    }

    TEST_CASE_FIXTURE(RouteFixture, "a removed broker that comes back brings its topics again") {
        add(kMaster, 1, {topic_of("T")});
        table.wipe_write_permission("broker-a");
        table.connection_lost(net::ConnectionId(1));
        CHECK(add(on_connection(kMaster, 2), 1, {topic_of("T")}) == "");
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911} 4/4 perm 6");
    }
}

}  // namespace gantry::nameserver

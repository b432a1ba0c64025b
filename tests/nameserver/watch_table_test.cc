// SPDX-License-Identifier: Apache-2.0
#include "nameserver/watch_table.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

namespace gantry::nameserver {
namespace {

const SteadyTime kStart{std::chrono::hours(1)};

Watch watch_of(std::uint64_t connection,
               std::int32_t opaque,
               const std::vector<std::string>& topics,
               std::chrono::seconds wait = std::chrono::seconds(30)) {
    Watch watch;
    watch.to.connection = net::ConnectionId(connection);
    watch.to.opaque = opaque;
    watch.deadline = kStart + wait;
    for (const std::string& topic : topics) {
        watch.topics.push_back({topic, 1});
    }
    return watch;
}

}  // namespace

TEST_SUITE("nameserver/watch_table") {
    TEST_CASE("a marked topic makes exactly its watches due") {
        WatchTable table(100);
        CHECK(table.park(watch_of(1, 1, {"A", "B"})).has_value());
        CHECK(table.park(watch_of(2, 2, {"B", "C", "B"})).has_value());
        CHECK(table.park(watch_of(3, 3, {"C"})).has_value());
        table.mark("X");
        CHECK(!table.has_due());
        table.mark("A");
        const std::vector<Watch> due = table.take_due();
        REQUIRE(due.size() == 1);
        CHECK(due[0].to.opaque == 1);
        CHECK(due[0].topics.size() == 2);
        CHECK(!table.has_due());
        table.mark("B");
        table.mark("C");
        CHECK(table.take_due().size() == 2);
        CHECK(table.size() == 0);
        CHECK(!table.next_deadline().has_value());
    }

    TEST_CASE("watches expire in the order of their deadlines") {
        WatchTable table(100);
        CHECK(table.park(watch_of(1, 1, {"A"}, std::chrono::seconds(9))).has_value());
        CHECK(table.park(watch_of(1, 2, {"A"}, std::chrono::seconds(3))).has_value());
        CHECK(table.next_deadline() == kStart + std::chrono::seconds(3));
        CHECK(table.take_expired(kStart + std::chrono::seconds(2)).empty());
        const std::vector<Watch> expired = table.take_expired(kStart + std::chrono::seconds(3));
        REQUIRE(expired.size() == 1);
        CHECK(expired[0].to.opaque == 2);
        CHECK(table.next_deadline() == kStart + std::chrono::seconds(9));
        table.mark("A");
        CHECK(table.take_due().size() == 1);
    }

    TEST_CASE("watches of a closed connection are dropped, due or not") {
        WatchTable table(100);
        CHECK(table.park(watch_of(1, 1, {"A"})).has_value());
        CHECK(table.park(watch_of(1, 2, {"B"})).has_value());
        CHECK(table.park(watch_of(2, 3, {"A"})).has_value());
        table.mark("A");
        table.drop_connection(net::ConnectionId(1));
        CHECK(table.size() == 1);
        const std::vector<Watch> due = table.take_due();
        REQUIRE(due.size() == 1);
        CHECK(due[0].to.opaque == 3);
        table.drop_connection(net::ConnectionId(2));
    }

    TEST_CASE("limits on topics and on watches of a connection are busy, and give room back") {
        WatchTable table(10);
        for (std::int32_t i = 0; i < 8; ++i) {
            CHECK(table.park(watch_of(1, i, {"A"})).has_value());
        }
        const Status ninth = table.park(watch_of(1, 9, {"A"}));
        REQUIRE(!ninth);
        CHECK(to_string(ninth.error()) ==
              "busy: 8 watches are parked on this connection, the most allowed");
        const Status big = table.park(watch_of(2, 1, {"A", "B", "C"}));
        REQUIRE(!big);
        CHECK(to_string(big.error()) ==
              "busy: 8 topics are watched, 3 more exceed limits.watched_topics_max 10");
        CHECK(table.park(watch_of(2, 1, {"A", "B"})).has_value());
        table.drop_connection(net::ConnectionId(1));
        CHECK(table.park(watch_of(1, 1, {"A", "B", "C"})).has_value());
    }
}

}  // namespace gantry::nameserver

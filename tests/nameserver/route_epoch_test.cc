// SPDX-License-Identifier: Apache-2.0
#include "tests/nameserver/nameserver_fixture.h"
#include "tests/nameserver/route_fixture.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <future>
#include <set>
#include <string>

namespace gantry::nameserver {
namespace {

using std::chrono::seconds;

/// Member 1 or 2 of the brokers "broker-a", in a role: id 0 is the master's.
TestBroker member(std::int64_t number, std::int64_t id, std::int64_t epoch) {
    const std::string address = "10.0.0." + std::to_string(number) + ":10911";
    return {"broker-a", address, "east", id, epoch, 0, static_cast<std::uint64_t>(number)};
}

}  // namespace

TEST_SUITE("nameserver/epochs") {
    TEST_CASE_FIXTURE(RouteFixture, "a new master replaces the old one, and no id stays behind") {
        add(member(1, 0, 5), 1, {topic_of("T")});
        add(member(2, 2, 5), 1, {topic_of("T")});
        CHECK(route("T") == "broker-a{0=10.0.0.1:10911 2=10.0.0.2:10911} 4/4 perm 6");
        take_changed();
        CHECK(add(member(2, 0, 6), 1, {topic_of("T")}) == "");
        CHECK(route("T") == "broker-a{0=10.0.0.2:10911} 4/4 perm 6");
        CHECK(take_changed() == std::set<std::string>{"T"});
        CHECK(table.broker_count() == 1);
        CHECK(add(member(1, 1, 6), 1, {topic_of("T")}) == "");
        CHECK(route("T") == "broker-a{0=10.0.0.2:10911 1=10.0.0.1:10911} 4/4 perm 6");
    }

    TEST_CASE_FIXTURE(RouteFixture, "a slave that knows a higher epoch takes the old master out") {
        add(member(1, 0, 5), 1, {topic_of("T")});
        CHECK(add(member(2, 2, 6), 1, {topic_of("T")}) == "");
        CHECK(route("T") == "broker-a{2=10.0.0.2:10911} 4/4 perm 6");
        CHECK(!heartbeat(member(1, 0, 5)));
        CHECK(add(member(1, 0, 5), 1, {topic_of("T")}) ==
              "conflict: epoch 5 of broker broker-a is below 6, the highest registered");
        // Its farewell, and the end of its connection, take nothing from the others.
        table.unregister_broker(member(1, 0, 5).identity());
        table.connection_lost(net::ConnectionId(1));
        CHECK(route("T") == "broker-a{2=10.0.0.2:10911} 4/4 perm 6");
    }

    TEST_CASE_FIXTURE(RouteFixture, "an epoch has one master, also after that one is gone") {
        add(member(1, 0, 5), 1, {topic_of("T")});
        add(member(2, 2, 5), 1, {topic_of("T")});
        const std::string refusal =
            "conflict: the master of broker broker-a in epoch 5 is 10.0.0.1:10911";
        CHECK(add(member(2, 0, 5), 1, {topic_of("T")}) == refusal);
        table.connection_lost(net::ConnectionId(1));
        CHECK(add(member(2, 0, 5), 1, {topic_of("T")}) == refusal);
        table.connection_lost(net::ConnectionId(2));
        CHECK(add(member(2, 0, 5), 1, {topic_of("T")}) == refusal);
        CHECK(add(member(1, 0, 5), 1, {topic_of("T")}) == "");
        CHECK(add(member(2, 0, 6), 1, {topic_of("T")}) == "");
    }

    TEST_CASE_FIXTURE(RouteFixture, "slaves keep the topics routed while there is no master") {
        add(member(1, 0, 5), 1, {topic_of("T")});
        add(member(2, 2, 5), 1, {topic_of("T")});
        take_changed();
        table.connection_lost(net::ConnectionId(1));
        CHECK(route("T") == "broker-a{2=10.0.0.2:10911} 4/4 perm 6");
        CHECK(take_changed() == std::set<std::string>{"T"});
        // The topics it knows are those of the log, also new ones.
        CHECK(add(member(2, 2, 5), 2, {topic_of("T"), topic_of("U")}) == "");
        CHECK(route("U") == "broker-a{2=10.0.0.2:10911} 4/4 perm 6");
    }

    TEST_CASE_FIXTURE(RouteFixture, "a slave of a lower epoch stays until it registers again") {
        add(member(1, 0, 5), 1, {topic_of("T")});
        add(member(2, 2, 5), 1, {topic_of("T")});
        add(member(3, 0, 6), 1, {topic_of("T")});
        CHECK(route("T") == "broker-a{0=10.0.0.3:10911 2=10.0.0.2:10911} 4/4 perm 6");
        CHECK(heartbeat(member(2, 2, 5)));
        CHECK(add(member(2, 2, 5), 1, {topic_of("T")}) ==
              "conflict: epoch 5 of broker broker-a is below 6, the highest registered");
        CHECK(add(member(2, 2, 6), 1, {topic_of("T")}) == "");
    }

    TEST_CASE_FIXTURE(RouteFixture, "the farewell of a role that is over is not heard") {
        add(member(2, 2, 5), 1, {topic_of("T")});
        add(member(2, 0, 6), 1, {topic_of("T")});
        table.unregister_broker(member(2, 2, 5).identity());
        CHECK(route("T") == "broker-a{0=10.0.0.2:10911} 4/4 perm 6");
        CHECK(!heartbeat(member(2, 2, 5)));
        CHECK(heartbeat(member(2, 0, 6)));
        table.unregister_broker(member(2, 0, 6).identity());
        CHECK(route("T") == "");
    }

    TEST_CASE_FIXTURE(RouteFixture, "a route says the epoch, where there is one") {
        add(member(1, 0, 5), 1, {topic_of("T")});
        add({"broker-b", "10.0.0.9:10911", "east", 0, 0, 0, 9}, 1, {topic_of("T")});
        wire::TopicRouteData data;
        REQUIRE(table.route("T", data));
        REQUIRE(data.brokerdatas_size() == 2);
        CHECK(data.brokerdatas(0).epoch() == 5);
        CHECK(!data.brokerdatas(1).has_epoch());
    }

    TEST_CASE_FIXTURE(NameserverFixture, "who waits for a route is told of a new master at once") {
        harness::RpcClient old_master(address());
        harness::RpcClient slave(address());
        const auto put = [](harness::RpcClient& from, std::int64_t number, std::int64_t id, int e) {
            const wire::RegisterBrokerRequest request = member(number, id, e).request();
            return from
                .call_with_body(wire::RequestCode::kRegisterBroker, &request, body_of(1, {"T"}))
                .summary();
        };
        REQUIRE(put(old_master, 1, 0, 5) == "0");
        REQUIRE(put(slave, 2, 2, 5) == "0");
        std::future<harness::Answer> parked = watch("T", version_of("T"), 60'000);
        CHECK(put(slave, 2, 0, 6) == "0");
        const auto told = parked.get().body_as<wire::WatchRoutesBody>();
        REQUIRE(told.changed_size() == 1);
        const wire::BrokerData& now = told.changed(0).route().brokerdatas(0);
        CHECK(now.epoch() == 6);
        CHECK(now.brokeraddrs().at(0) == "10.0.0.2:10911");
        CHECK(now.brokeraddrs_size() == 1);
        const wire::BrokerIdentity old = member(1, 0, 5).identity();
        CHECK(old_master.call(wire::RequestCode::kBrokerHeartbeat, &old).code ==
              wire::ResponseCode::kQueryNotFound);
        harness::RpcClient stock(address(), wire::Codec::kJson);
        CHECK(route(stock, "T").body.find("epoch") == std::string::npos);
    }
}

}  // namespace gantry::nameserver

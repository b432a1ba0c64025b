// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/group_registry.h"
#include "broker/delivery/queue_locks.h"
#include "broker/delivery/tag_filter.h"
#include "broker/work_pool.h"
#include "protocol/wire/properties.h"

#include <doctest/doctest.h>

#include <future>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/delivery");

namespace {

class ManualClock final : public Clock {
public:
    WallMs wall_ms() const noexcept override { return 0; }

    SteadyTime steady() const noexcept override { return now; }

    SteadyTime now{};
};

wire::ConsumerData consumer_of(const std::string& group) {
    wire::ConsumerData consumer;
    consumer.set_groupname(group);
    consumer.set_messagemodel("CLUSTERING");
    return consumer;
}

ClientInfo client_of(PeerId peer) {
    ClientInfo client;
    client.peer = peer;
    client.client_id = "c" + std::to_string(peer);
    return client;
}

}  // namespace

TEST_CASE("tag expressions become hashes, stars and blanks everything") {
    for (const char* const all : {"", "*", "  ", " * "}) {
        const auto filter = parse_tag_expression(all);
        REQUIRE(filter);
        CHECK(*filter == nullptr);
    }
    const auto some = parse_tag_expression(" TagA||TagB ||  TagA");
    REQUIRE(some);
    CHECK(**some == std::vector<std::int64_t>{wire::tag_hash("TagA"), wire::tag_hash("TagB")});
    CHECK_FALSE(parse_tag_expression("||"));
    CHECK_FALSE(parse_tag_expression(" || || "));
}

TEST_CASE("a lock lapses when its holder does not renew it") {
    ManualClock clock;
    QueueLocks locks(clock);
    const QueueLocks::Name name{"G", "T", 0};
    CHECK(locks.lock(name, "a"));
    clock.now += std::chrono::seconds(59);
    CHECK_FALSE(locks.lock(name, "b"));
    CHECK(locks.lock(name, "a"));
    clock.now += std::chrono::seconds(59);
    CHECK_FALSE(locks.lock(name, "b"));
    clock.now += std::chrono::seconds(1);
    CHECK(locks.lock(name, "b"));
    locks.unlock(name, "a");
    CHECK_FALSE(locks.lock(name, "a"));
    CHECK(locks.lock({"G2", "T", 0}, "a"));
}

TEST_CASE("a member without heartbeats for two minutes is taken out, and the rest is told") {
    ManualClock clock;
    GroupRegistry groups(clock);
    CHECK(groups.join(client_of(1), consumer_of("G")));
    CHECK(groups.join(client_of(2), consumer_of("G")));
    clock.now += std::chrono::seconds(100);
    CHECK_FALSE(groups.join(client_of(2), consumer_of("G")));
    CHECK(groups.expire().empty());
    clock.now += std::chrono::seconds(20);
    const auto changes = groups.expire();
    REQUIRE(changes.size() == 1);
    CHECK(changes[0].group == "G");
    REQUIRE(changes[0].receivers.size() == 1);
    CHECK(changes[0].receivers[0].peer == 2);
    CHECK(groups.client_ids("G") == std::vector<std::string>{"c2"});
    clock.now += std::chrono::seconds(100);
    CHECK(groups.expire().size() == 1);
    CHECK(groups.client_ids("G").empty());
    CHECK(groups.member_count() == 0);
}

TEST_CASE("leaving one group leaves the others alone") {
    ManualClock clock;
    GroupRegistry groups(clock);
    groups.join(client_of(1), consumer_of("G"));
    groups.join(client_of(1), consumer_of("H"));
    groups.join_producer(client_of(1), "G");
    CHECK(groups.leave(1, "G", "").size() == 1);
    CHECK(groups.client_ids("G").empty());
    CHECK(groups.client_ids("H").size() == 1);
    CHECK(groups.producer_connections("G"));
    CHECK(groups.leave(1, "", "G").empty());
    CHECK_FALSE(groups.producer_connections("G"));
    CHECK(groups.remove_peer(1).size() == 1);
    CHECK(groups.groups().empty());
}

TEST_CASE("a full pool refuses, a stopped one too") {
    WorkPool pool(1, 1);
    std::promise<void> release;
    std::promise<void> running;
    REQUIRE(pool.submit([&] {
        running.set_value();
        release.get_future().wait();
    }));
    running.get_future().wait();
    REQUIRE(pool.submit([] {}));
    const Status refused = pool.submit([] {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::kBusy);
    release.set_value();
    pool.stop();
    CHECK(pool.submit([] {}).error().code == Errc::kClosed);
}

TEST_SUITE_END();

}  // namespace gantry::broker

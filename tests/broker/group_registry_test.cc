// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/group_registry.h"

#include "common/clock.h"
#include "protocol/wire/group.pb.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

namespace gantry::broker {
namespace {

class TurnedClock final : public Clock {
public:
    WallMs wall_ms() const noexcept override { return 0; }

    SteadyTime steady() const noexcept override { return now_; }

    void turn(std::chrono::seconds by) { now_ += by; }

private:
    SteadyTime now_{std::chrono::hours(1)};
};

struct RegistryFixture {
    TurnedClock clock;
    filter::SqlFilters filters{true};
    GroupRegistry registry{clock, filters};

    void join(PeerId peer, const std::string& group) {
        wire::ConsumerData consumer;
        consumer.set_groupname(group);
        registry.join(client(peer), consumer);
    }

    static ClientInfo client(PeerId peer) {
        ClientInfo client;
        client.peer = peer;
        client.client_id = "c" + std::to_string(peer);
        return client;
    }
};

/// "group: peers that are told", one for each change.
std::vector<std::string> told(const std::vector<GroupRegistry::Change>& changes) {
    std::vector<std::string> all;
    for (const GroupRegistry::Change& change : changes) {
        std::string& line = all.emplace_back(change.group + ":");
        for (const GroupRegistry::Receiver& receiver : change.receivers) {
            line += " " + std::to_string(receiver.peer);
        }
    }
    return all;
}

using Lines = std::vector<std::string>;

TEST_SUITE("broker/group_registry") {
    TEST_CASE_FIXTURE(RegistryFixture, "a closed connection leaves all its groups and no other") {
        for (const PeerId peer : {1U, 2U}) {
            join(peer, "A");
            join(peer, "B");
            registry.join_producer(client(peer), "P");
        }
        join(2, "C");
        CHECK(told(registry.remove_peer(1)) == Lines{"A: 2", "B: 2"});
        CHECK(told(registry.remove_peer(1)).empty());
        CHECK(registry.client_ids("A") == Lines{"c2"});
        REQUIRE(registry.producer_connections("P"));
        CHECK(registry.producer_connections("P")->connectionset_size() == 1);
        CHECK(told(registry.remove_peer(2)) == Lines{"A:", "B:", "C:"});
        CHECK(registry.groups().empty());
        CHECK_FALSE(registry.producer_connections("P"));
    }

    TEST_CASE_FIXTURE(RegistryFixture, "leaving ends the memberships named and keeps the others") {
        join(1, "A");
        join(1, "B");
        join(2, "A");
        registry.join_producer(client(1), "P");
        CHECK(told(registry.leave(1, "A", "")) == Lines{"A: 2"});
        CHECK(told(registry.leave(1, "A", "")).empty());
        CHECK(told(registry.leave(3, "A", "P")).empty());
        CHECK(registry.producer_connections("P"));
        CHECK(told(registry.leave(1, "", "P")).empty());
        CHECK_FALSE(registry.producer_connections("P"));
        join(1, "A");
        CHECK(told(registry.remove_peer(1)) == Lines{"A: 2", "B:"});
        CHECK(registry.member_count() == 1);
    }

    TEST_CASE_FIXTURE(RegistryFixture, "who is silent for too long leaves, and may come back") {
        for (const PeerId peer : {1U, 2U, 3U}) {
            join(peer, "A");
        }
        join(1, "B");
        registry.join_producer(client(1), "P");
        clock.turn(GroupRegistry::kExpiry - std::chrono::seconds(1));
        CHECK(registry.expire().empty());
        join(3, "A");  // renews
        clock.turn(std::chrono::seconds(1));
        CHECK(told(registry.expire()) == Lines{"A: 3", "B:"});
        CHECK_FALSE(registry.producer_connections("P"));
        CHECK(registry.expire().empty());
        CHECK(registry.remove_peer(2).empty());
        join(1, "A");
        CHECK(told(registry.remove_peer(1)) == Lines{"A: 3"});
        CHECK(registry.member_count() == 1);
    }
}

}  // namespace
}  // namespace gantry::broker

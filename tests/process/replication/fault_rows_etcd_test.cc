// SPDX-License-Identifier: Apache-2.0
#include "tests/process/replication/group_case.h"

#include <optional>
#include <string>

namespace gantry::harness {
namespace {

constexpr std::chrono::milliseconds kBriefly{500};

using Direction = FaultyProxy::Direction;

TEST_SUITE("process/replication/etcd") {
    TEST_CASE("fault 25: a master parted from etcd alone stops in time, and another goes on") {
        const auto group = group_or_not_run({});
        if (!group) {
            return;
        }
        const std::size_t old = require_master(*group);
        require_good(group->send_some(10));
        group->part_from_etcd(old);
        require_good(group->wait_for_master(old));
        require_good(group->send_some(5));
        CHECK(group->send(old, "after", kBriefly).summary() != "0");
        group->rejoin_etcd(old);
        require_whole(*group);
    }

    TEST_CASE("fault 25: a slave parted from etcd follows, and does not make itself master") {
        const auto group = group_or_not_run({});
        if (!group) {
            return;
        }
        const std::size_t master = require_master(*group);
        const auto before = group->status(master);
        require_good(before);
        const std::size_t slave = group->a_slave();
        group->part_from_etcd(slave);
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(4);
        while (std::chrono::steady_clock::now() < until) {
            require_good(group->send_some(5));
            const auto said = group->status(slave);
            CHECK((!said || !said->ismaster()));
        }
        const auto after = group->status(master);
        require_good(after);
        CHECK(after->ismaster());
        CHECK(after->epoch() == before->epoch());
        group->rejoin_etcd(slave);
        require_whole(*group);
    }

    TEST_CASE("fault 26: whichever way a link is cut, nobody is elected, and it heals") {
        const auto group = group_or_not_run({});
        if (!group) {
            return;
        }
        const std::size_t master = require_master(*group);
        const auto before = group->status(master);
        require_good(before);
        require_good(group->send_some(5));
        Direction deaf = Direction::kToClient;
        SUBCASE("slaves do not hear the master") {
            deaf = Direction::kToClient;
        }
        SUBCASE("the master does not hear its slaves") {
            deaf = Direction::kToTarget;
        }
        group->link_proxy(master).hold(deaf, true);
        require_good(group->wait_in_sync(1, kSoon));
        CHECK(group->send(master, "unheard", kBriefly).summary() != "0");
        group->link_proxy(master).hold(deaf, false);
        require_good(group->wait_in_sync(group->size(), kSoon));
        require_good(group->send_some(5));
        const auto after = group->status(master);
        require_good(after);
        CHECK(after->epoch() == before->epoch());
        require_whole(*group);
    }

    TEST_CASE("fault 27: slaves that reach one another and etcd, not the master, elect nobody") {
        const auto group = group_or_not_run({});
        if (!group) {
            return;
        }
        const std::size_t master = require_master(*group);
        const auto before = group->status(master);
        require_good(before);
        require_good(group->send_some(5));
        group->link_proxy(master).drop();
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(4);
        int number = 0;
        while (std::chrono::steady_clock::now() < until) {
            CHECK(group->master() == std::optional(master));
            CHECK(group->send(master, "alone " + std::to_string(number++), kBriefly).summary() !=
                  "0");
        }
        group->link_proxy(master).pass();
        require_good(group->wait_in_sync(group->size(), kSoon));
        require_good(group->send_some(5));
        const auto after = group->status(master);
        require_good(after);
        CHECK(after->epoch() == before->epoch());
        require_whole(*group);
    }

    TEST_CASE("fault 39: one of three etcd gone costs nothing, two stop the master for a while") {
        ReplicatedGroup::Options options;
        options.etcd = 3;
        const auto group = group_or_not_run(options);
        if (!group) {
            return;
        }
        group->etcd().kill(0);
        require_good(group->send_some(20));
        group->etcd().kill(1);
        int number = 0;
        const bool is_stopped = wait_until(kSoon, [&] {
            const auto master = group->master();
            return !master || group->send(*master, "no lease " + std::to_string(number++), kBriefly)
                                      .summary() != "0";
        });
        CHECK(is_stopped);
        require_good(group->etcd().begin(0));
        require_good(group->etcd().begin(1));
        require_good(group->etcd().wait_healthy());
        require_good(group->wait_for_master());
        require_good(group->send_some(5));
        require_whole(*group);
    }
}

}  // namespace
}  // namespace gantry::harness

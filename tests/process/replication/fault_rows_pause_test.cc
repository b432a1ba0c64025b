// SPDX-License-Identifier: Apache-2.0
#include "tests/process/replication/group_case.h"

#include <string>

namespace gantry::harness {
namespace {

constexpr std::chrono::milliseconds kBriefly{500};

TEST_SUITE("process/replication/pause") {
    TEST_CASE("fault 18: a master stopped past its lease acknowledges nothing when it goes on") {
        const auto group = group_or_not_run({});
        if (!group) {
            return;
        }
        const std::size_t old = require_master(*group);
        require_good(group->send_some(10));
        group->broker(old).process().pause();
        require_good(group->wait_for_master(old));
        require_good(group->send_some(5));
        group->broker(old).process().resume();
        for (int i = 0; i < 5; ++i) {
            const Answer answer = group->send(old, "late " + std::to_string(i), kBriefly);
            CHECK(answer.summary() != "0");
        }
        require_whole(*group);
    }

    TEST_CASE("fault 18: a slave or the nameserver stopped for a while costs time, no message") {
        const auto group = group_or_not_run({});
        if (!group) {
            return;
        }
        const std::size_t slave = group->a_slave();
        group->broker(slave).process().pause();
        require_good(group->send_some(10, kSoon));
        require_good(group->wait_in_sync(group->size() - 1, kSoon));
        group->nameserver().process().pause();
        require_good(group->send_some(10, kSoon));
        group->nameserver().process().resume();
        group->broker(slave).process().resume();
        require_whole(*group);
    }

    TEST_CASE("fault 20: a master whose lease passed while it stood still has to renew it first") {
        const auto group = group_or_not_run({});
        if (!group) {
            return;
        }
        const std::size_t master = require_master(*group);
        require_good(group->send_some(10));
        group->broker(master).process().pause();
        // Nobody can be elected, and nobody can renew.
        group->etcd().pause(0);
        const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(2'500);
        REQUIRE(wait_until(kSoon, [&] { return std::chrono::steady_clock::now() >= until; }));
        group->broker(master).process().resume();
        const Answer answer = group->send(master, "late", kBriefly);
        CHECK(answer.summary() != "0");
        group->etcd().resume(0);
        require_good(group->wait_for_master());
        require_good(group->send_some(5));
        require_whole(*group);
    }

    TEST_CASE("fault 33: a master cut off with its clients tells none that a message is stored") {
        const auto group = group_or_not_run({});
        if (!group) {
            return;
        }
        const std::size_t old = require_master(*group);
        require_good(group->send_some(10));
        group->part_from_etcd(old);
        group->link_proxy(old).drop();
        for (int i = 0; i < 4; ++i) {
            const Answer answer = group->send(old, "alone " + std::to_string(i), kBriefly);
            CHECK(answer.summary() != "0");
        }
        require_good(group->wait_for_master(old));
        require_good(group->send_some(5));
        const Answer answer = group->send(old, "after", kBriefly);
        CHECK(answer.summary() != "0");
        group->rejoin_etcd(old);
        group->link_proxy(old).pass();
        require_whole(*group);
    }
}

}  // namespace
}  // namespace gantry::harness

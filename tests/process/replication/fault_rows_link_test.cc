// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/broker_calls.h"
#include "tests/process/replication/group_case.h"

#include <string>

namespace gantry::harness {
namespace {

/// Of a link, as the slave sees it, who dials: log bytes come to the client, what it has goes back.
using Direction = FaultyProxy::Direction;

TEST_SUITE("process/replication/link") {
    TEST_CASE(
        "fault 21: a link whose other end is gone without a word is noticed, and made again") {
        const auto group = group_or_not_run(two_static(1));
        require_good(group->send_some(5));
        group->link_proxy(0).drop();
        require_good(group->wait_in_sync(1, std::chrono::seconds(5)));
        require_good(group->send_some(10));
        group->link_proxy(0).pass();
        require_whole(*group);
    }

    TEST_CASE("fault 22: resets of the link under load cost nothing") {
        const auto group = group_or_not_run(two_static());
        for (int i = 0; i < 20; ++i) {
            require_good(group->send_some(3));
            group->link_proxy(0).cut_once();
        }
        require_whole(*group);
    }

    TEST_CASE("fault 23: a master parted from its slave refuses sends until they meet") {
        const auto group = group_or_not_run(two_static());
        require_good(group->send_some(5));
        SUBCASE("without a word") {
            group->link_proxy(0).drop();
        }
        SUBCASE("with resets") {
            group->link_proxy(0).cut();
        }
        int number = 0;
        const bool is_refused = wait_until(kSoon, [&] {
            const Answer answer = group->send(
                0, "parted " + std::to_string(number++), std::chrono::milliseconds(300));
            CHECK(answer.summary() != "0");
            return answer.transport.has_value() && answer.code == wire::ResponseCode::kInSyncTooFew;
        });
        CHECK(is_refused);
        group->link_proxy(0).pass();
        require_good(group->wait_in_sync(2, kSoon));
        require_good(group->send_some(5));
        require_whole(*group);
    }

    TEST_CASE("fault 24: a broker parted from the nameserver serves on, and its route stays") {
        const auto group = group_or_not_run(two_static());
        RpcClient names(group->nameserver().address());
        const auto has_master = [&] {
            return route(names, ReplicatedGroup::kTopic).body.find(group->broker(0).address()) !=
                   std::string::npos;
        };
        REQUIRE(wait_until(kSoon, has_master));
        group->name_proxy(0).drop();
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(2);
        while (std::chrono::steady_clock::now() < until) {
            require_good(group->send_some(5));
            CHECK(has_master());
        }
        group->name_proxy(0).pass();
        group->name_proxy(0).cut_once();
        require_good(group->send_some(5));
        CHECK(wait_until(kSoon, has_master));
        require_whole(*group);
    }

    TEST_CASE("fault 28: damaged, lost and doubled bytes of a link are refused and sent again") {
        const auto group = group_or_not_run(two_static());
        for (int i = 0; i < 6; ++i) {
            group->link_proxy(0).flip_bit(i % 2 == 0 ? Direction::kToClient : Direction::kToTarget);
            require_good(group->send_some(3));
        }
        group->link_proxy(0).duplicate_every(3);
        group->link_proxy(0).cut_once();
        for (int i = 0; i < 3; ++i) {
            require_good(group->send_some(3));
        }
        group->link_proxy(0).duplicate_every(0);
        group->link_proxy(0).cut_once();
        for (int i = 0; i < 3; ++i) {
            group->link_proxy(0).drop();
            CHECK(group->send(0, "dropped " + std::to_string(i), std::chrono::milliseconds(50))
                      .summary() != "0");
            group->link_proxy(0).pass();
            require_good(group->send_some(3));
        }
        require_whole(*group);
    }

    TEST_CASE(
        "fault 29: over a long and thin link a slave stays in sync, and goes on where it was") {
        auto options = two_static();
        options.settings["replication.lag_ms_max"] = "5000";
        options.settings["replication.heartbeat_ms"] = "500";
        const auto group = group_or_not_run(options);
        group->link_proxy(0).delay(std::chrono::milliseconds(100));
        require_good(group->send_some(5));
        group->link_proxy(0).limit_rate(300'000);
        const std::string filler(20'000, 'f');
        for (int i = 0; i < 20; ++i) {
            const Answer answer =
                group->send(0, "big " + std::to_string(i) + filler, Process::kPatience);
            CHECK(answer.summary() == "0");
            if (i == 10) {
                group->link_proxy(0).cut_once();
            }
        }
        const auto said = group->status(0);
        require_good(said);
        CHECK(said->insync_size() == 2);
        group->link_proxy(0).limit_rate(0);
        group->link_proxy(0).delay(std::chrono::milliseconds(0));
        require_whole(*group);
    }
}

}  // namespace
}  // namespace gantry::harness

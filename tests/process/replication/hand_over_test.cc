// SPDX-License-Identifier: Apache-2.0
#include "tests/process/replication/roles.h"

#include <atomic>
#include <chrono>
#include <thread>

namespace gantry::harness {
namespace {

using Time = std::chrono::steady_clock;

TEST_SUITE("hand-over") {
    TEST_CASE("fault 54: a master that is told to stop hands over first, under load") {
        if (!EtcdCluster::is_installed()) {
            MESSAGE("etcd is not installed: not run");
            return;
        }
        ReplicatedGroup::Options options;
        options.members = 3;
        const auto group = start_group(options);
        require_ok(group->send_some(20));
        const std::size_t before = *group->master();
        std::atomic<bool> is_over{false};
        std::vector<std::string> acknowledged;
        std::thread load([&] {
            RpcClient client(group->broker(before).address());
            for (int i = 0; !is_over; ++i) {
                const std::string body = "load " + std::to_string(i);
                if (send(client, ReplicatedGroup::kTopic, 0, {{body}}).summary() != "0") {
                    break;
                }
                acknowledged.push_back(body);
            }
        });
        const auto asked_at = Time::now();
        const Status stopped = group->broker(before).stop();
        const auto took = Time::now() - asked_at;
        is_over = true;
        load.join();
        require_ok(stopped);
        const auto after = group->wait_for_master(before);
        REQUIRE_MESSAGE(after.has_value(), (after ? "" : to_string(after.error())));
        MESSAGE(
            "the stop took " << std::chrono::duration_cast<std::chrono::milliseconds>(took).count()
                             << " ms, " << acknowledged.size() << " were acknowledged meanwhile");
        require_ok(group->check(*after));
        RpcClient client(group->broker(*after).address());
        const std::vector<std::string> served = read_queue(client, ReplicatedGroup::kTopic, 0);
        for (const std::string& body : acknowledged) {
            CHECK(std::count(served.begin(), served.end(), body) == 1);
        }
        require_ok(group->broker(before).start());
        require_ok(group->wait_in_sync(3));
        CHECK(*group->master() == *after);
    }

    TEST_CASE("the operator of a group with etcd moves the master") {
        if (!EtcdCluster::is_installed()) {
            MESSAGE("etcd is not installed: not run");
            return;
        }
        ReplicatedGroup::Options options;
        options.members = 2;
        const auto group = start_group(options);
        require_ok(group->send_some(20));
        const std::size_t before = *group->master();
        static_cast<void>(promote(*group, 1 - before, true, false));
        const auto after = group->wait_for_master(before);
        REQUIRE_MESSAGE(after.has_value(), (after ? "" : to_string(after.error())));
        require_ok(group->wait_in_sync(2));
        require_ok(group->wait_same_logs());
        require_ok(group->check(*after));
    }
}

}  // namespace
}  // namespace gantry::harness

// SPDX-License-Identifier: Apache-2.0
#include "tests/process/replication/roles.h"

#include <chrono>
#include <filesystem>

namespace gantry::harness {
namespace {

using std::chrono::milliseconds;

bool has_etcd() {
    if (!EtcdCluster::is_installed()) {
        MESSAGE("etcd is not installed: not run");
        return false;
    }
    return true;
}

ReplicatedGroup::Options with_etcd(std::size_t members, std::int64_t in_sync_min) {
    ReplicatedGroup::Options options;
    options.members = members;
    options.in_sync_min = in_sync_min;
    return options;
}

TEST_SUITE("fail-over") {
    TEST_CASE("fault 31: the master is killed, a slave in sync is the next and has everything") {
        if (!has_etcd()) {
            return;
        }
        const auto group = start_group(with_etcd(3, 2));
        require_ok(group->send_some(50));
        const std::size_t before = *group->master();
        const std::int64_t epoch = group->status(before).value().epoch();
        group->broker(before).kill();
        const auto after = group->wait_for_master(before, milliseconds(10'000));
        REQUIRE_MESSAGE(after.has_value(), (after ? "" : to_string(after.error())));
        CHECK(group->status(*after).value().epoch() > epoch);
        require_ok(group->send_some(20));
        require_ok(group->check(*after));

        require_ok(group->broker(before).start());
        require_ok(group->wait_in_sync(3));
        require_ok(group->wait_same_logs());
        for (std::size_t i = 0; i < group->size(); ++i) {
            CHECK(wait_until(Process::kPatience, [&] { return group->check(i).has_value(); }));
        }
    }

    TEST_CASE("a master that was stopped acknowledges nothing when it goes on") {
        if (!has_etcd()) {
            return;
        }
        const auto group = start_group(with_etcd(3, 2));
        require_ok(group->send_some(10));
        const std::size_t before = *group->master();
        RpcClient client(group->broker(before).address());
        REQUIRE(send(client, ReplicatedGroup::kTopic, 0, {{"before"}}).summary() == "0");
        group->broker(before).process().pause();
        const auto after = group->wait_for_master(before);
        REQUIRE_MESSAGE(after.has_value(), (after ? "" : to_string(after.error())));
        require_ok(group->send_some(10));
        std::vector<std::future<Answer>> late;
        wire::SendRecordsRequest request;
        request.set_topic(ReplicatedGroup::kTopic);
        request.set_queueid(0);
        request.set_count(1);
        for (int i = 0; i < 20; ++i) {
            late.push_back(
                client.start(wire::RequestCode::kSendRecords,
                             &request,
                             records(ReplicatedGroup::kTopic, 0, {{"late " + std::to_string(i)}}),
                             milliseconds(5'000)));
        }
        group->broker(before).process().resume();
        for (std::future<Answer>& answer : late) {
            CHECK(answer.get().summary() != "0");
        }
        require_ok(group->wait_in_sync(3));
        CHECK(*group->master() == *after);
        require_ok(group->wait_same_logs());
        CHECK(wait_until(Process::kPatience, [&] { return group->check(before).has_value(); }));
    }

    TEST_CASE("all members die: with those of the set back the group goes on") {
        if (!has_etcd()) {
            return;
        }
        const auto group = start_group(with_etcd(2, 2));
        require_ok(group->send_some(20));
        group->broker(0).kill();
        group->broker(1).kill();
        require_ok(group->broker(1).start());
        require_ok(group->broker(0).start());
        require_ok(group->wait_in_sync(2));
        require_ok(group->send_some(5));
        require_ok(group->check(*group->master()));
    }

    TEST_CASE("a member whose disk was replaced is not elected, and is filled anew") {
        if (!has_etcd()) {
            return;
        }
        const auto group = start_group(with_etcd(2, 1));
        require_ok(group->send_some(20));
        const std::size_t master = *group->master();
        const std::size_t slave = 1 - master;
        group->broker(slave).kill();
        group->broker(master).kill();
        std::filesystem::remove_all(group->store(slave));
        require_ok(group->broker(slave).start());
        CHECK(wait_until(Process::kPatience, [&] {
            return readiness(*group, slave).find("not in the in-sync set") != std::string::npos;
        }));
        CHECK_FALSE(group->master().has_value());
        require_ok(group->broker(master).start());
        require_ok(group->wait_in_sync(2));
        require_ok(group->send_some(5));
        require_ok(group->wait_same_logs());
        CHECK(wait_until(Process::kPatience, [&] { return group->check(slave).has_value(); }));
    }
}

}  // namespace
}  // namespace gantry::harness

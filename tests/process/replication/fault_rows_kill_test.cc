// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/replication.pb.h"
#include "tests/process/replication/group_case.h"

#include <filesystem>
#include <optional>
#include <vector>

namespace gantry::harness {
namespace {

namespace fs = std::filesystem;

std::vector<std::size_t> others(const ReplicatedGroup& group, std::size_t but) {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < group.size(); ++i) {
        if (i != but) {
            found.push_back(i);
        }
    }
    return found;
}

/// What an operator is told who asks a broker to become master, and does not confirm it.
Result<wire::PromoteResponse> ask_to_promote(ReplicatedGroup& group, std::size_t index) {
    RpcClient client(group.broker(index).address());
    const wire::PromoteRequest request;
    const Answer answer = client.call(wire::RequestCode::kPromote, &request);
    if (answer.summary() != "0") {
        return Error{Errc::kIo, answer.summary()};
    }
    return answer.fields<wire::PromoteResponse>();
}

TEST_SUITE("process/replication/kill") {
    TEST_CASE("fault 2: all brokers killed at once lose nothing that was acknowledged") {
        ReplicatedGroup::Options options;
        SUBCASE("sync flush") {
            options.flush = "sync";
        }
        SUBCASE("async flush") {
            options.flush = "async";
        }
        const auto group = group_or_not_run(options);
        if (!group) {
            return;
        }
        require_good(group->send_some(50));
        for (std::size_t i = 0; i < group->size(); ++i) {
            group->broker(i).kill();
        }
        for (std::size_t i = 0; i < group->size(); ++i) {
            require_good(group->broker(i).start());
        }
        require_good(group->wait_for_master());
        require_good(group->send_some(5));
        require_whole(*group);
    }

    TEST_CASE("fault 30: a slave that lags is not elected, and an operator hears what that costs") {
        ReplicatedGroup::Options options;
        options.members = 2;
        options.in_sync_min = 1;
        const auto group = group_or_not_run(options);
        if (!group) {
            return;
        }
        const std::size_t master = require_master(*group);
        const std::size_t slave = others(*group, master).front();
        require_good(group->send_some(5));
        group->broker(slave).process().pause();
        // Acknowledged by the master alone, once the slave is out of the set.
        require_good(group->send_some(10, kSoon));
        require_good(group->wait_in_sync(1, kSoon));
        group->broker(master).kill();
        group->broker(slave).process().resume();
        const auto elected = group->wait_for_master(std::nullopt, std::chrono::seconds(4));
        CHECK_FALSE(elected.has_value());
        const auto told = ask_to_promote(*group, slave);
        require_good(told);
        CHECK_FALSE(told->isdone());
        CHECK_FALSE(told->isinsync());
        CHECK_FALSE(told->text().empty());
        require_good(group->broker(master).start());
        require_good(group->wait_for_master(std::nullopt, kSoon));
        CHECK(group->master() == std::optional(master));
        require_whole(*group);
    }

    TEST_CASE("fault 32: a master that comes back gives up a tail that nobody acknowledged") {
        ReplicatedGroup::Options options;
        // The set must not shrink to the master alone before it is killed.
        options.settings["replication.lag_ms_max"] = "10000";
        const auto group = group_or_not_run(options);
        if (!group) {
            return;
        }
        const std::size_t old = require_master(*group);
        require_good(group->send_some(10));
        // What it appends from now on reaches nobody.
        group->link_proxy(old).drop();
        for (int i = 0; i < 3; ++i) {
            const Answer answer =
                group->send(old, "tail " + std::to_string(i), std::chrono::milliseconds(100));
            CHECK(answer.summary() != "0");
        }
        group->broker(old).kill();
        group->link_proxy(old).pass();
        require_good(group->wait_for_master(old));
        require_good(group->send_some(10));
        require_good(group->broker(old).start());
        require_whole(*group);
        const fs::path cut = group->store(old) / "cut";
        REQUIRE(fs::exists(cut));
        CHECK_FALSE(fs::is_empty(cut));
    }
}

}  // namespace
}  // namespace gantry::harness

// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/message.pb.h"
#include "tests/process/replication/roles.h"

namespace gantry::harness {
namespace {

ReplicatedGroup::Options two_members(std::int64_t in_sync_min) {
    ReplicatedGroup::Options options;
    options.members = 2;
    options.etcd = 0;
    options.in_sync_min = in_sync_min;
    return options;
}

void commit_offset(RpcClient& client, std::int64_t offset) {
    wire::UpdateConsumerOffsetRequest request;
    request.set_consumergroup("G");
    request.set_topic(ReplicatedGroup::kTopic);
    request.set_queueid(0);
    request.set_commitoffset(offset);
    const Answer answer = client.call(wire::RequestCode::kUpdateConsumerOffset, &request);
    REQUIRE_MESSAGE(answer.summary() == "0", answer.summary());
}

std::int64_t offset_of(RpcClient& client) {
    wire::QueryConsumerOffsetRequest request;
    request.set_consumergroup("G");
    request.set_topic(ReplicatedGroup::kTopic);
    request.set_queueid(0);
    const Answer answer = client.call(wire::RequestCode::kQueryConsumerOffset, &request);
    return answer.summary() == "0" ? answer.fields<wire::OffsetResponse>().offset() : -1;
}

TEST_SUITE("static roles") {
    TEST_CASE("a slave has the same bytes, and every state, and takes no sends") {
        const auto group = start_group(two_members(2));
        require_ok(group->send_some(50));
        {
            RpcClient master(group->broker(0).address());
            commit_offset(master, 17);
        }
        require_ok(group->wait_same_logs());
        RpcClient slave(group->broker(1).address());
        CHECK(wait_until(Process::kPatience, [&] { return offset_of(slave) == 17; }));
        CHECK(wait_until(Process::kPatience, [&] { return group->check(1).has_value(); }));
        CHECK(send(slave, ReplicatedGroup::kTopic, 0, {{"no"}}).code ==
              wire::ResponseCode::kNotMaster);
        CHECK(readiness(*group, 0).find("ready") == 0);
        CHECK(metric(group->broker(0).http_port(), "gantry_broker_role").value_or(-1) == 2);
        CHECK(metric(group->broker(1).http_port(), "gantry_broker_role").value_or(-1) == 1);
        CHECK(metric(group->broker(0).http_port(), "gantry_broker_in_sync_members").value_or(-1) ==
              2);
        const auto end = group->status(0);
        REQUIRE(end.has_value());
        group->broker(0).kill();
        group->broker(1).kill();
        const std::string first = log_bytes(group->store(0), end->logend());
        CHECK(first.size() == static_cast<std::size_t>(end->logend()));
        CHECK(first == log_bytes(group->store(1), end->logend()));
    }

    TEST_CASE(
        "an operator promotes the slave of a dead master, and the old one comes back as "
        "slave") {
        const auto group = start_group(two_members(1));
        require_ok(group->send_some(20));
        group->broker(0).kill();
        CHECK(wait_until(Process::kPatience,
                         [&] { return readiness(*group, 1).find("slave") == 0; }));

        const Answer asked = promote(*group, 1, false, false);
        REQUIRE_MESSAGE(asked.summary() == "0", asked.summary());
        const auto told = asked.fields<wire::PromoteResponse>();
        CHECK_FALSE(told.isdone());
        CHECK(told.isinsync());
        CHECK(told.lostbytesmax() == 0);
        CHECK(told.logend() > 0);
        CHECK(told.text().find("in sync") != std::string::npos);
        CHECK_FALSE(group->master().has_value());

        static_cast<void>(promote(*group, 1, true, false));
        const auto master = group->wait_for_master(0);
        REQUIRE_MESSAGE(master.has_value(), (master ? "" : to_string(master.error())));
        CHECK(*master == 1);
        require_ok(group->send_some(20));

        require_ok(group->broker(0).start());
        require_ok(group->wait_in_sync(2));
        CHECK(*group->master() == 1);
        require_ok(group->wait_same_logs());
        require_ok(group->check(1));
        CHECK(wait_until(Process::kPatience, [&] { return group->check(0).has_value(); }));
    }

    TEST_CASE("what only the old master had is cut from its log, and kept") {
        ReplicatedGroup::Options options = two_members(1);
        options.settings["replication.acks"] = "async";
        const auto group = start_group(options);
        require_ok(group->send_some(10));
        require_ok(group->wait_same_logs());
        group->broker(1).kill();
        // Acknowledged by the master alone, as replication.acks has it.
        for (int i = 0; i < 10; ++i) {
            RpcClient master(group->broker(0).address());
            REQUIRE(send(master, ReplicatedGroup::kTopic, 0, {{"alone " + std::to_string(i)}})
                        .summary() == "0");
        }
        const std::int64_t long_end = group->status(0).value().logend();
        group->broker(0).kill();
        require_ok(group->broker(1).start());
        CHECK(wait_until(Process::kPatience,
                         [&] { return promote(*group, 1, false, false).summary() == "0"; }));
        static_cast<void>(promote(*group, 1, true, true));
        const auto master = group->wait_for_master(0);
        REQUIRE_MESSAGE(master.has_value(), (master ? "" : to_string(master.error())));

        require_ok(group->broker(0).start());
        require_ok(group->wait_in_sync(2));
        require_ok(group->send_some(5));
        require_ok(group->wait_same_logs());
        CHECK(wait_until(Process::kPatience, [&] { return group->check(0).has_value(); }));
        std::size_t kept = 0;
        for (const auto& entry : std::filesystem::directory_iterator(group->store(0) / "cut")) {
            kept += entry.file_size();
        }
        CHECK(kept > 0);
        CHECK(kept < static_cast<std::size_t>(long_end));
    }

    TEST_CASE("a copy that knows nothing of its group is promoted only by who accepts the loss") {
        const auto group = start_group(two_members(1));
        require_ok(group->send_some(5));
        group->broker(1).kill();
        require_ok(group->wait_in_sync(1));
        std::filesystem::remove_all(group->store(1));
        group->broker(0).process().pause();
        require_ok(group->broker(1).start());
        const Answer refused = promote(*group, 1, true, false);
        CHECK_MESSAGE(refused.summary().find("acceptLoss") != std::string::npos, refused.summary());
        group->broker(0).process().resume();
        require_ok(group->wait_in_sync(2));
        CHECK(*group->master() == 0);
        require_ok(group->wait_same_logs());
        CHECK(wait_until(Process::kPatience, [&] { return group->check(1).has_value(); }));
    }
}

}  // namespace
}  // namespace gantry::harness

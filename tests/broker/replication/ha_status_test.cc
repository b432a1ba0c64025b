// SPDX-License-Identifier: Apache-2.0
// What mqadmin haStatus is told.
#include "broker/replication/link/transfer_rate.h"
#include "protocol/wire/replication.pb.h"
#include "tests/broker/replication/serving_fixture.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>

namespace gantry::broker {
namespace {

wire::ReplicaLink link(const std::string& address, std::int64_t acknowledged, bool is_in_sync) {
    wire::ReplicaLink link;
    link.set_address(address);
    link.set_acknowledged(acknowledged);
    link.set_behindbytes(1'000 - acknowledged);
    link.set_isinsync(is_in_sync);
    link.set_sent(1'000);
    link.set_bytespersecond(77);
    return link;
}

}  // namespace

TEST_SUITE("broker/replication/ha_status") {
    TEST_CASE_FIXTURE(ServingFixture, "a master tells of its slaves, in RocketMQ's words") {
        replica.tell_more = [](wire::ReplicaStatus& status) {
            status.set_logend(1'000);
            *status.add_links() = link("10.0.0.3:10911", 1'000, true);
            *status.add_links() = link("10.0.0.4:10911", 400, false);
        };
        const Answer answer = json().call(RequestCode::kGetBrokerHaStatus);
        CHECK(answer.summary() == "0");
        CHECK(answer.body ==
              R"({"haClientRuntimeInfo":{"lastReadTimestamp":0,"lastWriteTimestamp":0,)"
              R"("masterFlushOffset":0,"maxOffset":0,"transferredByteInSecond":0},)"
              R"("haConnectionInfo":[)"
              R"({"addr":"10.0.0.3:10911","diff":0,"inSync":true,"slaveAckOffset":1000,)"
              R"("transferFromWhere":1000,"transferredByteInSecond":77},)"
              R"({"addr":"10.0.0.4:10911","diff":600,"inSync":false,"slaveAckOffset":400,)"
              R"("transferFromWhere":1000,"transferredByteInSecond":77}],)"
              R"("inSyncSlaveNums":1,"master":true,"masterCommitLogMaxOffset":1000})");
        const Answer native_answer = native().call(RequestCode::kGetBrokerHaStatus);
        CHECK(native_answer.body_as<wire::HaRuntimeInfo>().haconnectioninfo_size() == 2);
    }

    TEST_CASE_FIXTURE(ServingFixture, "a slave tells of its master, as far as it has heard of it") {
        replica.its_role = ReplicaRole::kSlave;
        auto info = json().call(RequestCode::kGetBrokerHaStatus).body_as<wire::HaRuntimeInfo>();
        CHECK(!info.master());
        CHECK(!info.haclientruntimeinfo().has_masteraddr());
        replica.tell_more = [](wire::ReplicaStatus& status) {
            status.set_masteraddress("10.0.0.9:10912");
            status.set_logend(900);
            wire::ReplicaSource& source = *status.mutable_source();
            source.set_heardat(1'700'000'000'001);
            source.set_saidat(1'700'000'000'002);
            source.set_masterend(1'000);
            source.set_masterconfirmed(800);
            source.set_bytespersecond(55);
        };
        info = json().call(RequestCode::kGetBrokerHaStatus).body_as<wire::HaRuntimeInfo>();
        CHECK(!info.master());
        CHECK(info.haconnectioninfo_size() == 0);
        CHECK(info.haclientruntimeinfo().masteraddr() == "10.0.0.9:10912");
        CHECK(info.haclientruntimeinfo().lastreadtimestamp() == 1'700'000'000'001);
        CHECK(info.haclientruntimeinfo().lastwritetimestamp() == 1'700'000'000'002);
        CHECK(info.haclientruntimeinfo().masterflushoffset() == 800);
        CHECK(info.haclientruntimeinfo().maxoffset() == 900);
        CHECK(info.haclientruntimeinfo().transferredbyteinsecond() == 55);
    }

    TEST_CASE("a broker without replication is a master that has no slave") {
        BrokerFixture f;
        REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
        const std::int64_t end = f.native()
                                     .call(RequestCode::kDescribeBroker)
                                     .body_as<wire::BrokerDescription>()
                                     .appendedlogoffset();
        for (RpcClient* const client : {&f.json(), &f.binary(), &f.native()}) {
            const Answer answer = client->call(RequestCode::kGetBrokerHaStatus);
            CHECK(answer.summary() == "0");
            const auto info = answer.body_as<wire::HaRuntimeInfo>();
            CHECK(info.master());
            CHECK(info.mastercommitlogmaxoffset() == end);
            CHECK(info.haconnectioninfo_size() == 0);
            CHECK(info.insyncslavenums() == 0);
        }
        const wire::ReplicaStatusRequest ask;
        const Answer status = f.native().call(RequestCode::kReplicaStatus, &ask);
        CHECK(status.fields<wire::ReplicaStatus>().logend() == end);
    }

    TEST_CASE("a rate is that of the last second that is over") {
        using std::chrono::milliseconds;
        const SteadyTime begin{std::chrono::hours(1)};
        TransferRate rate(begin);
        rate.add(600);
        rate.look(begin + milliseconds(500));
        CHECK(rate.per_second() == 0);
        rate.add(600);
        rate.look(begin + milliseconds(1'500));
        CHECK(rate.per_second() == 800);
        rate.look(begin + milliseconds(2'000));
        CHECK(rate.per_second() == 800);
        rate.look(begin + milliseconds(2'500));
        CHECK(rate.per_second() == 0);
    }
}

}  // namespace gantry::broker

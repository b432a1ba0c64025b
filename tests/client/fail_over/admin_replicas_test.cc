// SPDX-License-Identifier: Apache-2.0
// What operators are told of the copies of a broker's log, and how they promote one.
#include "client/admin_client.h"
#include "protocol/wire/replication.pb.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

namespace gantry::client::test {
namespace {

/// "broker-a" has its master at the first broker, slave 2 at the second one, and knows a member 3
/// that is registered nowhere.
class Copies {
public:
    Copies() : cluster(2) {
        status[0].set_member(1);
        status[0].set_ismaster(true);
        status[0].set_epoch(7);
        status[0].set_logend(1'000);
        add_link(2, cluster.broker(1).address(), 900, true);
        add_link(3, "10.0.0.3:10911", 400, false);
        status[0].add_insync()->set_member(1);
        status[0].add_insync()->set_member(2);
        status[1].set_member(2);
        status[1].set_epoch(7);
        status[1].set_logend(900);
        cluster.run([this] {
            FakeNameserver& nameserver = cluster.nameserver();
            nameserver.masters = {{"broker-a", cluster.broker(0).address()}};
            nameserver.slaves["broker-a"] = {{2, cluster.broker(1).address()}};
            for (std::size_t i = 0; i < 2; ++i) {
                cluster.broker(i).on_other = [this, i](const net::Received& frame) {
                    return answer(i, frame);
                };
            }
        });
        AdminClient::Options options;
        options.timeout = 3s;
        admin = AdminClient::create(cluster.connect(), options).value();
    }

    ~Copies() {
        cluster.run([this] {
            cluster.broker(0).on_other = {};
            cluster.broker(1).on_other = {};
        });
    }

    Copies(const Copies&) = delete;
    Copies& operator=(const Copies&) = delete;

    FakeCluster cluster;
    std::array<wire::ReplicaStatus, 2> status;
    std::vector<wire::PromoteRequest> promotions;
    bool closes_when_promoted = false;
    std::unique_ptr<AdminClient> admin;

private:
    void add_link(std::int64_t member, const std::string& address, std::int64_t end, bool sync) {
        wire::ReplicaLink& link = *status[0].add_links();
        link.set_member(member);
        link.set_address(address);
        link.set_acknowledged(end);
        link.set_behindbytes(1'000 - end);
        link.set_isinsync(sync);
        link.set_roundtripmicros(250 * member);
    }

    bool answer(std::size_t at, const net::Received& frame) {
        FakeBroker& broker = cluster.broker(at);
        if (frame.header.request() == wire::RequestCode::kReplicaStatus) {
            broker.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, &status[at]);
            return true;
        }
        if (frame.header.request() != wire::RequestCode::kPromote) {
            return false;
        }
        wire::PromoteRequest request;
        REQUIRE(wire::decode_fields(frame.header, request));
        promotions.push_back(request);
        wire::PromoteResponse response;
        response.set_isinsync(true);
        response.set_logend(900);
        response.set_masterend(1'000);
        if (request.confirm()) {
            status[at].set_ismaster(true);
            status[at].set_epoch(8);
            response.set_isdone(true);
            response.set_epoch(8);
        }
        if (request.confirm() && closes_when_promoted) {
            broker.cut_all();
        } else {
            broker.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, &response);
        }
        return true;
    }
};

}  // namespace

TEST_SUITE("client/replicas") {
    TEST_CASE_FIXTURE(Copies, "every copy is listed, with what itself and the master say") {
        const auto found = admin->list_replicas("broker-a");
        REQUIRE(found);
        REQUIRE(found->size() == 3);
        const ReplicaState& master = (*found)[0];
        CHECK(master.member == 1);
        CHECK(master.role == "master");
        CHECK(master.epoch == 7);
        CHECK(master.log_end == 1'000);
        CHECK(master.behind_bytes == 0);
        CHECK(master.is_in_sync);
        const ReplicaState& slave = (*found)[1];
        CHECK(slave.member == 2);
        CHECK(slave.role == "slave");
        CHECK(slave.behind_bytes == 100);
        CHECK(slave.round_trip_us == 500);
        CHECK(slave.is_in_sync);
        const ReplicaState& unregistered = (*found)[2];
        CHECK(unregistered.member == 3);
        CHECK(unregistered.role == "unknown");
        CHECK(unregistered.log_end == 400);
        CHECK(!unregistered.is_in_sync);
        CHECK(unregistered.error == "not registered");
        CHECK(admin->list_replicas("broker-z").error().code == Errc::kNotFound);
    }

    TEST_CASE_FIXTURE(Copies, "a copy that does not answer is listed with the reason") {
        cluster.run([this] { cluster.broker(1).on_other = {}; });
        const auto found = admin->list_replicas("broker-a");
        REQUIRE(found);
        REQUIRE(found->size() == 3);
        CHECK((*found)[1].role == "unknown");
        CHECK((*found)[1].behind_bytes == 100);
        CHECK(!(*found)[1].error.empty());
    }

    TEST_CASE_FIXTURE(Copies, "a promotion is told first, then done") {
        const std::string address = cluster.broker(1).address();
        const auto before = admin->promote(address, false, false);
        REQUIRE(before);
        CHECK(!before->is_done);
        CHECK(before->is_in_sync);
        CHECK(before->master_end == 1'000);
        const auto after = admin->promote(address, true, false);
        REQUIRE(after);
        CHECK(after->is_done);
        CHECK(after->epoch == 8);
        REQUIRE(promotions.size() == 2);
        CHECK(!promotions[0].confirm());
        CHECK(promotions[1].confirm());
    }

    TEST_CASE_FIXTURE(Copies, "a promotion that ends its own connection is looked for") {
        closes_when_promoted = true;
        const auto after = admin->promote(cluster.broker(1).address(), true, false);
        REQUIRE_MESSAGE(after, to_string(after.error()));
        CHECK(after->is_done);
        CHECK(after->epoch == 8);
    }
}

}  // namespace gantry::client::test

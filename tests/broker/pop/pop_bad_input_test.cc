// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/group.pb.h"
#include "storage/pop/pops.h"
#include "tests/broker/broker_fixture.h"
#include "tests/harness/calls/pop_calls.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/pop_bad_input");

namespace {

using harness::pop;
using harness::pop_of;
using harness::Popped;
using harness::PoppedRecord;

constexpr std::string_view kNotWithin = "is not within";

/// A pop with something changed, and what stock and native clients are to be answered.
struct Bad {
    std::function<void(wire::PopMessageRequest&)> change;
    int stock = 0;
    int native = 0;
    std::string remark;
};

void check_refused(RpcClient& client, const Bad& bad, int code) {
    wire::PopMessageRequest request = pop_of({});
    bad.change(request);
    const Answer answer = client.call(RequestCode::kPopMessage, &request);
    CHECK(static_cast<int>(answer.code) == code);
    INFO("remark: ", answer.remark);
    CHECK(answer.remark.find(bad.remark) != std::string::npos);
}

Popped one_message(BrokerFixture& f) {
    REQUIRE(f.create_topic("T", 2) == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 1, {{"a"}}).summary() == "0");
    Popped popped = pop(f.json());
    REQUIRE(popped.summary() == "0 a");
    return popped;
}

}  // namespace

TEST_CASE("a pop that cannot be is refused by field, value and limit") {
    BrokerFixture f([](BrokerOptions& o) { o.pop_invisible_ms_max = 90'000; });
    REQUIRE(f.create_topic("T", 2) == ResponseCode::kSuccess);
    REQUIRE(f.create_topic("W", 2, 2) == ResponseCode::kSuccess);
    wire::SubscriptionGroupConfig closed;
    closed.set_groupname("closed");
    closed.set_consumeenable(false);
    REQUIRE(f.native()
                .call_with_body(RequestCode::kUpdateAndCreateSubscriptionGroup, nullptr, closed)
                .summary() == "0");
    using Request = wire::PopMessageRequest;
    const std::vector<Bad> all = {
        {[](Request& r) { r.set_consumergroup(""); }, 1, 29, "group"},
        {[](Request& r) { r.set_consumergroup("a b"); }, 1, 29, "a b"},
        {[](Request& r) { r.set_consumergroup("closed"); }, 16, 16, "closed"},
        {[](Request& r) { r.set_topic("none"); }, 17, 17, "none"},
        {[](Request& r) { r.set_topic("GANTRY_SYS_STATE"); }, 17, 17, "GANTRY_SYS_STATE"},
        {[](Request& r) { r.set_topic("W"); }, 16, 16, "W"},
        {[](Request& r) { r.set_queueid(2); }, 1, 29, "queueId[2] is illegal"},
        {[](Request& r) { r.set_queueid(-2); }, 1, 29, "queueId[-2] is illegal"},
        {[](Request& r) { r.set_maxmsgnums(0); }, 29, 29, "maxMsgNums 0 is not within"},
        {[](Request& r) { r.set_invisibletime(0); }, 29, 29, "invisibleTime 0 is not within"},
        {[](Request& r) { r.set_invisibletime(90'001); },
         29,
         29,
         "invisibleTime 90001 ms is not within 0 to pop.invisible_ms_max 90000"},
        {[](Request& r) { r.set_order(true); }, 1, 3, "order"},
        {[](Request& r) {
             r.set_exptype("SQL92");
             r.set_exp("a >");
         },
         23,
         23,
         "parse"},
        {[](Request& r) {
             r.set_exptype("XPATH");
             r.set_exp("a");
         },
         1,
         3,
         "XPATH"},
    };
    for (const Bad& bad : all) {
        INFO("remark wanted: ", bad.remark);
        check_refused(f.json(), bad, bad.stock);
        check_refused(f.native(), bad, bad.native);
    }
    wire::PopMessageRequest many = pop_of({});
    many.set_maxmsgnums(33);
    CHECK(f.json().call(RequestCode::kPopMessage, &many).summary() ==
          "29 maxMsgNums 33 is not within 1 to 32");
    CHECK(static_cast<int>(f.native().call(RequestCode::kPopMessage, &many).code) == 210);
    const wire::EmptyFields nothing;
    CHECK(f.json().call(RequestCode::kPopMessage, &nothing).summary() ==
          "1 the custom field <consumerGroup> is null");
}

TEST_CASE("an unknown group is refused where groups are not made by themselves") {
    BrokerFixture f([](BrokerOptions& o) { o.group_auto_create = false; });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    CHECK(static_cast<int>(pop(f.json()).answer.code) == 26);
}

TEST_CASE("a receipt that is none is refused, and ends nothing") {
    BrokerFixture f;
    const PoppedRecord good = one_message(f).messages[0];
    const auto code_of = [&](const std::function<void(PoppedRecord&)>& change) {
        PoppedRecord bad = good;
        change(bad);
        const int acked = static_cast<int>(harness::acknowledge(f.json(), bad).code);
        CHECK(acked == static_cast<int>(harness::change_time(f.json(), bad, 1'000).code));
        return acked;
    };
    CHECK(code_of([](PoppedRecord& m) { m.topic = "none"; }) == 17);
    CHECK(code_of([](PoppedRecord& m) { m.queue_id = 7; }) == 1);
    CHECK(code_of([](PoppedRecord& m) { m.queue_id = -1; }) == 13);
    CHECK(code_of([](PoppedRecord& m) { m.queue_id = 0; }) == 13);
    CHECK(code_of([](PoppedRecord& m) { m.extra_info = "1 2 3"; }) == 13);
    CHECK(code_of([](PoppedRecord& m) { m.extra_info = "0 now 0 0 0 b 1 0"; }) == 13);
    CHECK(code_of([](PoppedRecord& m) { m.offset = 1; }) == 208);
    CHECK(code_of([](PoppedRecord& m) { m.offset = -1; }) == 208);
    CHECK(f.broker().store().pops().table().size().messages == 1);
    CHECK(static_cast<int>(harness::change_time(f.json(), good, -1).code) == 29);
    CHECK(harness::acknowledge(f.json(), good).summary() == "0");
    CHECK(f.broker().store().pops().table().size().messages == 0);
    // Once more, or by who never had it: nothing to end.
    CHECK(harness::acknowledge(f.json(), good).summary() == "0");
    CHECK(harness::acknowledge(f.json(), good, "other").summary() == "0");
    CHECK(harness::change_time(f.json(), good, 1'000).code == ResponseCode::kMessageIllegal);
}

TEST_CASE("a batch of acknowledgements with one that is wrong ends none of them") {
    BrokerFixture f;
    const PoppedRecord good = one_message(f).messages[0];
    const auto try_with = [&](const std::function<void(wire::BatchAckRequestBody::Ack&)>& change) {
        wire::BatchAckRequestBody body;
        body.set_brokername("broker-a");
        for (int i = 0; i < 2; ++i) {
            auto& ack = *body.add_acks();
            ack.set_c("G");
            ack.set_t("T");
            ack.set_q(good.queue_id);
            ack.set_so(good.offset);
            ack.set_pt(good.pop_time);
            ack.set_it(60'000);
            ack.set_r("0");
            ack.set_rq(0);
            ack.set_b("AQ==");
        }
        change(*body.mutable_acks(1));
        return static_cast<int>(
            f.json().call_with_body(RequestCode::kBatchAckMessage, nullptr, body).code);
    };
    using Ack = wire::BatchAckRequestBody::Ack;
    CHECK(try_with([](Ack& ack) { ack.set_t("none"); }) == 17);
    CHECK(try_with([](Ack& ack) { ack.set_q(9); }) == 1);
    CHECK(try_with([](Ack& ack) { ack.set_q(-1); }) == 13);
    CHECK(try_with([](Ack& ack) { ack.set_so(-1); }) == 13);
    CHECK(try_with([](Ack& ack) { ack.set_b("*"); }) == 13);
    CHECK(static_cast<int>(
              f.json().call(RequestCode::kBatchAckMessage, nullptr, "no body at all").code) == 13);
    CHECK(f.broker().store().pops().table().size().messages == 1);
    CHECK(try_with([](Ack&) {}) == 0);
    CHECK(f.broker().store().pops().table().size().messages == 0);
}

TEST_CASE("what is settled natively is checked before any of it is done") {
    BrokerFixture f;
    const PoppedRecord good = one_message(f).messages[0];
    const auto try_with = [&](const std::function<void(wire::SettlePopsRequest&)>& change) {
        wire::SettlePopsRequest request;
        request.set_consumergroup("G");
        request.set_topic("T");
        for (int i = 0; i < 2; ++i) {
            auto& settle = *request.add_settles();
            settle.set_queueid(good.queue_id);
            settle.set_poptime(good.pop_time);
            settle.set_from(good.offset);
            settle.set_count(1);
        }
        change(request);
        return f.native().call(RequestCode::kSettlePops, &request);
    };
    using Request = wire::SettlePopsRequest;
    CHECK(static_cast<int>(try_with([](Request& r) { r.set_topic("none"); }).code) == 17);
    CHECK(try_with([](Request& r) {
              r.mutable_settles(1)->set_queueid(2);
          }).remark.find(kNotWithin) != std::string::npos);
    CHECK(static_cast<int>(try_with([](Request& r) { r.mutable_settles(1)->set_count(0); }).code) ==
          208);
    CHECK(static_cast<int>(try_with([](Request& r) {
                               r.mutable_settles(1)->set_count(INT64_MAX);
                           }).code) == 208);
    CHECK(static_cast<int>(try_with([](Request& r) {
                               r.mutable_settles(1)->set_invisibletime(-1);
                           }).code) == 29);
    CHECK(f.broker().store().pops().table().size().messages == 1);
    const Answer done = try_with([](Request&) {});
    REQUIRE(done.summary() == "0");
    const auto fields = done.fields<wire::SettlePopsResponse>();
    REQUIRE(fields.settled_size() == 2);
    CHECK(fields.settled(0) == 1);
    CHECK(fields.settled(1) == 0);
}

TEST_SUITE_END();

}  // namespace gantry::broker

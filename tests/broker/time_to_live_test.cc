// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/group.pb.h"
#include "protocol/wire/properties.h"
#include "tests/broker/broker_fixture.h"
#include "tests/broker/cold_log.h"
#include "tests/harness/calls/pop_calls.h"
#include "tests/harness/http_get.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace gantry::broker {
namespace {

using Bodies = std::vector<std::string>;

std::map<std::string, std::string> expiring_in(BrokerFixture& f, std::int64_t ms) {
    return {{"GANTRY_EXPIRES_AT", std::to_string(f.clock().wall_ms() + ms)}, {"n", "1"}};
}

/// Two messages whose time is over and two that have time, in turn.
void send_mixed(BrokerFixture& f) {
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(send(f.native(),
                 "T",
                 0,
                 {{"over", "a", "", expiring_in(f, -1'000)},
                  {"has time", "a", "", expiring_in(f, 3'600'000)},
                  {"over too", "b", "", expiring_in(f, -1'000)},
                  {"for ever", "b", "", {{"n", "1"}}}})
                .summary() == "0");
}

Answer pull(RpcClient& client, wire::PullMessageRequest request) {
    return client.call(RequestCode::kPullMessage, &request);
}

double expired(BrokerFixture& f) {
    return harness::metric(f.broker().http_port(), "gantry_broker_expired_total").value_or(-1);
}

}  // namespace

TEST_SUITE("broker/time_to_live") {
    TEST_CASE("messages are not delivered when their time is over, to nobody, offsets go on") {
        BrokerFixture f;
        send_mixed(f);
        for (RpcClient* const client : {&f.native(), &f.json()}) {
            CHECK(read_queue(*client, "T", 0) == Bodies{"has time", "for ever"});
        }
        const Answer found = pull(f.native(), pull_of("T", 0, 0));
        CHECK(found.fields<wire::PullMessageResponse>().nextbeginoffset() == 4);
        CHECK(expired(f) == 6);
        f.restart();
        CHECK(read_queue(f.native(), "T", 0) == Bodies{"has time", "for ever"});
    }

    TEST_CASE("nor are they popped") {
        BrokerFixture f;
        send_mixed(f);
        const harness::Popped popped =
            harness::pop(f.native(), {.queue_id = 0, .begins_at_end = false});
        CHECK(popped.summary() == "0 has time for ever");
        CHECK(expired(f) == 2);
        for (const harness::PoppedRecord& message : popped.messages) {
            CHECK(harness::acknowledge(f.native(), message).summary() == "0");
        }
        // Acknowledgements are written a while later; the end of what was left out is among them.
        CHECK(harness::wait_until(std::chrono::seconds(20), [&] {
            return f.broker().store().state().offset("G", "T", 0) == 4;
        }));
    }

    TEST_CASE("filters keep them out as well") {
        BrokerFixture f;
        send_mixed(f);
        wire::PullMessageRequest request = pull_of("T", 0, 0);
        request.set_subscription("a");
        CHECK(bodies(pull(f.native(), request).body) == Bodies{"has time"});
        request.set_subscription("n = 1 AND TAGS IN ('a', 'b')");
        request.set_expressiontype("SQL92");
        const Answer found = pull(f.native(), request);
        const Bodies wanted{"has time", "for ever"};
        CHECK_MESSAGE(bodies(found.body) == wanted, found.summary());
        CHECK(found.fields<wire::PullMessageResponse>().nextbeginoffset() == 4);
    }

    TEST_CASE("a queue of nothing but expired messages leads on behind them") {
        BrokerFixture f;
        REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
        REQUIRE(send(f.native(), "T", 0, {{"over", "", "", expiring_in(f, -1'000)}}).summary() ==
                "0");
        const Answer none = pull(f.native(), pull_of("T", 0, 0));
        CHECK(none.code == ResponseCode::kPullRetryImmediately);
        CHECK(none.fields<wire::PullMessageResponse>().nextbeginoffset() == 1);
    }

    TEST_CASE_FIXTURE(ColdLog, "nor do they come from the disk") {
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        Bodies wanted;
        for (int i = 0; i < 150; ++i) {
            const std::string body = std::to_string(i) + std::string(20'000, 'x');
            const bool is_over = i % 3 != 0;
            const TestMessage message{
                body, {}, {}, expiring_in(fixture, is_over ? -1'000 : 3'600'000)};
            REQUIRE(send(fixture.native(), "T", 0, {message}).summary() == "0");
            if (!is_over) {
                wanted.push_back(body);
            }
        }
        if (!forget(100)) {
            return;  // a file system in memory
        }
        CHECK(read_queue(fixture.native(), "T", 0) == wanted);
        wire::PullMessageRequest request = pull_of("T", 0, 0);
        request.set_expressiontype("SQL92");
        request.set_subscription("n = 1");
        REQUIRE(forget(100));
        const Answer found = pull(fixture.json(), request);
        REQUIRE_MESSAGE(found.code == ResponseCode::kSuccess, found.summary());
        CHECK(bodies(found.body).front() == wanted.front());
    }

    TEST_CASE("stock senders set the property, and a time that is no number counts for nothing") {
        BrokerFixture f;
        REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
        for (const char* const at : {"1", "soon"}) {
            wire::SendMessageRequest request = stock_send("T", 0);
            std::string properties;
            REQUIRE(wire::append_property(properties, "GANTRY_EXPIRES_AT", at));
            request.set_properties(properties);
            REQUIRE(f.json().call(RequestCode::kSendMessageV2, &request, at).summary() == "0");
        }
        CHECK(read_queue(f.json(), "T", 0) == Bodies{"soon"});
    }

    TEST_CASE("in a dead-letter topic they are kept for people") {
        BrokerFixture f;
        REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
        wire::SubscriptionGroupConfig group;
        group.set_groupname("G");
        group.set_retrymaxtimes(0);
        REQUIRE(f.native()
                    .call_with_body(RequestCode::kUpdateAndCreateSubscriptionGroup, nullptr, group)
                    .summary() == "0");
        const Answer sent = send(f.native(), "T", 0, {{"failed", "", "", expiring_in(f, -1'000)}});
        REQUIRE(sent.summary() == "0");
        wire::ConsumerSendMsgBackRequest back;
        back.set_group("G");
        back.set_offset(sent.fields<wire::SendRecordsResponse>().logoffset());
        back.set_delaylevel(-1);
        REQUIRE(f.native().call(RequestCode::kConsumerSendMsgBack, &back).summary() == "0");
        CHECK(read_queue(f.native(), "%DLQ%G", 0) == Bodies{"failed"});
    }
}

}  // namespace gantry::broker

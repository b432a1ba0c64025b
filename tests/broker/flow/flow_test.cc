// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/flow.pb.h"
#include "protocol/wire/group.pb.h"
#include "tests/broker/broker_fixture.h"
#include "tests/harness/calls/pop_calls.h"

#include <doctest/doctest.h>

#include <chrono>
#include <future>
#include <string>
#include <utility>
#include <vector>

namespace gantry::broker {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Rates {
    std::int64_t send_messages = 0;
    std::int64_t send_bytes = 0;
    std::int64_t deliver_messages = 0;
    std::int64_t deliver_bytes = 0;
};

wire::FlowLimit limit_of(const std::string& scope, const std::string& name, const Rates& rates) {
    wire::FlowLimit limit;
    limit.set_scope(scope);
    limit.set_name(name);
    limit.set_sendmessages(rates.send_messages);
    limit.set_sendbytes(rates.send_bytes);
    limit.set_delivermessages(rates.deliver_messages);
    limit.set_deliverbytes(rates.deliver_bytes);
    return limit;
}

Answer put(BrokerFixture& fixture, const wire::FlowLimit& limit) {
    return fixture.native().call_with_body(RequestCode::kSetFlowLimit, nullptr, limit);
}

void set_limit(BrokerFixture& fixture,
               const std::string& scope,
               const std::string& name,
               const Rates& rates) {
    const Answer answer = put(fixture, limit_of(scope, name, rates));
    REQUIRE_MESSAGE(answer.summary() == "0", answer.summary());
}

wire::FlowLimitList limits(BrokerFixture& fixture) {
    return fixture.native().call(RequestCode::kListFlowLimits).body_as<wire::FlowLimitList>();
}

std::vector<TestMessage> many(int count) {
    return {static_cast<std::size_t>(count), TestMessage{"body"}};
}

void check_refused(const Answer& answer, ResponseCode code, const std::string& why) {
    CHECK_MESSAGE(answer.code == code, answer.summary());
    CHECK_MESSAGE(answer.remark.find("[FLOW_CONTROL] " + why) == 0, answer.remark);
    const auto fields = answer.fields<wire::FlowControlResponse>();
    CHECK(fields.retryaftermillis() > 0);
    CHECK(answer.remark.find("retry after " + std::to_string(fields.retryaftermillis()) + " ms") !=
          std::string::npos);
}

void join(RpcClient& client, const std::string& client_id) {
    wire::HeartbeatData data;
    data.set_clientid(client_id);
    data.add_producerdataset()->set_groupname("PG");
    REQUIRE(client.call_with_body(RequestCode::kHeartBeat, nullptr, data).summary() == "0");
}

/// Pulls until `count` messages have come; how long that took.
milliseconds pull_all(BrokerFixture& fixture, const std::string& topic, std::size_t count) {
    const auto begin = steady_clock::now();
    std::int64_t next = 0;
    std::size_t got = 0;
    while (got < count) {
        const auto request = held_pull_of(topic, 0, next, 5'000);
        const Answer answer = fixture.native().call(RequestCode::kPullMessage, &request);
        REQUIRE_MESSAGE(
            (answer.code == ResponseCode::kSuccess || answer.code == ResponseCode::kPullNotFound ||
             answer.code == ResponseCode::kPullRetryImmediately),
            answer.summary());
        if (answer.code == ResponseCode::kSuccess) {
            got += bodies(answer.body).size();
        }
        next = answer.fields<wire::PullMessageResponse>().nextbeginoffset();
    }
    CHECK(got == count);
    return std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin);
}

}  // namespace

TEST_SUITE("broker/flow") {
    TEST_CASE("sends above a topic's rate are refused with the time, and not stored") {
        BrokerFixture fixture;
        REQUIRE(fixture.create_topic("T", 2) == ResponseCode::kSuccess);
        REQUIRE(fixture.create_topic("FREE", 1) == ResponseCode::kSuccess);
        set_limit(fixture, "topic", "T", {.send_messages = 10});
        CHECK(send(fixture.native(), "T", 0, many(50)).summary() == "0");
        const std::string why = "topic T takes 10 messages/s";
        check_refused(send(fixture.native(), "T", 1, many(1)), ResponseCode::kFlowControl, why);
        const auto request = stock_send("T", 1);
        for (RpcClient* const client : {&fixture.json(), &fixture.binary()}) {
            check_refused(client->call(RequestCode::kSendMessage, &request, "x"),
                          ResponseCode::kSystemBusy,
                          why);
            check_refused(client->call(RequestCode::kSendMessageV2, &request, "x"),
                          ResponseCode::kSystemBusy,
                          why);
        }
        CHECK(send(fixture.native(), "FREE", 0, many(50)).summary() == "0");
        CHECK(read_queue(fixture.native(), "T", 0).size() == 50);
        CHECK(read_queue(fixture.native(), "T", 1).empty());
        CHECK(fixture.broker().metrics().values()["gantry_broker_flow_refused_total"] == 5);
    }

    TEST_CASE("bytes count too, and all limits hold together") {
        BrokerFixture fixture([](BrokerOptions& o) { o.flow_broker_send_bytes = 100'000; });
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        CHECK(send(fixture.native(), "T", 0, {{std::string(100'000, 'b')}}).summary() == "0");
        check_refused(send(fixture.native(), "T", 0, many(1)),
                      ResponseCode::kFlowControl,
                      "the broker takes 100000 B/s");
        set_limit(fixture, "broker", "", {});
        CHECK(send(fixture.native(), "T", 0, many(1)).summary() == "0");
        wire::FlowLimit none = limit_of("broker", "", {});
        none.set_removed(true);
        CHECK(put(fixture, none).summary() == "0");
        CHECK(send(fixture.native(), "T", 0, {{std::string(100'000, 'b')}}).summary() == "0");
        CHECK(send(fixture.native(), "T", 0, many(1)).code == ResponseCode::kFlowControl);
    }

    TEST_CASE("clients are limited each for itself, by the id of their heartbeats") {
        BrokerFixture fixture([](BrokerOptions& o) { o.flow_client_send_messages = 10; });
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        RpcClient other(fixture.address());
        RpcClient again(fixture.address());
        join(fixture.native(), "one");
        join(other, "two");
        join(again, "one");
        CHECK(send(fixture.native(), "T", 0, many(100)).summary() == "0");
        check_refused(send(fixture.native(), "T", 0, many(1)),
                      ResponseCode::kFlowControl,
                      "client one takes 10 messages/s");
        CHECK(send(again, "T", 0, many(1)).code == ResponseCode::kFlowControl);
        CHECK(send(other, "T", 0, many(100)).summary() == "0");
        const auto request = stock_send("T", 0);
        CHECK(fixture.json().call(RequestCode::kSendMessage, &request, "x").summary() == "0");
        CHECK(fixture.broker().metrics().values()["gantry_broker_flow_clients"] == 3);
        set_limit(fixture, "client", "one", {.send_messages = 1'000'000});
        CHECK(send(fixture.native(), "T", 0, many(1)).summary() == "0");
        CHECK(send(other, "T", 0, many(1)).code == ResponseCode::kFlowControl);
    }

    TEST_CASE("half messages count as sends") {
        BrokerFixture fixture;
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        set_limit(fixture, "topic", "T", {.send_messages = 1});
        CHECK(send(fixture.native(), "T", 0, many(5)).summary() == "0");
        auto request = stock_send("T", 0);
        request.set_sysflag(wire::sys_flag::kTransactionPrepared);
        check_refused(fixture.json().call(RequestCode::kSendMessageV2, &request, "half"),
                      ResponseCode::kSystemBusy,
                      "topic T");
    }

    TEST_CASE("limits that were set survive the broker, and go with their topic") {
        BrokerFixture fixture([](BrokerOptions& o) { o.flow_client_deliver_bytes = 77; });
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        set_limit(fixture, "topic", "T", {1, 2, 3, 4});
        set_limit(fixture, "group", "G", {.deliver_messages = 5});
        for (int i = 0; i < 2; ++i) {
            const wire::FlowLimitList list = limits(fixture);
            REQUIRE(list.limits_size() == 2);
            CHECK(list.limits(0).scope() == "group");
            CHECK(list.limits(0).delivermessages() == 5);
            CHECK(list.limits(1).name() == "T");
            CHECK(list.limits(1).sendmessages() == 1);
            CHECK(list.limits(1).sendbytes() == 2);
            CHECK(list.limits(1).delivermessages() == 3);
            CHECK(list.limits(1).deliverbytes() == 4);
            REQUIRE(list.defaults_size() == 2);
            CHECK(list.defaults(1).deliverbytes() == 77);
            fixture.restart();
        }
        CHECK(send(fixture.native(), "T", 0, many(10)).summary() == "0");
        CHECK(send(fixture.native(), "T", 0, many(1)).code == ResponseCode::kFlowControl);
        wire::TopicRequest gone;
        gone.set_topic("T");
        REQUIRE(fixture.native().call(RequestCode::kDeleteTopicInBroker, &gone).summary() == "0");
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        CHECK(limits(fixture).limits_size() == 1);
        CHECK(send(fixture.native(), "T", 0, many(10)).summary() == "0");
        CHECK(send(fixture.native(), "T", 0, many(10)).summary() == "0");
    }

    TEST_CASE("limits that are none are refused, and change nothing") {
        BrokerFixture fixture;
        for (const wire::FlowLimit& bad : {limit_of("queue", "T", {1}),
                                           limit_of("topic", "", {1}),
                                           limit_of("broker", "b", {1}),
                                           limit_of("group", std::string(256, 'g'), {1}),
                                           limit_of("broker", "", {-1}),
                                           limit_of("broker", "", {0, 0, 0, INT64_MAX})}) {
            const Answer answer = put(fixture, bad);
            CHECK_MESSAGE(answer.code == ResponseCode::kInvalidParameter, answer.summary());
        }
        CHECK(put(fixture, limit_of("topic", "NOPE", {1})).code == ResponseCode::kTopicNotExist);
        CHECK(fixture.native().call(RequestCode::kSetFlowLimit, nullptr, "\xFF").code !=
              ResponseCode::kSuccess);
        CHECK(limits(fixture).limits_size() == 0);
    }

    TEST_CASE("deliveries above a rate wait, and come") {
        BrokerFixture fixture;
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        REQUIRE(send(fixture.native(), "T", 0, many(150)).summary() == "0");
        CHECK(read_queue(fixture.native(), "T", 0).size() == 150);
        set_limit(fixture, "topic", "T", {.deliver_messages = 200});
        // A tenth of a second's at once, and one more read.
        CHECK(pull_all(fixture, "T", 150) >= milliseconds(500));
        CHECK(fixture.broker().metrics().values()["gantry_broker_flow_delayed_total"] > 0);
        set_limit(fixture, "topic", "T", {.deliver_bytes = 10'000'000});
        pull_all(fixture, "T", 150);
    }

    TEST_CASE("a pull that does not want to wait waits a moment, and is then told of nothing") {
        BrokerFixture fixture;
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        REQUIRE(send(fixture.native(), "T", 0, many(10)).summary() == "0");
        set_limit(fixture, "topic", "T", {.deliver_bytes = 1});
        const auto request = pull_of("T", 0, 0);
        CHECK(fixture.native().call(RequestCode::kPullMessage, &request).summary() == "0 FOUND");
        const auto next = pull_of("T", 0, 1);
        const Answer answer = fixture.native().call(RequestCode::kPullMessage, &next);
        CHECK_MESSAGE(answer.code == ResponseCode::kPullNotFound, answer.summary());
        CHECK(answer.fields<wire::PullMessageResponse>().nextbeginoffset() == 1);
        CHECK(answer.fields<wire::PullMessageResponse>().maxoffset() == 10);
    }

    TEST_CASE("pops above a group's rate wait, and come, other groups do not wait") {
        BrokerFixture fixture;
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        REQUIRE(send(fixture.native(), "T", 0, many(100)).summary() == "0");
        set_limit(fixture, "group", "G", {.deliver_messages = 200});
        const auto begin = steady_clock::now();
        std::size_t got = 0;
        while (got < 100) {
            const harness::Popped popped = harness::pop(fixture.native(), {.poll_ms = 5'000});
            REQUIRE_MESSAGE((popped.answer.code == ResponseCode::kSuccess ||
                             popped.answer.code == ResponseCode::kPollingTimeout),
                            popped.answer.summary());
            CHECK(popped.messages.size() <= 20);
            got += popped.messages.size();
        }
        // A tenth of a second's at once, and one more answer.
        CHECK(steady_clock::now() - begin >= milliseconds(250));
        const harness::Popped nothing = harness::pop(fixture.native(), {});
        CHECK(nothing.messages.empty());
        CHECK(harness::pop(fixture.native(), {.group = "OTHER"}).messages.size() == 32);
    }

    TEST_CASE("a parked pull goes on when its limit is taken away") {
        BrokerFixture fixture;
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        REQUIRE(send(fixture.native(), "T", 0, many(2)).summary() == "0");
        set_limit(fixture, "topic", "T", {.deliver_bytes = 1});
        const auto first = pull_of("T", 0, 0);
        CHECK(fixture.native().call(RequestCode::kPullMessage, &first).summary() == "0 FOUND");
        const auto request = held_pull_of("T", 0, 1, 20'000);
        auto waiting = fixture.native().start(RequestCode::kPullMessage, &request);
        RpcClient other(fixture.address());
        CHECK(send(other, "T", 0, many(1)).summary() == "0");
        CHECK(waiting.wait_for(milliseconds(50)) == std::future_status::timeout);
        wire::FlowLimit none = limit_of("topic", "T", {});
        none.set_removed(true);
        CHECK(other.call_with_body(RequestCode::kSetFlowLimit, nullptr, none).summary() == "0");
        CHECK(waiting.wait_for(milliseconds(10'000)) == std::future_status::ready);
        CHECK_FALSE(bodies(waiting.get().body).empty());
    }

    TEST_CASE(
        "what waits counts as memory: above the limit more of it is refused, the rest is not") {
        BrokerFixture fixture([](BrokerOptions& o) { o.memory_bytes_max = 2'048; });
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        const auto held = held_pull_of("T", 0, 0, 20'000);
        RpcClient waiting(fixture.address());
        auto one = waiting.start(RequestCode::kPullMessage, &held);
        auto two = waiting.start(RequestCode::kPullMessage, &held);
        const auto& metrics = fixture.broker().metrics();
        while (metrics.values()["gantry_broker_parked_pulls"] < 2) {
        }
        check_refused(send(fixture.native(), "T", 0, many(1)),
                      ResponseCode::kFlowControl,
                      "limits.memory_bytes_max 2048 B");
        const auto request = stock_send("T", 0);
        check_refused(fixture.json().call(RequestCode::kSendMessage, &request, "x"),
                      ResponseCode::kSystemBusy,
                      "limits.memory_bytes_max");
        const auto pull = pull_of("T", 0, 0);
        check_refused(fixture.json().call(RequestCode::kPullMessage, &pull),
                      ResponseCode::kFlowControl,
                      "limits.memory_bytes_max");
        join(fixture.native(), "client");
        CHECK(metrics.values()["gantry_broker_memory_refused_total"] == 3);
        CHECK(metrics.values()["gantry_broker_memory_bytes"] >= 2'048);
        waiting.disconnect();
        while (metrics.values()["gantry_broker_parked_pulls"] > 0) {
        }
        CHECK(send(fixture.native(), "T", 0, many(1)).summary() == "0");
    }
}

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "broker/filter/filtered_read.h"
#include "common/random.h"
#include "protocol/wire/group.pb.h"
#include "tests/broker/broker_fixture.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <future>
#include <string>
#include <vector>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/sql_pull");

namespace {

using Bodies = std::vector<std::string>;

constexpr std::chrono::milliseconds kHold{100'000};

Answer pull(RpcClient& client, const wire::PullMessageRequest& request) {
    return client.call(RequestCode::kPullMessage, &request);
}

wire::PullMessageRequest sql_pull(const std::string& expression, std::int64_t offset = 0) {
    wire::PullMessageRequest request = pull_of("T", 0, offset);
    request.set_expressiontype("SQL92");
    request.set_subscription(expression);
    return request;
}

std::int64_t next_of(const Answer& answer) {
    return answer.fields<wire::PullMessageResponse>().nextbeginoffset();
}

/// All that the expression matches, by as many pulls as it takes.
Bodies read_matching(RpcClient& client, wire::PullMessageRequest request) {
    Bodies all;
    for (;;) {
        const Answer answer = pull(client, request);
        if (answer.code == ResponseCode::kPullNotFound) {
            return all;
        }
        REQUIRE_MESSAGE((answer.code == ResponseCode::kSuccess ||
                         answer.code == ResponseCode::kPullRetryImmediately),
                        answer.summary());
        REQUIRE(next_of(answer) > request.queueoffset());
        const Bodies some = bodies(answer.body);
        CHECK(some.size() <= static_cast<std::size_t>(request.maxmsgnums()));
        CHECK(some.empty() == (answer.code == ResponseCode::kPullRetryImmediately));
        all.insert(all.end(), some.begin(), some.end());
        request.set_queueoffset(next_of(answer));
    }
}

TestMessage priced(const std::string& body, int price) {
    return {body, {}, {}, {{"price", std::to_string(price)}}};
}

double metric(BrokerFixture& f, const std::string& name) {
    return f.broker().metrics().values()["gantry_broker_" + name];
}

wire::HeartbeatData heartbeat(const std::string& expression, std::int64_t version) {
    wire::HeartbeatData data;
    data.set_clientid("c1");
    wire::ConsumerData& consumer = *data.add_consumerdataset();
    consumer.set_groupname("CG");
    consumer.set_consumetype("CONSUME_PASSIVELY");
    consumer.set_messagemodel("CLUSTERING");
    wire::SubscriptionData& subscription = *consumer.add_subscriptiondataset();
    subscription.set_topic("T");
    subscription.set_expressiontype("SQL92");
    subscription.set_substring(expression);
    subscription.set_subversion(version);
    return data;
}

}  // namespace

TEST_CASE("a pull gives what its expression matches, and goes on behind the rest") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(send(f.native(),
                 "T",
                 0,
                 {priced("1", 10), priced("2", 99), {"3"}, priced("4", 30), priced("5", 100)})
                .summary() == "0");
    for (RpcClient* const client : {&f.native(), &f.json(), &f.binary()}) {
        const Answer some = pull(*client, sql_pull("price BETWEEN 20 AND 99"));
        REQUIRE(some.code == ResponseCode::kSuccess);
        CHECK(bodies(some.body) == Bodies{"2", "4"});
        CHECK(next_of(some) == 5);
        CHECK(some.fields<wire::PullMessageResponse>().maxoffset() == 5);
        CHECK(bodies(pull(*client, sql_pull("price IS NULL")).body) == Bodies{"3"});
        CHECK(bodies(pull(*client, sql_pull("TRUE")).body).size() == 5);
        const Answer none = pull(*client, sql_pull("price > 1000", 1));
        CHECK(none.code == ResponseCode::kPullRetryImmediately);
        CHECK(none.body.empty());
        CHECK(next_of(none) == 5);
        CHECK(pull(*client, sql_pull("TRUE", 5)).code == ResponseCode::kPullNotFound);
        CHECK(pull(*client, sql_pull("TRUE", 6)).code == ResponseCode::kPullOffsetMoved);
    }
}

TEST_CASE("stock clients' properties and tags are asked like native ones") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    wire::SendMessageRequest request = stock_send("T", 0);
    request.set_properties(
        "TAGS\x01TagA\x02"
        "a\x01"
        "7\x02");
    REQUIRE(f.json().call(RequestCode::kSendMessage, &request, "x").summary() == "0");
    CHECK(bodies(pull(f.json(), sql_pull("TAGS IN ('TagA', 'TagB') AND a > 6")).body) ==
          Bodies{"x"});
    CHECK(pull(f.json(), sql_pull("TAGS = 'TagB'")).code == ResponseCode::kPullRetryImmediately);
}

TEST_CASE("a pull is limited by count and bytes, and nothing is left out behind them") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    Bodies wanted;
    for (int i = 0; i < 40; ++i) {
        const std::string body = std::to_string(i) + std::string(20'000, 'b');
        REQUIRE(send(f.native(), "T", 0, {priced(body, i % 2)}).summary() == "0");
        if (i % 2 == 1) {
            wanted.push_back(body);
        }
    }
    wire::PullMessageRequest request = sql_pull("price = 1");
    request.set_maxmsgnums(3);
    const Answer three = pull(f.native(), request);
    CHECK(bodies(three.body).size() == 3);
    CHECK(next_of(three) == 6);
    CHECK(read_matching(f.native(), request) == wanted);
    request.set_maxmsgnums(32);
    request.set_maxmsgbytes(50'000);
    CHECK(bodies(pull(f.native(), request).body).size() == 2);
    CHECK(read_matching(f.json(), request) == wanted);
    request.set_maxmsgbytes(10);
    CHECK(bodies(pull(f.native(), request).body).size() == 1);
    CHECK(read_matching(f.native(), request) == wanted);
}

TEST_CASE("one pull looks at so many messages, and says how far it got") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    for (int i = 0; i < 6; ++i) {
        REQUIRE(
            send(f.native(), "T", 0, std::vector<TestMessage>(1'000, priced("no", i))).summary() ==
            "0");
    }
    REQUIRE(send(f.native(), "T", 0, {priced("yes", 1'000)}).summary() == "0");
    const Answer first = pull(f.json(), sql_pull("price > 500"));
    REQUIRE(first.code == ResponseCode::kPullRetryImmediately);
    CHECK(next_of(first) == FilteredReader::kScanMessages);
    CHECK(bodies(pull(f.json(), sql_pull("price > 500", next_of(first))).body) == Bodies{"yes"});
    CHECK(metric(f, "filter_scanned_total") == 6'001);
    CHECK(metric(f, "filter_matched_total") == 1);
}

TEST_CASE("messages whose property is no number are left out and counted") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(send(f.native(),
                 "T",
                 0,
                 {{"1", {}, {}, {{"price", "cheap"}}},
                  {"2", {}, {}, {{"price", "3.5"}}},
                  priced("3", 4)})
                .summary() == "0");
    CHECK(bodies(pull(f.json(), sql_pull("price > 3")).body) == Bodies{"3"});
    CHECK(metric(f, "filter_failed_total") == 2);
}

TEST_CASE("queues side by side in the log are filtered each by itself") {
    const char* const given = std::getenv("GANTRY_TEST_SEED");
    const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 42;
    MESSAGE("GANTRY_TEST_SEED=", seed);
    Random random(seed);
    BrokerFixture f;
    REQUIRE(f.create_topic("T", 3) == ResponseCode::kSuccess);
    std::vector<Bodies> wanted(3);
    for (int i = 0; i < 600; ++i) {
        const auto queue = static_cast<std::int32_t>(random.below(3));
        std::vector<TestMessage> batch;
        for (std::uint64_t count = 1 + random.below(4); count > 0; --count) {
            const auto price = static_cast<int>(random.below(100));
            const std::string body = std::to_string(i) + "." + std::to_string(count) +
                                     std::string(random.below(600), '.');
            batch.push_back(priced(body, price));
            if (price < 7) {
                wanted[static_cast<std::size_t>(queue)].push_back(body);
            }
        }
        REQUIRE(send(f.native(), "T", queue, batch).summary() == "0");
    }
    for (std::int32_t queue = 0; queue < 3; ++queue) {
        wire::PullMessageRequest request = sql_pull("price < 7");
        request.set_queueid(queue);
        CHECK(read_matching(f.json(), request) == wanted[static_cast<std::size_t>(queue)]);
        request.set_maxmsgnums(2);
        CHECK(read_matching(f.native(), request) == wanted[static_cast<std::size_t>(queue)]);
    }
}

TEST_CASE("a parked pull sleeps through what its expression does not match") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    wire::PullMessageRequest request = held_pull_of("T", 0, 0, kHold.count());
    request.set_expressiontype("SQL92");
    request.set_subscription("price > 50");
    std::future<Answer> waiting =
        f.native().start(RequestCode::kPullMessage, &request, {}, kHold + RpcClient::kPatience);
    const auto is_parked = [&] { return metric(f, "parked_pulls") == 1; };
    REQUIRE(harness::wait_until(RpcClient::kPatience, is_parked));
    REQUIRE(send(f.native(), "T", 0, {priced("1", 5)}).summary() == "0");
    CHECK(is_parked());
    REQUIRE(send(f.native(), "T", 0, {priced("2", 6), priced("3", 60)}).summary() == "0");
    const Answer woken = waiting.get();
    CHECK(bodies(woken.body) == Bodies{"3"});
    CHECK(next_of(woken) == 3);
    CHECK(metric(f, "filter_scanned_total") == 3);
}

TEST_CASE("a parked pull that times out learns how far it got") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    wire::PullMessageRequest request = held_pull_of("T", 0, 0, 3'000);
    request.set_expressiontype("SQL92");
    request.set_subscription("price > 50");
    std::future<Answer> waiting = f.json().start(RequestCode::kPullMessage, &request, {}, kHold);
    REQUIRE(
        harness::wait_until(RpcClient::kPatience, [&] { return metric(f, "parked_pulls") == 1; }));
    REQUIRE(send(f.native(), "T", 0, {priced("1", 5), priced("2", 6)}).summary() == "0");
    const Answer answer = waiting.get();
    CHECK(answer.code == ResponseCode::kPullRetryImmediately);
    CHECK(next_of(answer) == 2);
}

TEST_CASE("a group's pulls use the expression of its last heartbeat") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 0, {priced("1", 10), priced("2", 90)}).summary() == "0");
    const auto beat = [&](const std::string& expression, std::int64_t version) {
        return f.json().call_with_body(
            RequestCode::kHeartBeat, nullptr, heartbeat(expression, version));
    };
    wire::PullMessageRequest request = pull_of("T", 0, 0);
    request.set_sysflag(0);
    request.set_subscription("");
    request.set_expressiontype("SQL92");
    REQUIRE(beat("price > 50", 1).summary() == "0");
    CHECK(bodies(pull(f.json(), request).body) == Bodies{"2"});
    REQUIRE(beat("price < 50", 2).summary() == "0");
    CHECK(bodies(pull(f.json(), request).body) == Bodies{"1"});
    // An older member's heartbeat does not bring the older expression back.
    REQUIRE(beat("price > 50", 1).summary() == "0");
    CHECK(bodies(pull(f.json(), request).body) == Bodies{"1"});
    REQUIRE(beat("price >", 3).summary() == "0");
    const Answer bad = pull(f.json(), request);
    CHECK(bad.code == ResponseCode::kSubscriptionParseFailed);
    CHECK(bad.remark.find("position 8, its end") != std::string::npos);
}

TEST_CASE("an expression that does not parse is refused with where and why") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    for (RpcClient* const client : {&f.native(), &f.json()}) {
        CHECK(pull(*client, sql_pull("price ~ 5")).summary() ==
              "23 parse the consumer's subscription failed: SQL92 expression, position 7, at "
              "\"~\": no expression has this here");
        wire::CheckClientRequestBody body;
        body.mutable_subscriptiondata()->set_expressiontype("SQL92");
        body.mutable_subscriptiondata()->set_substring("price ~ 5");
        CHECK(client->call_with_body(RequestCode::kCheckClientConfig, nullptr, body).summary() ==
              "23 SQL92 expression, position 7, at \"~\": no expression has this here");
    }
}

TEST_CASE("where filter.sql is off, expressions are refused and tags work") {
    BrokerFixture f([](BrokerOptions& o) { o.filter_sql = false; });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const std::string off =
        "1 The broker does not support consumer to filter message by SQL92: its setting "
        "filter.sql is off";
    CHECK(pull(f.json(), sql_pull("price > 5")).summary() == off);
    wire::CheckClientRequestBody body;
    body.mutable_subscriptiondata()->set_expressiontype("SQL92");
    body.mutable_subscriptiondata()->set_substring("price > 5");
    CHECK(f.json().call_with_body(RequestCode::kCheckClientConfig, nullptr, body).summary() == off);
    CHECK(pull(f.json(), pull_of("T", 0, 0)).code == ResponseCode::kPullNotFound);
}

TEST_SUITE_END();

}  // namespace gantry::broker

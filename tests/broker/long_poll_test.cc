// SPDX-License-Identifier: Apache-2.0
#include "tests/broker/broker_fixture.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <chrono>
#include <future>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/long_poll");

namespace {

using std::chrono::milliseconds;

/// Longer than any test: who is answered was woken.
constexpr milliseconds kHold{100'000};

double metric(BrokerFixture& f, const std::string& name) {
    return f.broker().metrics().values()["gantry_broker_" + name];
}

bool wait_for_parked(BrokerFixture& f, double count) {
    return harness::wait_until(RpcClient::kPatience,
                               [&] { return metric(f, "parked_pulls") == count; });
}

std::future<Answer> start_pull(RpcClient& client, const wire::PullMessageRequest& request) {
    return client.start(RequestCode::kPullMessage, &request, {}, kHold + RpcClient::kPatience);
}

}  // namespace

TEST_CASE("a parked pull is woken by the message it waits for") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    std::future<Answer> waiting = start_pull(f.json(), held_pull_of("T", 1, 0, kHold.count()));
    std::future<Answer> elsewhere = start_pull(f.json(), held_pull_of("T", 2, 0, kHold.count()));
    REQUIRE(wait_for_parked(f, 2));
    REQUIRE(send(f.native(), "T", 1, {{"x"}}).summary() == "0");
    const Answer woken = waiting.get();
    CHECK(bodies(woken.body) == std::vector<std::string>{"x"});
    CHECK(metric(f, "parked_pulls") == 1);
    CHECK(elsewhere.wait_for(milliseconds(0)) == std::future_status::timeout);
    CHECK(metric(f, "pulls_woken_total") == 1);
}

TEST_CASE("a pass that appends many messages wakes a consumer once, with all of them") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    wire::PullMessageRequest request = held_pull_of("T", 0, 0, kHold.count());
    request.set_maxmsgnums(1'000);
    std::future<Answer> waiting = start_pull(f.native(), request);
    REQUIRE(wait_for_parked(f, 1));
    std::vector<TestMessage> many(100, TestMessage{"m"});
    REQUIRE(send(f.native(), "T", 0, many).summary() == "0");
    CHECK(bodies(waiting.get().body).size() == 100);
    CHECK(metric(f, "pulls_woken_total") == 1);
}

TEST_CASE("a pull that nothing comes for is answered in time with all its fields") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 0, {{"x"}}).summary() == "0");
    const auto before = std::chrono::steady_clock::now();
    const Answer answer = start_pull(f.json(), held_pull_of("T", 0, 1, 500)).get();
    const auto took = std::chrono::steady_clock::now() - before;
    CHECK(answer.summary() == "19 NO_NEW_MSG");
    CHECK(took >= milliseconds(250));
    REQUIRE(answer.ext.size() == 4);
    const auto fields = answer.fields<wire::PullMessageResponse>();
    CHECK(fields.nextbeginoffset() == 1);
    CHECK(fields.maxoffset() == 1);
}

TEST_CASE("a filtered pull sleeps through messages it does not want") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    wire::PullMessageRequest request = held_pull_of("T", 0, 0, kHold.count());
    request.set_subscription("Wanted");
    std::future<Answer> waiting = start_pull(f.native(), request);
    REQUIRE(wait_for_parked(f, 1));
    REQUIRE(send(f.native(), "T", 0, {{"1", "Other"}, {"2", "Other"}}).summary() == "0");
    CHECK(metric(f, "parked_pulls") == 1);
    REQUIRE(send(f.native(), "T", 0, {{"3", "Wanted"}}).summary() == "0");
    const Answer woken = waiting.get();
    CHECK(bodies(woken.body) == std::vector<std::string>{"3"});
    CHECK(woken.fields<wire::PullMessageResponse>().nextbeginoffset() == 3);
}

TEST_CASE("a filtered pull that times out learns how far it got") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    // Long enough for what is sent meanwhile.
    wire::PullMessageRequest request = held_pull_of("T", 0, 0, 3'000);
    request.set_subscription("Wanted");
    std::future<Answer> waiting = start_pull(f.native(), request);
    REQUIRE(wait_for_parked(f, 1));
    REQUIRE(send(f.native(), "T", 0, {{"1", "Other"}, {"2", "Other"}}).summary() == "0");
    const Answer answer = waiting.get();
    CHECK(answer.code == ResponseCode::kPullRetryImmediately);
    CHECK(answer.fields<wire::PullMessageResponse>().nextbeginoffset() == 2);
}

TEST_CASE("the pulls of a closed connection are forgotten") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    {
        RpcClient leaving(f.address());
        const std::future<Answer> waiting =
            start_pull(leaving, held_pull_of("T", 0, 0, kHold.count()));
        REQUIRE(wait_for_parked(f, 1));
    }
    CHECK(wait_for_parked(f, 0));
    CHECK(send(f.native(), "T", 0, {{"x"}}).summary() == "0");
}

TEST_CASE("deleting a topic answers who waits for it") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    std::future<Answer> waiting = start_pull(f.json(), held_pull_of("T", 0, 0, kHold.count()));
    REQUIRE(wait_for_parked(f, 1));
    wire::TopicRequest request;
    request.set_topic("T");
    REQUIRE(f.native().call(RequestCode::kDeleteTopicInBroker, &request).summary() == "0");
    CHECK(waiting.get().code == ResponseCode::kTopicNotExist);
}

TEST_CASE("a clean stop answers what is parked") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    std::future<Answer> waiting = start_pull(f.json(), held_pull_of("T", 0, 0, kHold.count()));
    REQUIRE(wait_for_parked(f, 1));
    f.stop();
    CHECK(waiting.get().summary() == "19 NO_NEW_MSG");
}

TEST_CASE("above the limit on parked pulls one is answered at once") {
    BrokerFixture f([](BrokerOptions& o) { o.parked_pulls_max = 1; });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    std::future<Answer> waiting = start_pull(f.json(), held_pull_of("T", 0, 0, kHold.count()));
    REQUIRE(wait_for_parked(f, 1));
    CHECK(start_pull(f.json(), held_pull_of("T", 0, 0, kHold.count())).get().code ==
          ResponseCode::kPullNotFound);
}

TEST_CASE("with several loops a message wakes pulls wherever they wait") {
    BrokerFixture f([](BrokerOptions& o) { o.loop_count = 3; });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    std::vector<std::unique_ptr<RpcClient>> clients;
    for (int round = 0; round < 20; ++round) {
        std::vector<std::future<Answer>> waiting;
        clients.clear();
        for (int i = 0; i < 6; ++i) {
            clients.push_back(std::make_unique<RpcClient>(f.address()));
            waiting.push_back(
                start_pull(*clients.back(), held_pull_of("T", 0, round, kHold.count())));
        }
        REQUIRE(send(f.native(), "T", 0, {{"x"}}).summary() == "0");
        for (std::future<Answer>& answer : waiting) {
            CHECK(answer.get().summary() == "0 FOUND");
        }
    }
}

TEST_CASE("with sync flush a message is acknowledged and seen once it is on the disk") {
    BrokerFixture f([](BrokerOptions& o) { o.store_flush = "sync"; });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    std::future<Answer> waiting = start_pull(f.json(), held_pull_of("T", 0, 0, kHold.count()));
    REQUIRE(wait_for_parked(f, 1));
    const Answer sent = send(f.native(), "T", 0, {{"x"}, {"y"}});
    REQUIRE(sent.summary() == "0");
    const auto at = sent.fields<wire::SendRecordsResponse>().logoffset();
    CHECK(f.broker().store().watermarks().flushed.value > at);
    CHECK(bodies(waiting.get().body) == std::vector<std::string>{"x", "y"});
    const wire::SendMessageRequest request = stock_send("T", 0);
    REQUIRE(f.json().call(RequestCode::kSendMessage, &request, "z").summary() == "0");
    const storage::Watermarks marks = f.broker().store().watermarks();
    CHECK(marks.flushed == marks.appended);
}

TEST_CASE("with sync flush many requests in flight share their syncs") {
    BrokerFixture f([](BrokerOptions& o) { o.store_flush = "sync"; });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    wire::SendRecordsRequest request;
    request.set_topic("T");
    request.set_queueid(0);
    request.set_count(1);
    std::vector<std::future<Answer>> sends;
    for (int i = 0; i < 500; ++i) {
        sends.push_back(f.native().start(
            RequestCode::kSendRecords, &request, records("T", 0, {{std::to_string(i)}})));
    }
    for (std::size_t i = 0; i < sends.size(); ++i) {
        const Answer answer = sends[i].get();
        REQUIRE(answer.summary() == "0");
        CHECK(answer.fields<wire::SendRecordsResponse>().queueoffset() ==
              static_cast<std::int64_t>(i));
    }
}

TEST_SUITE_END();

}  // namespace gantry::broker

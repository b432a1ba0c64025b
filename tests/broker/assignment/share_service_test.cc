// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/group.pb.h"
#include "protocol/wire/share.pb.h"
#include "tests/broker/broker_fixture.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/share_service");

namespace {

void quick(BrokerOptions& options) {
    options.share_heartbeat_ms = 400;
}

/// A member of group "G" with a connection of its own.
struct Member {
    Member(const BrokerFixture& f, std::string id) : client_id(std::move(id)), rpc(f.address()) {}

    /// Registers as heartbeats do.
    void beat(const std::string& expression = "*",
              std::int64_t version = 1,
              bool by_broker = true,
              const std::vector<std::string>& topics = {"T"}) {
        wire::HeartbeatData data;
        data.set_clientid(client_id);
        wire::ConsumerData& consumer = *data.add_consumerdataset();
        consumer.set_groupname("G");
        consumer.set_messagemodel("CLUSTERING");
        consumer.set_sharedbybroker(by_broker);
        for (const std::string& topic : topics) {
            wire::SubscriptionData& subscription = *consumer.add_subscriptiondataset();
            subscription.set_topic(topic);
            subscription.set_substring(expression);
            subscription.set_expressiontype("TAG");
            subscription.set_subversion(version);
        }
        REQUIRE(rpc.call_with_body(RequestCode::kHeartBeat, nullptr, data).summary() == "0");
    }

    wire::ShareQueuesRequest request() const {
        wire::ShareQueuesRequest request;
        request.set_consumergroup("G");
        request.set_clientid(client_id);
        request.set_generation(share.generation());
        auto& topic = *request.add_topics();
        topic.set_topic("T");
        topic.set_isonlyhere(true);
        for (const wire::SharedQueue& queue : share.queues()) {
            *request.add_held() = queue;
        }
        return request;
    }

    /// Asks, and waits for the answer as long as the broker holds it.
    void ask() { learn(rpc.call(RequestCode::kShareQueues, keep(request()))); }

    std::future<Answer> start_ask() {
        return rpc.start(RequestCode::kShareQueues, keep(request()));
    }

    void learn(const Answer& answer) {
        REQUIRE(answer.summary() == "0");
        share = answer.fields<wire::ShareQueuesResponse>();
    }

    /// Gives back what it is told to, at offset 7.
    void release() {
        wire::ShareQueuesRequest given = request();
        given.clear_held();
        for (wire::SharedQueue& queue : *share.mutable_queues()) {
            if (queue.revoked()) {
                queue.set_offset(7);
                *given.add_released() = queue;
            } else {
                *given.add_held() = queue;
            }
        }
        learn(rpc.call(RequestCode::kShareQueues, keep(given)));
    }

    Answer commit(std::int32_t queue, std::int64_t offset, std::int64_t token) {
        wire::CommitOffsetsRequest request;
        request.set_consumergroup("G");
        auto& entry = *request.add_offsets();
        entry.set_topic("T");
        entry.set_queueid(queue);
        entry.set_offset(offset);
        entry.set_granttoken(token);
        return rpc.call(RequestCode::kCommitOffsets, &request);
    }

    int count() const { return share.queues_size(); }

    const wire::ShareQueuesRequest* keep(wire::ShareQueuesRequest request) {
        sent = std::move(request);
        return &sent;
    }

    std::string client_id;
    RpcClient rpc;
    wire::ShareQueuesRequest sent;
    wire::ShareQueuesResponse share;
};

std::int64_t committed(BrokerFixture& f, std::int32_t queue) {
    return f.broker().store().state().offset("G", "T", queue).value_or(-1);
}

/// Messages 0 to 9 in queue 0.
void store_ten(BrokerFixture& f) {
    std::vector<TestMessage> messages;
    for (int i = 0; i < 10; ++i) {
        messages.push_back({std::to_string(i)});
    }
    REQUIRE(send(f.native(), "T", 0, messages).summary() == "0");
}

void set_policy(BrokerFixture& f, const std::string& policy, const std::string& expected = "0") {
    wire::SubscriptionGroupConfig config;
    config.set_groupname("G");
    config.set_offsetoutofrange(policy);
    CHECK(f.native()
              .call_with_body(RequestCode::kUpdateAndCreateSubscriptionGroup, nullptr, config)
              .summary() == expected);
}

Answer pull_at(RpcClient& client, std::int64_t offset) {
    wire::PullMessageRequest request = pull_of("T", 0, offset);
    request.set_consumergroup("G");
    return client.call(RequestCode::kPullMessage, &request);
}

}  // namespace

TEST_CASE("queues are handed over: told to give back, committed, granted") {
    for (const int loops : {1, 2}) {
        CAPTURE(loops);
        BrokerFixture f([loops](BrokerOptions& o) {
            quick(o);
            o.loop_count = loops;
        });
        REQUIRE(f.create_topic("T", 4) == ResponseCode::kSuccess);
        Member a(f, "a");
        a.ask();
        CHECK(a.count() == 4);
        CHECK(a.share.heartbeatms() == 400);
        std::future<Answer> parked = a.start_ask();
        Member b(f, "b");
        b.ask();
        CHECK(b.count() == 0);
        a.learn(parked.get());  // at once, as b has come
        CHECK(a.share.queues(2).revoked());
        CHECK(a.share.queues(3).revoked());
        std::future<Answer> granted = b.start_ask();
        a.release();
        CHECK(a.count() == 2);
        b.learn(granted.get());
        while (b.count() < 2) {
            b.ask();
        }
        CHECK(committed(f, 2) == 7);
        CHECK(committed(f, 3) == 7);
        CHECK(b.share.queues(0).token() > a.share.queues(0).token());
    }
}

TEST_CASE("an answer without news comes after half a heartbeat, and the next request replaces it") {
    BrokerFixture f(quick);
    REQUIRE(f.create_topic("T", 2) == ResponseCode::kSuccess);
    Member a(f, "a");
    a.ask();
    const auto before = std::chrono::steady_clock::now();
    a.ask();
    CHECK(std::chrono::steady_clock::now() - before >= std::chrono::milliseconds(190));
    std::future<Answer> first = a.start_ask();
    std::future<Answer> second = a.start_ask();
    CHECK(first.get().summary() == "0");
    CHECK(second.get().summary() == "0");
}

TEST_CASE("a member that falls silent is replaced within two heartbeats, its commits are fenced") {
    BrokerFixture f(quick);
    REQUIRE(f.create_topic("T", 2) == ResponseCode::kSuccess);
    Member a(f, "a");
    a.ask();
    CHECK(a.commit(0, 3, a.share.queues(0).token()).summary() == "0");
    Member b(f, "b");
    const auto before = std::chrono::steady_clock::now();
    while (b.count() < 2) {
        b.ask();
        // Heartbeats of 400 ms; the rest is the machine's slowness.
        REQUIRE(std::chrono::steady_clock::now() - before < std::chrono::seconds(5));
    }
    const Answer late = a.commit(0, 9, a.share.queues(0).token());
    CHECK(late.code == ResponseCode::kFenced);
    CHECK(late.remark == "queue 0 of topic T is no longer granted to the sender");
    CHECK(committed(f, 0) == 3);
    CHECK(b.commit(0, 4, b.share.queues(0).token()).summary() == "0");
    CHECK(committed(f, 0) == 4);
    // Those who share in another way have no token, and tools neither.
    CHECK(a.commit(0, 5, 0).summary() == "0");
    CHECK(f.broker().metrics().values().at("gantry_broker_commits_fenced_total") == 1);
    CHECK(f.broker().metrics().values().at("gantry_broker_share_members_expired_total") == 1);
}

TEST_CASE("a lost connection is enough, and after a restart members keep what they hold") {
    BrokerFixture f(quick);
    REQUIRE(f.create_topic("T", 4) == ResponseCode::kSuccess);
    Member b(f, "b");
    b.beat();
    {
        Member a(f, "a");
        a.ask();
        b.ask();
        CHECK(b.count() == 0);
    }
    while (b.count() < 4) {
        b.ask();
    }
    f.restart();
    Member c(f, "c");
    Member again(f, "b");
    again.share = b.share;
    c.ask();
    CHECK(c.count() == 0);
    again.ask();
    REQUIRE(again.count() == 4);
    for (int i = 0; i < 4; ++i) {
        CHECK(again.share.queues(i).token() == b.share.queues(i).token());
    }
}

TEST_CASE("a member that shares in another way turns all to computing, until it leaves") {
    BrokerFixture f(quick);
    REQUIRE(f.create_topic("T", 4) == ResponseCode::kSuccess);
    Member a(f, "a");
    a.beat();
    a.ask();
    CHECK(a.count() == 4);
    std::future<Answer> parked = a.start_ask();
    {
        Member stock(f, "stock");
        stock.beat("*", 1, false);
        a.learn(parked.get());
        CHECK(a.share.byclients());
        CHECK(a.count() == 0);
        parked = a.start_ask();
    }
    a.learn(parked.get());
    while (a.count() < 4) {
        a.ask();
    }
    CHECK_FALSE(a.share.byclients());
}

TEST_CASE("who has what is listed, and requests that make no sense are refused") {
    BrokerFixture f(quick);
    REQUIRE(f.create_topic("T", 2) == ResponseCode::kSuccess);
    Member a(f, "a");
    a.ask();
    wire::ListSharesRequest which;
    which.set_consumergroup("G");
    const auto list = f.native().call(RequestCode::kListShares, &which).body_as<wire::ShareList>();
    REQUIRE(list.shares_size() == 2);
    CHECK(list.shares(1).clientid() == "a");
    CHECK(list.shares(1).token() == a.share.queues(1).token());

    wire::ShareQueuesRequest bad = a.request();
    CHECK(f.json().call(RequestCode::kShareQueues, &bad).summary() ==
          "3 10060 is spoken natively only");
    bad.set_clientid("");
    CHECK(f.native().call(RequestCode::kShareQueues, &bad).code == ResponseCode::kInvalidParameter);
    bad = a.request();
    bad.set_consumergroup("no group!");
    CHECK(f.native().call(RequestCode::kShareQueues, &bad).code == ResponseCode::kInvalidParameter);
    // A queue there is not has no offset either.
    wire::ShareQueuesRequest stray = a.request();
    auto& released = *stray.add_released();
    released.set_topic("T");
    released.set_queueid(77);
    released.set_offset(5);
    stray.set_generation(0);
    CHECK(f.native().call(RequestCode::kShareQueues, &stray).summary() == "0");
    CHECK(committed(f, 77) == -1);
}

TEST_CASE("each member is filtered with its own subscription during a rolling change") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T", 1) == ResponseCode::kSuccess);
    REQUIRE(f.create_topic("U", 1) == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 0, {{"1", "A"}, {"2", "B"}}).summary() == "0");
    REQUIRE(send(f.native(), "U", 0, {{"3", "B"}}).summary() == "0");
    Member older(f, "older");
    Member newer(f, "newer");
    older.beat("A", 100, false);
    newer.beat("B", 200, false, {"T", "U"});
    older.beat("A", 100, false);  // names U no more than before
    const auto pull = [](Member& member, const std::string& topic, std::int64_t version) {
        wire::PullMessageRequest request = pull_of(topic, 0, 0);
        request.set_consumergroup("G");
        request.set_sysflag(0);  // without a subscription of its own
        request.set_subversion(version);
        return member.rpc.call(RequestCode::kPullMessage, &request);
    };
    CHECK(bodies(pull(older, "T", 100).body) == std::vector<std::string>{"1"});
    CHECK(bodies(pull(newer, "T", 200).body) == std::vector<std::string>{"2"});
    CHECK(bodies(pull(newer, "U", 200).body) == std::vector<std::string>{"3"});
    // Somebody else of the group, by another connection: the newest of all.
    Member other(f, "other");
    CHECK(bodies(pull(other, "T", 200).body) == std::vector<std::string>{"2"});
    CHECK(pull(other, "T", 201).code == ResponseCode::kSubscriptionNotLatest);
}

TEST_CASE("an offset that does not exist goes where the group's policy says") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T", 1) == ResponseCode::kSuccess);
    store_ten(f);
    const auto next = [&](const std::string& policy, std::int64_t from) {
        set_policy(f, policy);
        const Answer answer = pull_at(f.native(), from);
        CHECK(answer.code == ResponseCode::kPullOffsetMoved);
        return answer.fields<wire::PullMessageResponse>().nextbeginoffset();
    };
    CHECK(next("nearest", 99) == 10);
    CHECK(next("earliest", 99) == 0);
    CHECK(next("latest", 99) == 10);
    set_policy(f, "fail");
    const Answer stands = pull_at(f.native(), 99);
    CHECK(stands.code == ResponseCode::kOffsetOutOfRange);
    CHECK(stands.remark == "offset 99 is outside 0..10, and offsetOutOfRange of group [G] is fail");
    CHECK(stands.fields<wire::PullMessageResponse>().maxoffset() == 10);
    CHECK(pull_at(f.json(), 99).code == ResponseCode::kSystemError);
    f.restart();
    CHECK(pull_at(f.native(), 99).code == ResponseCode::kOffsetOutOfRange);
    CHECK(f.broker().metrics().values().at("gantry_broker_offsets_out_of_range_total") == 1);
    set_policy(f,
               "sideways",
               "29 offsetOutOfRange \"sideways\" is none of nearest, earliest, latest, fail");
}

TEST_SUITE_END();

}  // namespace gantry::broker

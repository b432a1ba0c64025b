// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/group.pb.h"
#include "tests/broker/broker_fixture.h"

#include <doctest/doctest.h>

#include <chrono>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/group");

namespace {

wire::HeartbeatData heartbeat_of(const std::string& client_id,
                                 const std::string& group,
                                 const std::vector<std::string>& topics) {
    wire::HeartbeatData data;
    data.set_clientid(client_id);
    wire::ConsumerData& consumer = *data.add_consumerdataset();
    consumer.set_groupname(group);
    consumer.set_consumetype("CONSUME_PASSIVELY");
    consumer.set_messagemodel("CLUSTERING");
    consumer.set_consumefromwhere("CONSUME_FROM_FIRST_OFFSET");
    for (const std::string& topic : topics) {
        wire::SubscriptionData& subscription = *consumer.add_subscriptiondataset();
        subscription.set_topic(topic);
        subscription.set_substring("*");
        subscription.set_expressiontype("TAG");
        subscription.set_subversion(100);
    }
    data.add_producerdataset()->set_groupname("PG");
    return data;
}

Answer beat(RpcClient& client, const wire::HeartbeatData& data) {
    return client.call_with_body(RequestCode::kHeartBeat, nullptr, data);
}

std::vector<std::string> members(RpcClient& client, const std::string& group) {
    wire::ConsumerGroupRequest request;
    request.set_consumergroup(group);
    const auto list =
        client.call(RequestCode::kGetConsumerListByGroup, &request).body_as<wire::ConsumerIdList>();
    return {list.consumeridlist().begin(), list.consumeridlist().end()};
}

void check_notice(RpcClient& client, const std::string& group, wire::Codec codec) {
    const Answer notice = client.next_request();
    REQUIRE(notice.transport);
    CHECK(static_cast<std::int32_t>(notice.code) ==
          static_cast<std::int32_t>(RequestCode::kNotifyConsumerIdsChanged));
    CHECK(notice.codec == codec);
    CHECK(notice.fields<wire::ConsumerGroupRequest>().consumergroup() == group);
}

bool has_no_notice(RpcClient& client) {
    return !client.next_request(std::chrono::milliseconds(50)).transport;
}

wire::PullMessageRequest group_pull(const std::string& topic, std::int64_t version) {
    wire::PullMessageRequest request = pull_of(topic, 0, 0);
    request.set_sysflag(0);
    request.set_subversion(version);
    return request;
}

}  // namespace

TEST_CASE("a first heartbeat makes the group, its retry topic, and a member") {
    BrokerFixture f;
    REQUIRE(beat(f.json(), heartbeat_of("c1", "G", {"T", "%RETRY%G"})).summary() == "0");
    check_notice(f.json(), "G", wire::Codec::kJson);
    CHECK(members(f.native(), "G") == std::vector<std::string>{"c1"});
    CHECK(f.broker().store().find_topic("%RETRY%G") != nullptr);
    const auto group = f.broker().store().state().group("G");
    REQUIRE(group);
    CHECK(group->retrymaxtimes() == 16);
    REQUIRE(beat(f.json(), heartbeat_of("c1", "G", {"T", "%RETRY%G"})).summary() == "0");
    CHECK(has_no_notice(f.json()));
    f.restart();
    CHECK(f.broker().store().state().group("G"));
    CHECK(members(f.native(), "G").empty());
}

TEST_CASE("every member hears of one that joins, leaves, or loses its connection") {
    BrokerFixture f([](BrokerOptions& o) { o.loop_count = 2; });
    REQUIRE(beat(f.json(), heartbeat_of("c1", "G", {"T"})).summary() == "0");
    check_notice(f.json(), "G", wire::Codec::kJson);
    REQUIRE(beat(f.native(), heartbeat_of("c2", "G", {"T"})).summary() == "0");
    check_notice(f.json(), "G", wire::Codec::kJson);
    check_notice(f.native(), "G", wire::Codec::kNative);
    {
        RpcClient third(f.address(), wire::Codec::kBinary);
        REQUIRE(beat(third, heartbeat_of("c3", "G", {"T"})).summary() == "0");
        check_notice(third, "G", wire::Codec::kJson);
        check_notice(f.json(), "G", wire::Codec::kJson);
        check_notice(f.native(), "G", wire::Codec::kNative);
        CHECK(members(f.json(), "G") == std::vector<std::string>{"c1", "c2", "c3"});
    }
    check_notice(f.json(), "G", wire::Codec::kJson);
    check_notice(f.native(), "G", wire::Codec::kNative);
    CHECK(members(f.json(), "G") == std::vector<std::string>{"c1", "c2"});

    wire::UnregisterClientRequest leave;
    leave.set_clientid("c2");
    leave.set_consumergroup("G");
    REQUIRE(f.native().call(RequestCode::kUnregisterClient, &leave).summary() == "0");
    check_notice(f.json(), "G", wire::Codec::kJson);
    CHECK(members(f.json(), "G") == std::vector<std::string>{"c1"});
}

TEST_CASE("a changed set of topics is news, a changed expression is not") {
    BrokerFixture f;
    wire::HeartbeatData data = heartbeat_of("c1", "G", {"T"});
    REQUIRE(beat(f.json(), data).summary() == "0");
    check_notice(f.json(), "G", wire::Codec::kJson);
    wire::SubscriptionData& subscription =
        *data.mutable_consumerdataset(0)->mutable_subscriptiondataset(0);
    subscription.set_substring("TagA");
    subscription.set_subversion(200);
    REQUIRE(beat(f.json(), data).summary() == "0");
    CHECK(has_no_notice(f.json()));
    REQUIRE(beat(f.json(), heartbeat_of("c1", "G", {"T", "U"})).summary() == "0");
    check_notice(f.json(), "G", wire::Codec::kJson);
}

TEST_CASE("broadcasting groups are not told") {
    BrokerFixture f;
    wire::HeartbeatData data = heartbeat_of("c1", "G", {"T"});
    data.mutable_consumerdataset(0)->set_messagemodel("BROADCASTING");
    REQUIRE(beat(f.json(), data).summary() == "0");
    CHECK(has_no_notice(f.json()));
}

TEST_CASE("a pull without a subscription of its own takes the group's") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 0, {{"1", "A"}, {"2", "B"}}).summary() == "0");
    wire::HeartbeatData data = heartbeat_of("c1", "CG", {"T"});
    data.mutable_consumerdataset(0)->mutable_subscriptiondataset(0)->set_substring("B");
    REQUIRE(beat(f.json(), data).summary() == "0");
    const auto pull = [&](const wire::PullMessageRequest& request) {
        return f.json().call(RequestCode::kPullMessage, &request);
    };
    CHECK(bodies(pull(group_pull("T", 100)).body) == std::vector<std::string>{"2"});
    CHECK(pull(group_pull("T", 101)).summary() ==
          "25 the consumer's subscription not latest, group: CG, topic: T");
    REQUIRE(f.create_topic("U") == ResponseCode::kSuccess);
    CHECK(pull(group_pull("U", 100)).summary() ==
          "24 the consumer's subscription not exist, group: CG, topic: U");
}

TEST_CASE("a group can be stopped from consuming") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    wire::SubscriptionGroupConfig config;
    config.set_groupname("CG");
    config.set_consumeenable(false);
    REQUIRE(f.json()
                .call_with_body(RequestCode::kUpdateAndCreateSubscriptionGroup, nullptr, config)
                .summary() == "0");
    const wire::PullMessageRequest request = pull_of("T", 0, 0);
    CHECK(f.json().call(RequestCode::kPullMessage, &request).code == ResponseCode::kNoPermission);
}

TEST_CASE("without automatic creation unknown groups get nowhere") {
    BrokerFixture f([](BrokerOptions& o) { o.group_auto_create = false; });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    CHECK(beat(f.json(), heartbeat_of("c1", "CG", {"T"})).summary() == "0");
    CHECK(members(f.json(), "CG").empty());
    wire::PullMessageRequest request = pull_of("T", 0, 0);
    CHECK(f.json().call(RequestCode::kPullMessage, &request).code ==
          ResponseCode::kSubscriptionGroupNotExist);
    CHECK(f.native().call(RequestCode::kPullMessage, &request).code ==
          ResponseCode::kSubscriptionGroupNotExist);
}

TEST_CASE("a reader of no group needs none") {
    BrokerFixture f([](BrokerOptions& o) { o.group_auto_create = false; });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 0, {{"x"}}).summary() == "0");
    wire::PullMessageRequest request = pull_of("T", 0, 0);
    request.set_consumergroup("");
    CHECK(bodies(f.native().call(RequestCode::kPullMessage, &request).body) ==
          std::vector<std::string>{"x"});
    // What it might commit belongs to nobody, and is not kept.
    request.set_sysflag(request.sysflag() | 1);
    request.set_commitoffset(1);
    CHECK(f.native().call(RequestCode::kPullMessage, &request).code == ResponseCode::kSuccess);
    // Without a group there is no subscription to fall back on.
    request.set_sysflag(0);
    CHECK(f.native().call(RequestCode::kPullMessage, &request).code ==
          ResponseCode::kSubscriptionNotExist);
    CHECK(f.broker().store().state().groups().empty());
}

TEST_CASE("malformed heartbeats are refused whole") {
    BrokerFixture f;
    CHECK(beat(f.json(), heartbeat_of("", "G", {"T"})).summary() ==
          "1 the heartbeat has no clientID");
    CHECK(beat(f.native(), heartbeat_of("c1", "no group", {"T"})).code ==
          ResponseCode::kInvalidParameter);
    CHECK(f.json().call(RequestCode::kHeartBeat, nullptr, "{").code == ResponseCode::kSystemError);
    CHECK(members(f.json(), "G").empty());
    wire::ConsumerGroupRequest request;
    request.set_consumergroup("G");
    CHECK(f.json().call(RequestCode::kGetConsumerListByGroup, &request).summary() ==
          "1 no consumer for this group, G");
}

TEST_CASE("connections of groups are described") {
    BrokerFixture f;
    REQUIRE(beat(f.json(), heartbeat_of("c1", "G", {"T"})).summary() == "0");
    wire::ConsumerGroupRequest group;
    group.set_consumergroup("G");
    const Answer answer = f.json().call(RequestCode::kGetConsumerConnectionList, &group);
    REQUIRE(answer.summary() == "0");
    const auto connections = answer.body_as<wire::ConsumerConnection>();
    REQUIRE(connections.connectionset_size() == 1);
    CHECK(connections.connectionset(0).clientid() == "c1");
    CHECK(connections.connectionset(0).clientaddr().starts_with("127.0.0.1:"));
    CHECK(connections.messagemodel() == "CLUSTERING");
    CHECK(connections.subscriptiontable().contains("T"));
    wire::ProducerGroupRequest producers;
    producers.set_producergroup("PG");
    CHECK(f.native()
              .call(RequestCode::kGetProducerConnectionList, &producers)
              .body_as<wire::ProducerConnection>()
              .connectionset_size() == 1);
    producers.set_producergroup("NOPE");
    CHECK(f.json().call(RequestCode::kGetProducerConnectionList, &producers).summary() ==
          "1 the producer group[NOPE] not exist");
    group.set_consumergroup("NOPE");
    CHECK(f.json().call(RequestCode::kGetConsumerConnectionList, &group).code ==
          ResponseCode::kConsumerNotOnline);
}

TEST_CASE("groups are configured, listed with their lag, and deleted") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T", 2) == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 1, {{"a"}, {"b"}, {"c"}}).summary() == "0");
    REQUIRE(beat(f.native(), heartbeat_of("c1", "G", {"T"})).summary() == "0");
    wire::UpdateConsumerOffsetRequest commit;
    commit.set_consumergroup("G");
    commit.set_topic("T");
    commit.set_queueid(1);
    commit.set_commitoffset(1);
    REQUIRE(f.native().call(RequestCode::kUpdateConsumerOffset, &commit).summary() == "0");

    const auto list = f.native().call(RequestCode::kListGroups).body_as<wire::GroupList>();
    REQUIRE(list.groups_size() == 1);
    CHECK(list.groups(0).group() == "G");
    CHECK(list.groups(0).members() == 1);
    CHECK(list.groups(0).lag() == 2);
    REQUIRE(list.groups(0).topics_size() == 1);

    wire::ConsumeStatsRequest stats;
    stats.set_consumergroup("G");
    const auto progress =
        f.json().call(RequestCode::kGetConsumeStats, &stats).body_as<wire::ConsumeStats>();
    REQUIRE(progress.offsettable_size() == 2);
    for (const auto& entry : progress.offsettable()) {
        const bool is_used = entry.key().queueid() == 1;
        CHECK(entry.value().brokeroffset() == (is_used ? 3 : 0));
        CHECK(entry.value().consumeroffset() == (is_used ? 1 : 0));
        CHECK((entry.value().lasttimestamp() > 0) == is_used);
    }
    wire::TopicRequest who;
    who.set_topic("T");
    const auto groups =
        f.json().call(RequestCode::kQueryTopicConsumeByWho, &who).body_as<wire::GroupNames>();
    REQUIRE(groups.grouplist_size() == 1);
    CHECK(groups.grouplist(0) == "G");

    const auto configs = f.json()
                             .call(RequestCode::kGetAllSubscriptionGroupConfig)
                             .body_as<wire::SubscriptionGroupTable>();
    CHECK(configs.subscriptiongrouptable().contains("G"));
    wire::DeleteSubscriptionGroupRequest remove;
    remove.set_groupname("G");
    REQUIRE(f.native().call(RequestCode::kDeleteSubscriptionGroup, &remove).summary() == "0");
    CHECK(f.native().call(RequestCode::kDeleteSubscriptionGroup, &remove).code ==
          ResponseCode::kSubscriptionGroupNotExist);
    CHECK(f.json().call(RequestCode::kDeleteSubscriptionGroup, &remove).summary() == "0");
    wire::SubscriptionGroupConfig bad;
    bad.set_groupname("G");
    bad.set_retryqueuenums(-1);
    CHECK(f.native()
              .call_with_body(RequestCode::kUpdateAndCreateSubscriptionGroup, nullptr, bad)
              .summary() == "29 retryQueueNums -1 is outside 0..1024");
}

TEST_CASE("a client's expression is checked when it asks") {
    BrokerFixture f;
    wire::CheckClientRequestBody body;
    body.set_clientid("c1");
    body.set_group("G");
    body.mutable_subscriptiondata()->set_substring("TagA || TagB");
    const auto ask = [&] {
        return f.json().call_with_body(RequestCode::kCheckClientConfig, nullptr, body).code;
    };
    CHECK(ask() == ResponseCode::kSuccess);
    body.mutable_subscriptiondata()->set_substring("||");
    CHECK(ask() == ResponseCode::kSubscriptionParseFailed);
    body.mutable_subscriptiondata()->set_expressiontype("SQL92");
    CHECK(ask() == ResponseCode::kSubscriptionParseFailed);
    body.mutable_subscriptiondata()->set_substring("a > 5");
    CHECK(ask() == ResponseCode::kSuccess);
    body.mutable_subscriptiondata()->set_expressiontype("XPATH");
    CHECK(ask() == ResponseCode::kSystemError);
}

TEST_CASE("one client at a time holds the lock of a queue") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    wire::LockBatchRequestBody body;
    body.set_clientid("c1");
    body.set_consumergroup("G");
    wire::MessageQueue& queue = *body.add_mqset();
    queue.set_topic("T");
    queue.set_brokername("broker-a");
    queue.set_queueid(3);
    const auto lock = [&](RpcClient& client) {
        return client.call_with_body(RequestCode::kLockBatchMq, nullptr, body)
            .body_as<wire::LockBatchResponseBody>()
            .lockokmqset_size();
    };
    CHECK(lock(f.json()) == 1);
    CHECK(lock(f.json()) == 1);
    body.set_clientid("c2");
    CHECK(lock(f.native()) == 0);
    body.set_clientid("c1");
    REQUIRE(f.json().call_with_body(RequestCode::kUnlockBatchMq, nullptr, body).summary() == "0");
    body.set_clientid("c2");
    CHECK(lock(f.native()) == 1);
    body.set_clientid("");
    CHECK(f.json().call_with_body(RequestCode::kLockBatchMq, nullptr, body).code ==
          ResponseCode::kSystemError);
}

TEST_SUITE_END();

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/delay_service.h"
#include "broker/delivery/retry_policy.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/properties.h"
#include "tests/broker/broker_fixture.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <chrono>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/retry");

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kHold{25'000};

void make_group(BrokerFixture& f, std::int32_t retry_max) {
    wire::SubscriptionGroupConfig config;
    config.set_groupname("G");
    config.set_retrymaxtimes(retry_max);
    REQUIRE(f.native()
                .call_with_body(RequestCode::kUpdateAndCreateSubscriptionGroup, nullptr, config)
                .summary() == "0");
}

Answer send_back(RpcClient& client, std::int64_t offset, std::int32_t level) {
    wire::ConsumerSendMsgBackRequest request;
    request.set_group("G");
    request.set_offset(offset);
    request.set_delaylevel(level);
    return client.call(RequestCode::kConsumerSendMsgBack, &request);
}

std::int64_t send_one(BrokerFixture& f, const std::string& body) {
    const Answer sent = send(f.native(), "T", 0, {{body, "TagA", "key"}});
    REQUIRE(sent.summary() == "0");
    return sent.fields<wire::SendRecordsResponse>().logoffset();
}

/// What a held pull of queue 0 of `topic` finds.
Answer wait_for(BrokerFixture& f, const std::string& topic, std::int64_t offset = 0) {
    const wire::PullMessageRequest request = held_pull_of(topic, 0, offset, kHold.count());
    return f.native().call(RequestCode::kPullMessage, &request);
}

wire::SendMessageRequest delayed_send(const std::string& level) {
    wire::SendMessageRequest request = stock_send("T", 1);
    request.set_properties(
        "TAGS\x01TagA\x02"
        "DELAY\x01" +
        level);
    return request;
}

}  // namespace

TEST_CASE("a message sent back comes again in the retry topic, with its past") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    make_group(f, 16);
    const std::int64_t offset = send_one(f, "again");
    REQUIRE(send_back(f.json(), offset, 1).summary() == "0");
    const Answer retried = wait_for(f, "%RETRY%G");
    REQUIRE(retried.summary() == "0 FOUND");
    const wire::Record record = first_record(retried.body);
    CHECK(as_text(record.body) == "again");
    CHECK(record.reconsume_times == 1);
    CHECK(wire::find_property(record.properties, "RETRY_TOPIC") == "T");
    CHECK(wire::find_property(record.properties, "TAGS") == "TagA");
    CHECK(wire::find_property(record.properties, "REAL_TOPIC").empty());
    const auto origin =
        wire::parse_message_id(wire::find_property(record.properties, "ORIGIN_MESSAGE_ID"));
    REQUIRE(origin);
    CHECK(origin->log_offset.value == offset);

    REQUIRE(send_back(f.native(), record.log_offset.value, 1).summary() == "0");
    const Answer twice = wait_for(f, "%RETRY%G", 1);
    const wire::Record second = first_record(twice.body);
    CHECK(second.reconsume_times == 2);
    CHECK(wire::find_property(second.properties, "RETRY_TOPIC") == "T");
    CHECK(wire::parse_message_id(wire::find_property(second.properties, "ORIGIN_MESSAGE_ID"))
              ->log_offset.value == offset);
}

TEST_CASE("a message delivered often enough, or given up, goes to the dead letters") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    make_group(f, 0);
    REQUIRE(send_back(f.native(), send_one(f, "too often"), 0).summary() == "0");
    const Answer first = wait_for(f, "%DLQ%G");
    CHECK(bodies(first.body) == std::vector<std::string>{"too often"});
    make_group(f, 16);
    REQUIRE(send_back(f.json(), send_one(f, "given up"), -1).summary() == "0");
    const Answer second = wait_for(f, "%DLQ%G", 1);
    CHECK(bodies(second.body) == std::vector<std::string>{"given up"});
    CHECK(wire::find_property(first_record(second.body).properties, "RETRY_TOPIC") == "T");
}

TEST_CASE("a group's table says when a message comes again, its maximum how often") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    // As mqadmin of RocketMQ 5 sends it.
    const std::string config = R"({"groupName":"G","retryMaxTimes":2,"groupRetryPolicy":)"
                               R"({"type":"CUSTOMIZED","customizedRetryPolicy":)"
                               R"({"next":[7200000,7200000,200,1000]}}})";
    REQUIRE(
        f.json().call(RequestCode::kUpdateAndCreateSubscriptionGroup, nullptr, config).summary() ==
        "0");
    f.restart();
    std::int64_t offset = send_one(f, "again");
    for (std::int32_t retry = 1; retry <= 2; ++retry) {
        // RocketMQ's table would make it wait for 10 s and more.
        const auto before = std::chrono::steady_clock::now();
        REQUIRE(send_back(f.json(), offset, 0).summary() == "0");
        const Answer retried = wait_for(f, "%RETRY%G", retry - 1);
        REQUIRE(retried.summary() == "0 FOUND");
        CHECK(std::chrono::steady_clock::now() - before < milliseconds(9'000));
        const wire::Record record = first_record(retried.body);
        CHECK(record.reconsume_times == retry);
        offset = record.log_offset.value;
    }
    REQUIRE(send_back(f.json(), offset, 0).summary() == "0");
    CHECK(bodies(wait_for(f, "%DLQ%G").body) == std::vector<std::string>{"again"});
    const Answer listed = f.json().call(RequestCode::kGetAllSubscriptionGroupConfig);
    CHECK(listed.body.find(R"("next":[7200000,7200000,200,1000])") != std::string::npos);
}

TEST_CASE("a policy gives RocketMQ's delays, rounded up to a level") {
    wire::GroupRetryPolicy policy;
    CHECK(retry_level(policy, -1) == 3);
    CHECK(retry_level(policy, 0) == 3);
    CHECK(retry_level(policy, 14) == 17);
    CHECK(retry_level(policy, 15) == 18);
    CHECK(retry_level(policy, INT32_MAX) == 18);
    policy.set_type("CUSTOMIZED");
    CHECK(retry_level(policy, 0) == 3);
    auto& table = *policy.mutable_customizedretrypolicy();
    for (const std::int64_t ms : {0, 0, 0, 1'001, 30'000, 8'000'000}) {
        table.add_next(ms);
    }
    CHECK(retry_level(policy, 0) == 1);
    CHECK(retry_level(policy, 1) == 2);
    CHECK(retry_level(policy, 2) == 4);
    CHECK(retry_level(policy, 3) == 18);
    CHECK(retry_level(policy, 99) == 18);
    table.mutable_next()->Truncate(1);
    CHECK(retry_level(policy, 0) == 1);
    policy.set_type("EXPONENTIAL");
    CHECK(retry_level(policy, 0) == 3);  // without values: RocketMQ's table
    auto& values = *policy.mutable_exponentialretrypolicy();
    CHECK(retry_level(policy, 0) == 2);  // 5 s
    CHECK(retry_level(policy, 1) == 3);  // 10 s
    CHECK(retry_level(policy, 2) == 4);  // 20 s
    CHECK(retry_level(policy, 1'000) == 18);
    values.set_initial(1'000);
    values.set_multiplier(1);
    CHECK(retry_level(policy, 1'000'000) == 1);
    values.set_multiplier(1'000);
    values.set_max(600'000);
    CHECK(retry_level(policy, 1) == 14);  // 10 min
}

TEST_CASE("a policy outside its limits is refused, by field") {
    BrokerFixture f;
    const auto put = [&f](const std::string& policy) {
        const std::string config = R"({"groupName":"G","groupRetryPolicy":)" + policy + '}';
        return f.json()
            .call(RequestCode::kUpdateAndCreateSubscriptionGroup, nullptr, config)
            .summary();
    };
    CHECK(put(R"({"type":"CUSTOMIZED"})") == "0");
    CHECK(put(R"({"type":"LINEAR"})") ==
          "1 groupRetryPolicy.type \"LINEAR\" is none of CUSTOMIZED, EXPONENTIAL");
    CHECK(put(R"({"customizedRetryPolicy":{"next":[1,-1]}})") ==
          "1 groupRetryPolicy.customizedRetryPolicy.next[1] -1 is outside 0..31536000000");
    CHECK(put(R"({"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":0}})") ==
          "1 groupRetryPolicy.exponentialRetryPolicy.initial 0 is outside 1..31536000000");
    CHECK(put(R"({"type":"EXPONENTIAL","exponentialRetryPolicy":{"multiplier":1001}})") ==
          "1 groupRetryPolicy.exponentialRetryPolicy.multiplier 1001 is outside 1..1000");
    CHECK(put(R"({"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":10000,"max":10000000,)"
              R"("multiplier":3}})") == "0");
}

TEST_CASE("what cannot be sent back is refused") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    CHECK(send_back(f.json(), 0, 0).summary() == "26 subscription group not exist, G");
    make_group(f, 16);
    CHECK(send_back(f.json(), 1, 0).summary() == "1 look message by offset failed, 1");
    CHECK(send_back(f.native(), 1LL << 60, 0).code == ResponseCode::kQueryNotFound);
    CHECK(send_back(f.native(), -5, 0).code == ResponseCode::kQueryNotFound);
}

TEST_CASE("a delayed message comes when it is due, not before, to its real queue") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const wire::SendMessageRequest request = delayed_send("1");
    const auto before = std::chrono::steady_clock::now();
    const Answer sent = f.json().call(RequestCode::kSendMessageV2, &request, "later");
    REQUIRE(sent.summary() == "0");
    CHECK(sent.fields<wire::SendMessageResponse>().queueid() == 1);
    const wire::PullMessageRequest pull = held_pull_of("T", 1, 0, kHold.count());
    const Answer found = f.native().call(RequestCode::kPullMessage, &pull);
    REQUIRE(found.summary() == "0 FOUND");
    const auto took = std::chrono::steady_clock::now() - before;
    CHECK(took >= milliseconds(900));
    const wire::Record record = first_record(found.body);
    CHECK(as_text(record.body) == "later");
    CHECK(wire::find_property(record.properties, "DELAY").empty());
    CHECK(wire::find_property(record.properties, "REAL_TOPIC").empty());
    CHECK(wire::find_property(record.properties, "TAGS") == "TagA");
}

TEST_CASE("delayed messages survive a restart and come once") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const wire::SendMessageRequest request = delayed_send("1");
    for (int i = 0; i < 600; ++i) {
        REQUIRE(
            f.json().call(RequestCode::kSendMessage, &request, "m" + std::to_string(i)).summary() ==
            "0");
    }
    f.restart();
    storage::Topic* const topic = f.broker().store().find_topic("T");
    REQUIRE(topic != nullptr);
    CHECK(harness::wait_until(milliseconds(10'000),
                              [&] { return topic->queue(1)->max().value == 600; }));
    f.restart();
    wire::PullMessageRequest pull = pull_of("T", 1, 0);
    pull.set_maxmsgnums(1'000);
    std::vector<std::string> found;
    for (std::int64_t at = 0; at < 600;) {
        pull.set_queueoffset(at);
        const Answer answer = f.native().call(RequestCode::kPullMessage, &pull);
        REQUIRE(answer.summary() == "0 FOUND");
        at = answer.fields<wire::PullMessageResponse>().nextbeginoffset();
        const auto more = bodies(answer.body);
        found.insert(found.end(), more.begin(), more.end());
    }
    REQUIRE(found.size() == 600);
    for (std::size_t i = 0; i < found.size(); ++i) {
        CHECK(found[i] == "m" + std::to_string(i));
    }
    CHECK(f.broker().store().find_topic("T")->queue(1)->max().value == 600);
}

TEST_CASE("a due message whose topic is gone is dropped and counted, later ones still come") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(f.create_topic("GONE") == ResponseCode::kSuccess);
    wire::SendMessageRequest lost = delayed_send("1");
    lost.set_topic("GONE");
    REQUIRE(f.json().call(RequestCode::kSendMessage, &lost, "x").summary() == "0");
    const wire::SendMessageRequest request = delayed_send("1");
    REQUIRE(f.json().call(RequestCode::kSendMessage, &request, "y").summary() == "0");
    wire::TopicRequest gone;
    gone.set_topic("GONE");
    REQUIRE(f.native().call(RequestCode::kDeleteTopicInBroker, &gone).summary() == "0");
    const wire::PullMessageRequest pull = held_pull_of("T", 1, 0, kHold.count());
    CHECK(bodies(f.native().call(RequestCode::kPullMessage, &pull).body) ==
          std::vector<std::string>{"y"});
    CHECK(f.broker().metrics().values()["gantry_broker_delayed_dropped_total"] == 1);
}

TEST_CASE("a stock client's own retry beyond the limit becomes a dead letter") {
    BrokerFixture f;
    make_group(f, 3);
    wire::SendMessageRequest request = stock_send("%RETRY%G", 0);
    request.set_reconsumetimes(3);
    REQUIRE(f.json().call(RequestCode::kSendMessage, &request, "retry").summary() == "0");
    request.set_reconsumetimes(4);
    REQUIRE(f.json().call(RequestCode::kSendMessage, &request, "dead").summary() == "0");
    CHECK(bodies(wait_for(f, "%RETRY%G").body) == std::vector<std::string>{"retry"});
    CHECK(bodies(wait_for(f, "%DLQ%G").body) == std::vector<std::string>{"dead"});
}

TEST_CASE("delay levels are RocketMQ's, larger ones mean the last") {
    CHECK(DelayService::level_of("") == 0);
    CHECK(DelayService::level_of("DELAY\x01") == 0);
    CHECK(DelayService::level_of("DELAY\x01-3") == 0);
    CHECK(DelayService::level_of("DELAY\x01junk") == 0);
    CHECK(DelayService::level_of("A\x01"
                                 "1\x02"
                                 "DELAY\x01"
                                 "4\x02") == 4);
    CHECK(DelayService::level_of("DELAY\x01"
                                 "99") == 18);
    CHECK(DelayService::level_ms(1) == 1'000);
    CHECK(DelayService::level_ms(18) == 7'200'000);
}

TEST_SUITE_END();

}  // namespace gantry::broker

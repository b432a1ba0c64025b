// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/names.h"
#include "tests/broker/broker_fixture.h"

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/topic");

namespace {

wire::CreateTopicRequest topic_of(const std::string& topic, std::int32_t queues) {
    wire::CreateTopicRequest request;
    request.set_topic(topic);
    request.set_readqueuenums(queues);
    request.set_writequeuenums(queues);
    request.set_perm(6);
    return request;
}

Answer put(RpcClient& client, const wire::CreateTopicRequest& request) {
    return client.call(RequestCode::kUpdateAndCreateTopic, &request);
}

Answer ask(RpcClient& client, RequestCode code, const std::string& topic) {
    wire::TopicRequest request;
    request.set_topic(topic);
    return client.call(code, &request);
}

}  // namespace

TEST_CASE("attributes are set and taken away one by one, and survive changes and a restart") {
    BrokerFixture f;
    wire::CreateTopicRequest request = topic_of("T", 2);
    request.set_attributes("+retention.ms=5000,+message.type=NORMAL");
    REQUIRE(put(f.json(), request).summary() == "0");
    request.set_attributes("");
    REQUIRE(put(f.native(), request).summary() == "0");
    request.set_attributes("-retention.ms,+retention.bytes=9,+retention.until_consumed=true");
    REQUIRE(put(f.binary(), request).summary() == "0");
    f.restart();
    const auto listed = f.json().call(RequestCode::kGetAllTopicConfig);
    const auto config = listed.body_as<wire::TopicConfigTable>().topicconfigtable().at("T");
    const std::map<std::string, std::string> found(config.attributes().begin(),
                                                   config.attributes().end());
    CHECK(found == std::map<std::string, std::string>{{"message.type", "NORMAL"},
                                                      {"retention.bytes", "9"},
                                                      {"retention.until_consumed", "true"}});
}

TEST_CASE("an attribute that is none changes nothing, and is named") {
    BrokerFixture f;
    wire::CreateTopicRequest request = topic_of("T", 2);
    for (const std::string wrong : {"retention.ms=1",
                                    "+retention.ms",
                                    "-retention.ms=1",
                                    "+retention.ms=-1",
                                    "+retention.days=3",
                                    "+retention.until_consumed=perhaps"}) {
        CAPTURE(wrong);
        request.set_attributes("+retention.bytes=9," + wrong);
        const Answer answer = put(f.json(), request);
        CHECK(answer.code == ResponseCode::kSystemError);
        CHECK(answer.remark.find(wrong.substr(1, 9)) != std::string::npos);
        CHECK_FALSE(put(f.native(), request).code == ResponseCode::kSuccess);
        CHECK(f.broker().store().find_topic("T") == nullptr);
    }
}

TEST_CASE("topics are created, changed, listed, deleted, and survive a restart") {
    BrokerFixture f;
    wire::CreateTopicRequest request = topic_of("T", 2);
    request.set_topicfiltertype("SINGLE_TAG");
    request.set_defaulttopic("TBW102");
    REQUIRE(put(f.json(), request).summary() == "0");
    request.set_readqueuenums(8);
    request.set_perm(4);
    REQUIRE(put(f.native(), request).summary() == "0");
    f.restart();
    const Answer listed = f.json().call(RequestCode::kGetAllTopicConfig);
    REQUIRE(listed.summary() == "0");
    const auto table = listed.body_as<wire::TopicConfigTable>();
    REQUIRE(table.topicconfigtable().contains("T"));
    const wire::TopicConfig& config = table.topicconfigtable().at("T");
    CHECK(config.readqueuenums() == 8);
    CHECK(config.writequeuenums() == 2);
    CHECK(config.perm() == 4);
    CHECK(table.dataversion().counter() > 0);
    for (const auto& [name, any] : table.topicconfigtable()) {
        CHECK_FALSE(wire::is_internal_topic(name));
    }
    REQUIRE(ask(f.json(), RequestCode::kDeleteTopicInBroker, "T").summary() == "0");
    CHECK(f.broker().store().find_topic("T") == nullptr);
    f.restart();
    CHECK(f.broker().store().find_topic("T") == nullptr);
}

TEST_CASE("creation and update can insist on what is there") {
    BrokerFixture f;
    wire::CreateTopicRequest request = topic_of("T", 2);
    request.set_updateonly(true);
    CHECK(put(f.native(), request).code == ResponseCode::kTopicNotExist);
    request.set_updateonly(false);
    request.set_createonly(true);
    CHECK(put(f.native(), request).summary() == "0");
    CHECK(put(f.native(), request).summary() == "10003 topic[T] exists");
}

TEST_CASE("illegal topics are refused by name, value and limit") {
    BrokerFixture f;
    const auto refused = [&](const wire::CreateTopicRequest& request) {
        CHECK(put(f.json(), request).code == ResponseCode::kSystemError);
        const Answer answer = put(f.native(), request);
        CHECK(answer.code == ResponseCode::kInvalidParameter);
        return answer.remark;
    };
    CHECK(refused(topic_of("a b", 1)).find("a b") != std::string::npos);
    CHECK(refused(topic_of(std::string(128, 'a'), 1)).find("127") != std::string::npos);
    CHECK(refused(topic_of("SCHEDULE_TOPIC_XXXX", 1)) ==
          "The topic[SCHEDULE_TOPIC_XXXX] is conflict with system topic.");
    CHECK(refused(topic_of("GANTRY_SYS_X", 1)).find("GANTRY_SYS_X") != std::string::npos);
    CHECK(refused(topic_of("T", 65'537)) == "readQueueNums 65537 is outside 0..65536");
    CHECK(refused(topic_of("T", -1)) == "readQueueNums -1 is outside 0..65536");
    CHECK(refused(topic_of("T", 0)) == "readQueueNums and writeQueueNums are both 0");
    wire::CreateTopicRequest perm = topic_of("T", 1);
    perm.set_perm(8);
    CHECK(refused(perm) == "perm 8 is outside 0..7");
    CHECK(f.broker().store().find_topic("T") == nullptr);
}

TEST_CASE("deleting what is not there is an error for our clients only") {
    BrokerFixture f;
    CHECK(ask(f.native(), RequestCode::kDeleteTopicInBroker, "NOPE").code ==
          ResponseCode::kTopicNotExist);
    CHECK(ask(f.json(), RequestCode::kDeleteTopicInBroker, "NOPE").summary() == "0");
    CHECK(ask(f.json(), RequestCode::kDeleteTopicInBroker, "SCHEDULE_TOPIC_XXXX").code ==
          ResponseCode::kSystemError);
}

TEST_CASE("a topic that takes no more writes is refused to a producer that knew it") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T", 1) == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 0, {{"x"}}).summary() == "0");
    REQUIRE(f.create_topic("T", 1, 4) == ResponseCode::kSuccess);
    CHECK(send(f.native(), "T", 0, {{"x"}}).code == ResponseCode::kNoPermission);
    REQUIRE(ask(f.native(), RequestCode::kDeleteTopicInBroker, "T").summary() == "0");
    CHECK(send(f.native(), "T", 0, {{"x"}}).code == ResponseCode::kTopicNotExist);
    REQUIRE(f.create_topic("T", 1) == ResponseCode::kSuccess);
    const Answer sent = send(f.native(), "T", 0, {{"x"}});
    CHECK(sent.fields<wire::SendRecordsResponse>().queueoffset() == 0);
}

TEST_CASE("statistics name every queue") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T", 2) == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 1, {{"x"}, {"y"}}).summary() == "0");
    for (RpcClient* const client : {&f.json(), &f.native()}) {
        const Answer answer = ask(*client, RequestCode::kGetTopicStatsInfo, "T");
        REQUIRE(answer.summary() == "0");
        const auto table = answer.body_as<wire::TopicStatsTable>();
        REQUIRE(table.offsettable_size() == 2);
        for (const auto& entry : table.offsettable()) {
            CHECK(entry.key().topic() == "T");
            CHECK(entry.key().brokername() == "broker-a");
            CHECK(entry.value().maxoffset() == (entry.key().queueid() == 1 ? 2 : 0));
            CHECK((entry.value().lastupdatetimestamp() > 0) == (entry.key().queueid() == 1));
        }
    }
    CHECK(ask(f.json(), RequestCode::kGetTopicStatsInfo, "NOPE").code ==
          ResponseCode::kTopicNotExist);
}

TEST_CASE("system topics are listed apart") {
    BrokerFixture f;
    const Answer answer = f.json().call(RequestCode::kGetSystemTopicListFromBroker);
    REQUIRE(answer.summary() == "0");
    const auto list = answer.body_as<wire::TopicList>();
    CHECK(list.brokeraddr() == f.address());
    const std::set<std::string> topics(list.topiclist().begin(), list.topiclist().end());
    CHECK(topics == std::set<std::string>{
                        "RMQ_SYS_TRANS_HALF_TOPIC", "SCHEDULE_TOPIC_XXXX", "rmq_sys_wheel_timer"});
}

TEST_SUITE_END();

}  // namespace gantry::broker

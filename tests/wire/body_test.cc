// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/group.pb.h"
#include "protocol/wire/header.h"
#include "protocol/wire/nameserver.pb.h"
#include "protocol/wire/topic.pb.h"

#include <doctest/doctest.h>

namespace gantry::wire {
namespace {

std::string json(const google::protobuf::Message& body, bool standard = false) {
    std::string out;
    append_body(out, Codec::kJson, body, standard);
    return out;
}

Status read(std::string_view text, google::protobuf::Message& body) {
    return decode_body(Codec::kJson, as_bytes(text), body);
}

std::string error_of(std::string_view text, google::protobuf::Message& body) {
    const Status status = read(text, body);
    REQUIRE_FALSE(status);
    CHECK(status.error().code == Errc::kCorrupt);
    return status.error().detail;
}

// Reads `text`, and expects to write it again byte for byte.
template <class Body>
Body round_trip(std::string_view text, bool standard = false) {
    Body body;
    const Status status = read(text, body);
    REQUIRE_MESSAGE(status.has_value(), (status ? "" : status.error().detail));
    CHECK(json(body, standard) == text);
    Body native;
    std::string bytes;
    append_body(bytes, Codec::kNative, body);
    REQUIRE(decode_body(Codec::kNative, as_bytes(bytes), native));
    CHECK(json(native, standard) == text);
    return body;
}

constexpr std::string_view kHeartbeat =
    R"({"clientID":"127.0.0.1@25838#1058815430249","consumerDataSet":[{"consumeFromWhere":)"
    R"("CONSUME_FROM_FIRST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"CG",)"
    R"("messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[],)"
    R"("expressionType":"TAG","subString":"*","subVersion":1795217708399,"tagsSet":[],)"
    R"("topic":"%RETRY%CG"},{"classFilterMode":false,"codeSet":[2598919,2598921],)"
    R"("expressionType":"TAG","subString":"TagA || TagC","subVersion":1795217708374,)"
    R"("tagsSet":["TagA","TagC"],"topic":"TopicA"}],"unitMode":false}],)"
    R"("producerDataSet":[{"groupName":"CLIENT_INNER_PRODUCER"}]})";

}  // namespace

TEST_SUITE("wire/body") {
    TEST_CASE("the captured heartbeat goes there and back") {
        const auto body = round_trip<HeartbeatData>(kHeartbeat);
        REQUIRE(body.consumerdataset_size() == 1);
        const ConsumerData& consumer = body.consumerdataset(0);
        CHECK(consumer.consumetype() == "CONSUME_PASSIVELY");
        REQUIRE(consumer.subscriptiondataset_size() == 2);
        CHECK(consumer.subscriptiondataset(1).codeset(1) == 2598921);
        CHECK(consumer.subscriptiondataset(1).subversion() == 1795217708374);
        CHECK(body.producerdataset(0).groupname() == "CLIENT_INNER_PRODUCER");
    }

    TEST_CASE("routes have bare broker ids, or quoted ones in standard JSON") {
        constexpr std::string_view kStandard =
            R"({"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:10911"},"brokerName":"broker-a",)"
            R"("cluster":"DefaultCluster"}],"filterServerTable":{},"queueDatas":[{"brokerName":)"
            R"("broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]})";
        std::string bare(kStandard);
        bare.replace(bare.find("\"0\""), 3, "0");
        const auto route = round_trip<TopicRouteData>(kStandard, true);
        CHECK(route.brokerdatas(0).brokeraddrs().at(0) == "127.0.0.1:10911");
        round_trip<TopicRouteData>(bare);
    }

    TEST_CASE("cluster tables show lists of names as arrays") {
        const auto info = round_trip<ClusterInfo>(
            R"({"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"127.0.0.1:10911",10:"h:2"},)"
            R"("brokerName":"broker-a","cluster":"DefaultCluster"}},)"
            R"("clusterAddrTable":{"DefaultCluster":["broker-a"]}})");
        CHECK(info.clusteraddrtable().at("DefaultCluster").values(0) == "broker-a");
        CHECK(info.brokeraddrtable().at("broker-a").brokeraddrs().at(10) == "h:2");
    }

    TEST_CASE("statistics have objects as keys") {
        constexpr std::string_view kBare =
            R"({"offsetTable":{{"brokerName":"broker-a","queueId":3,"topic":"TopicA"}:)"
            R"({"lastUpdateTimestamp":1795217696505,"maxOffset":3,"minOffset":0}}})";
        const auto stats = round_trip<TopicStatsTable>(kBare);
        REQUIRE(stats.offsettable_size() == 1);
        CHECK(stats.offsettable(0).key().queueid() == 3);
        CHECK(stats.offsettable(0).value().maxoffset() == 3);
        round_trip<TopicStatsTable>(
            R"({"offsetTable":{"{\"brokerName\":\"broker-a\",\"queueId\":3,\"topic\":\"TopicA\"}":)"
            R"({"lastUpdateTimestamp":1795217696505,"maxOffset":3,"minOffset":0}}})",
            true);
        round_trip<ConsumeStats>(
            R"({"consumeTps":0.5,"offsetTable":{{"brokerName":"broker-a","queueId":2,)"
            R"("topic":"TopicA"}:{"brokerOffset":10,"consumerOffset":8,)"
            R"("lastTimestamp":1700000000000}}})");
    }

    TEST_CASE("tables, lists and texts with escapes go there and back") {
        round_trip<TopicList>(R"({"topicList":["TopicA"]})");
        round_trip<TopicList>(R"({"brokerAddr":"1.2.3.4:5","topicList":[]})");
        round_trip<KvTable>(
            "{\"table\":{\"a\":\"\\\"\\\\\\b\\t\\n\\f\\r\\u0001\\u001F/\x7f\xc3\xa9\","
            "\"b\":\"\"}}");
        round_trip<KvTable>(R"({"table":{}})");
        round_trip<TopicConfigTable>(
            R"({"dataVersion":{"counter":3,"timestamp":1700000000000},"topicConfigTable":{)"
            R"("TopicA":{"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG",)"
            R"("topicName":"TopicA","topicSysFlag":0,"writeQueueNums":4}}})");
        round_trip<TopicConfig>(R"({"attributes":{"retention.ms":"5","x":""},"topicName":"t"})");
        round_trip<GroupList>(R"({"groups":[{"group":"g","lag":0,"members":0,"topics":[]}]})");
    }

    TEST_CASE("the C++ client's heartbeat has enum numbers and text for numbers") {
        HeartbeatData body;
        REQUIRE(
            read("{\"clientID\":\"c\",\"consumerDataSet\":[{\"consumeFromWhere\":4,"
                 "\"consumeType\":1,\"messageModel\":\"1\",\"groupName\":\"g\","
                 "\"subscriptionDataSet\":[{\"subVersion\":\"1795217708374\","
                 "\"classFilterMode\":\"false\",\"codeSet\":[\"7\",8],\"topic\":5}]}],"
                 "\"unknown\":{\"a\":[{\"b\":[1,2,{}]}]},\"producerDataSet\":null}\n",
                 body));
        const ConsumerData& consumer = body.consumerdataset(0);
        CHECK(consumer.consumefromwhere() == "CONSUME_FROM_FIRST_OFFSET");
        CHECK(consumer.consumetype() == "CONSUME_PASSIVELY");
        CHECK(consumer.messagemodel() == "CLUSTERING");
        CHECK(consumer.subscriptiondataset(0).subversion() == 1795217708374);
        CHECK(consumer.subscriptiondataset(0).has_classfiltermode());
        CHECK_FALSE(consumer.subscriptiondataset(0).classfiltermode());
        CHECK(consumer.subscriptiondataset(0).codeset(0) == 7);
        CHECK(consumer.subscriptiondataset(0).topic() == "5");
    }

    TEST_CASE("fastjson's liberties are taken") {
        TopicRouteData route;
        REQUIRE(
            read(" { brokerDatas : [ { 'brokerAddrs' : { 0 : 'it\\'s \"x\"' , \"1\":\"b\" } ,\n"
                 "\t\"cluster\":null } ] } \n",
                 route));
        CHECK(route.brokerdatas(0).brokeraddrs().at(0) == "it's \"x\"");
        CHECK(route.brokerdatas(0).brokeraddrs().at(1) == "b");
        CHECK_FALSE(route.brokerdatas(0).has_cluster());
        DataVersion version;
        REQUIRE(read(R"({"counter":3.0,"timestamp":"","stateVersion":1e3})", version));
        CHECK(version.counter() == 3);
        CHECK_FALSE(version.has_timestamp());
        CHECK(version.stateversion() == 1000);
        TopicConfig topic;
        REQUIRE(read(R"({"order":1,"topicName":12.50})", topic));
        CHECK(topic.order());
        CHECK(topic.topicname() == "12.50");
    }

    TEST_CASE("bodies that do not fit are corrupt and name the field") {
        HeartbeatData heartbeat;
        CHECK(error_of(R"({"clientID":{}})", heartbeat).find("field clientID") !=
              std::string::npos);
        CHECK(error_of(R"({"consumerDataSet":{}})", heartbeat).find("field consumerDataSet") !=
              std::string::npos);
        CHECK(error_of(R"({"consumerDataSet":7})", heartbeat).find("field consumerDataSet") !=
              std::string::npos);
        CHECK(error_of(R"({"consumerDataSet":[[]]})", heartbeat).find("field consumerDataSet") !=
              std::string::npos);
        CHECK(error_of(R"({"consumerDataSet":[{"consumeType":9}]})", heartbeat)
                  .find("field consumeType: \"9\"") != std::string::npos);
        CHECK(error_of(R"({"heartbeatFingerprint":4294967296})", heartbeat)
                  .find("\"4294967296\" is no int32") != std::string::npos);
        CHECK(error_of(R"({"withoutSub":"maybe"})", heartbeat).find("field withoutSub") !=
              std::string::npos);
        TopicRouteData route;
        error_of(R"({"brokerDatas":[{"brokerAddrs":{"x":"a"}}]})", route);
        error_of(R"({"filterServerTable":{"x":"a"}})", route);
        TopicStatsTable stats;
        error_of(R"({"offsetTable":{"x":{}}})", stats);
        error_of(R"({"offsetTable":{{{"a":1}:2}:{}}})", stats);
        error_of(R"({"offsetTable":{{"queueId":"x"}:{}}})", stats);
        for (const std::string_view text : {"",
                                            " ",
                                            "null",
                                            "[]",
                                            "7",
                                            "\"x\"",
                                            "{",
                                            "{}}",
                                            "{}x",
                                            "{,}",
                                            "{a}",
                                            "{\"a\":}",
                                            "{'a",
                                            "}",
                                            "{\"table\":{\"a\":\"\xff\"}}",
                                            "{:1}",
                                            "{\"a\":1e999}"}) {
            CAPTURE(text);
            KvTable table;
            error_of(text, table);
        }
    }

    TEST_CASE("nesting is limited") {
        KvTable table;
        const auto nested = [](std::size_t depth) {
            return "{\"x\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
        };
        CHECK(read(nested(32), table));
        CHECK(error_of(nested(33), table).find("deeper than 32") != std::string::npos);
        CHECK_FALSE(read(std::string(100'000, '['), table));
        CHECK_FALSE(read(std::string(100'000, '{'), table));
    }

    TEST_CASE("native bodies that do not parse are corrupt") {
        KvTable table;
        const Status status = decode_body(Codec::kNative, as_bytes("\xff"), table);
        REQUIRE_FALSE(status);
        CHECK(status.error().code == Errc::kCorrupt);
    }
}

}  // namespace gantry::wire

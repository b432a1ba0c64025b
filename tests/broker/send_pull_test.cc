// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/batch.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/properties.h"
#include "tests/broker/broker_fixture.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/send_pull");

namespace {

Answer pull(RpcClient& client, const wire::PullMessageRequest& request) {
    return client.call(RequestCode::kPullMessage, &request);
}

}  // namespace

TEST_CASE("records sent natively come back whole, in order, with their offsets") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const Answer first = send(f.native(), "T", 1, {{"a"}, {"b"}});
    REQUIRE(first.summary() == "0");
    CHECK(first.fields<wire::SendRecordsResponse>().queueoffset() == 0);
    const Answer second = send(f.native(), "T", 1, {{"c"}});
    REQUIRE(second.summary() == "0");
    const auto stored = second.fields<wire::SendRecordsResponse>();
    CHECK(stored.queueoffset() == 2);

    const Answer pulled = pull(f.native(), pull_of("T", 1, 0));
    REQUIRE(pulled.code == ResponseCode::kSuccess);
    CHECK(pulled.remark == "FOUND");
    CHECK(bodies(pulled.body) == std::vector<std::string>{"a", "b", "c"});
    const auto found = pulled.fields<wire::PullMessageResponse>();
    CHECK(found.nextbeginoffset() == 3);
    CHECK(found.minoffset() == 0);
    CHECK(found.maxoffset() == 3);
    CHECK(found.suggestwhichbrokerid() == 0);

    const Answer tail = pull(f.native(), pull_of("T", 1, 2));
    const wire::Record record = first_record(tail.body);
    CHECK(record.log_offset.value == stored.logoffset());
    CHECK(record.store_ms == stored.storetimestamp());
    CHECK(to_string(record.store_host) == f.address());
}

TEST_CASE("stock clients send and pull in both their codecs") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    for (RpcClient* const client : {&f.json(), &f.binary()}) {
        wire::SendMessageRequest request = stock_send("T", 2);
        std::string properties;
        REQUIRE(wire::append_property(properties, "TAGS", "TagA"));
        REQUIRE(wire::append_property(properties, "KEYS", "k1 k2"));
        request.set_properties(properties);
        const Answer sent = client->call(RequestCode::kSendMessage, &request, "hello");
        REQUIRE(sent.summary() == "0");
        const auto response = sent.fields<wire::SendMessageResponse>();
        CHECK(response.queueid() == 2);
        CHECK(response.msg_region() == "DefaultRegion");
        CHECK(response.trace_on() == "false");
        const auto location = wire::parse_message_id(response.msgid());
        REQUIRE(location);
        CHECK(to_string(location->store_host) == f.address());

        wire::PullMessageRequest wanted = pull_of("T", 2, response.queueoffset());
        const Answer pulled = pull(*client, wanted);
        REQUIRE(pulled.summary() == "0 FOUND");
        const wire::Record record = first_record(pulled.body);
        CHECK(as_text(record.body) == "hello");
        CHECK(record.flag == 7);
        CHECK(record.log_offset == location->log_offset);
        CHECK(wire::find_property(record.properties, "TAGS") == "TagA");
        CHECK(wire::find_property(record.properties, "KEYS") == "k1 k2");
        CHECK(wire::find_property(record.properties, "CLUSTER") == "DefaultCluster");
        CHECK(wire::body_crc_matches(record));
    }
}

TEST_CASE("a stock batch becomes records with offsets of their own") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    std::string batch;
    for (const char* const body : {"one", "two", "three"}) {
        wire::append_batch_element(batch, {3, as_bytes(std::string_view(body)), "KEYS\x01k"});
    }
    wire::SendMessageRequest request = stock_send("T", 0);
    request.set_batch(true);
    const Answer sent = f.json().call(RequestCode::kSendBatchMessage, &request, batch);
    REQUIRE(sent.summary() == "0");
    const auto response = sent.fields<wire::SendMessageResponse>();
    CHECK(response.queueoffset() == 0);
    CHECK(std::count(response.msgid().begin(), response.msgid().end(), ',') == 2);
    const Answer pulled = pull(f.json(), pull_of("T", 0, 0));
    CHECK(bodies(pulled.body) == std::vector<std::string>{"one", "two", "three"});
    const Answer third = pull(f.json(), pull_of("T", 0, 2));
    const auto id = wire::parse_message_id(response.msgid().substr(66));
    REQUIRE(id);
    CHECK(first_record(third.body).log_offset == id->log_offset);
}

TEST_CASE("a negative queue id lets the broker pick one") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T", 3) == ResponseCode::kSuccess);
    const wire::SendMessageRequest request = stock_send("T", -1);
    const Answer sent = f.json().call(RequestCode::kSendMessage, &request, "x");
    REQUIRE(sent.summary() == "0");
    const auto response = sent.fields<wire::SendMessageResponse>();
    CHECK(response.queueid() >= 0);
    CHECK(response.queueid() < 3);
}

TEST_CASE("sends that break a rule are refused with a reason and change nothing") {
    BrokerFixture f([](BrokerOptions& o) { o.message_bytes_max = 1'000; });
    REQUIRE(f.create_topic("T", 2) == ResponseCode::kSuccess);
    REQUIRE(f.create_topic("READ", 2, 4) == ResponseCode::kSuccess);

    CHECK(send(f.native(), "NOPE", 0, {{"x"}}).code == ResponseCode::kTopicNotExist);
    CHECK(send(f.native(), "T", 2, {{"x"}}).summary() ==
          "29 request queueId[2] is illegal, topic[T] has 2 write and 2 read queues");
    CHECK(send(f.native(), "T", -1, {{"x"}}).code == ResponseCode::kInvalidParameter);
    CHECK(send(f.native(), "READ", 0, {{"x"}}).code == ResponseCode::kNoPermission);
    CHECK(send(f.native(), "SCHEDULE_TOPIC_XXXX", 0, {{"x"}}).code == ResponseCode::kNoPermission);
    CHECK(send(f.native(), "GANTRY_SYS_STATE", 0, {{"x"}}).code == ResponseCode::kNoPermission);
    CHECK(send(f.native(), "bad name", 0, {{"x"}}).code == ResponseCode::kInvalidParameter);
    CHECK(send(f.native(), "T", 0, {{std::string(1'001, 'x')}}).summary() ==
          "29 body 1001 B > limits.message_bytes_max 1000 B");
    CHECK(send(f.native(), "T", 0, {{std::string(900, 'x')}, {std::string(900, 'y')}}).code ==
          ResponseCode::kSuccess);

    const auto stock = [&](const wire::SendMessageRequest& request, std::string body) {
        return f.json().call(RequestCode::kSendMessageV2, &request, std::move(body));
    };
    CHECK(stock(stock_send("NOPE", 0), "x").summary() ==
          "17 topic[NOPE] not exist, apply first please!");
    CHECK(stock(stock_send("T", 2), "x").code == ResponseCode::kSystemError);
    CHECK(stock(stock_send("READ", 0), "x").code == ResponseCode::kNoPermission);
    CHECK(stock(stock_send("SCHEDULE_TOPIC_XXXX", 0), "x").summary() ==
          "16 Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden.");
    CHECK(stock(stock_send("bad name", 0), "x").code == ResponseCode::kSystemError);
    CHECK(stock(stock_send("T", 0), std::string(1'001, 'x')).code == ResponseCode::kMessageIllegal);
    wire::SendMessageRequest wide = stock_send("T", 0);
    wide.set_properties("a\x01" + std::string(32'766, 'v'));
    CHECK(stock(wide, "x").code == ResponseCode::kMessageIllegal);
    wire::SendMessageRequest batch = stock_send("T", 0);
    batch.set_batch(true);
    CHECK(stock(batch, "no batch").code == ResponseCode::kMessageIllegal);
    CHECK(stock(batch, "").code == ResponseCode::kMessageIllegal);

    const Answer pulled = pull(f.native(), pull_of("T", 0, 0));
    CHECK(bodies(pulled.body).size() == 2);
}

TEST_CASE("records that do not parse are refused whole") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    wire::SendRecordsRequest request;
    request.set_topic("T");
    request.set_queueid(0);
    request.set_count(2);
    const std::string good = records("T", 0, {{"a"}, {"b"}});
    const auto code = [&](std::string body) {
        return f.native().call(RequestCode::kSendRecords, &request, std::move(body)).code;
    };
    CHECK(code("") != ResponseCode::kSuccess);
    CHECK(code("junk") != ResponseCode::kSuccess);
    CHECK(code(good.substr(0, good.size() - 1)) != ResponseCode::kSuccess);
    CHECK(code(good + "x") != ResponseCode::kSuccess);
    CHECK(code(records("T", 0, {{"a"}})) != ResponseCode::kSuccess);
    CHECK(code(records("U", 0, {{"a"}, {"b"}})) != ResponseCode::kSuccess);
    CHECK(code(records("T", 1, {{"a"}, {"b"}})) != ResponseCode::kSuccess);
    CHECK(pull(f.native(), pull_of("T", 0, 0)).code == ResponseCode::kPullNotFound);
    CHECK(code(good) == ResponseCode::kSuccess);
    CHECK(f.json().call(RequestCode::kSendRecords, nullptr, good).code ==
          ResponseCode::kRequestCodeNotSupported);
}

TEST_CASE("one message is given even where it is larger than the limit") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const Answer sent = send(f.native(), "T", 0, {{std::string(100'000, 'x')}});
    CHECK(sent.summary() == "0");
    wire::PullMessageRequest request = pull_of("T", 0, 0);
    request.set_maxmsgbytes(10);
    const Answer pulled = pull(f.native(), request);
    REQUIRE(bodies(pulled.body).size() == 1);
    CHECK(bodies(pulled.body)[0].size() == 100'000);
}

TEST_CASE("topics appear by themselves only where the policy says so") {
    const wire::SendMessageRequest request = stock_send("NEW", 0);
    BrokerFixture closed;
    CHECK(closed.json().call(RequestCode::kSendMessage, &request, "x").code ==
          ResponseCode::kTopicNotExist);
    BrokerFixture open([](BrokerOptions& o) {
        o.topic_auto_create = true;
        o.topic_auto_create_queues = 2;
    });
    REQUIRE(open.json().call(RequestCode::kSendMessage, &request, "x").summary() == "0");
    storage::Topic* const topic = open.broker().store().find_topic("NEW");
    REQUIRE(topic != nullptr);
    CHECK(topic->write_queues() == 2);
    CHECK(topic->perm() == 6);
    CHECK(send(open.native(), "OTHER", 0, {{"x"}}).code == ResponseCode::kTopicNotExist);
}

TEST_CASE("pulls outside a queue say where to go on") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    CHECK(pull(f.native(), pull_of("T", 0, 0)).summary() == "19 NO_NEW_MSG");
    const Answer beyond_empty = pull(f.native(), pull_of("T", 0, 5));
    CHECK(beyond_empty.code == ResponseCode::kPullOffsetMoved);
    CHECK(beyond_empty.fields<wire::PullMessageResponse>().nextbeginoffset() == 0);
    REQUIRE(send(f.native(), "T", 0, {{"a"}, {"b"}}).summary() == "0");
    const Answer beyond = pull(f.json(), pull_of("T", 0, 9));
    CHECK(beyond.summary() == "21 OFFSET_MOVED");
    CHECK(beyond.fields<wire::PullMessageResponse>().nextbeginoffset() == 2);
    CHECK(pull(f.json(), pull_of("T", 0, 2)).code == ResponseCode::kPullNotFound);
    CHECK(pull(f.native(), pull_of("T", 0, -1)).code == ResponseCode::kInvalidParameter);
}

TEST_CASE("a pull is checked for topic, permission, queue and expression") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(f.create_topic("WRITE", 4, 2) == ResponseCode::kSuccess);
    CHECK(pull(f.json(), pull_of("NOPE", 0, 0)).code == ResponseCode::kTopicNotExist);
    CHECK(pull(f.json(), pull_of("GANTRY_SYS_STATE", 0, 0)).code == ResponseCode::kTopicNotExist);
    CHECK(pull(f.json(), pull_of("WRITE", 0, 0)).code == ResponseCode::kNoPermission);
    CHECK(pull(f.json(), pull_of("T", 4, 0)).code == ResponseCode::kSystemError);
    CHECK(pull(f.native(), pull_of("T", 4, 0)).code == ResponseCode::kInvalidParameter);
    wire::PullMessageRequest request = pull_of("T", 0, 0);
    request.set_subscription("||");
    CHECK(pull(f.json(), request).code == ResponseCode::kSubscriptionParseFailed);
    request.set_expressiontype("XPATH");
    CHECK(pull(f.json(), request).summary() ==
          "1 The broker does not support consumer to filter message by XPATH");
    wire::PullMessageRequest without = pull_of("T", 0, 0);
    without.set_sysflag(0);
    CHECK(pull(f.json(), without).summary() == "24 the consumer's group info not exist, group: CG");
}

TEST_CASE("tags are filtered at the broker") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 0, {{"1", "A"}, {"2", "B"}, {"3"}, {"4", "C"}, {"5", "A"}})
                .summary() == "0");
    wire::PullMessageRequest request = pull_of("T", 0, 0);
    request.set_subscription("A || C");
    const Answer pulled = pull(f.native(), request);
    CHECK(bodies(pulled.body) == std::vector<std::string>{"1", "4", "5"});
    CHECK(pulled.fields<wire::PullMessageResponse>().nextbeginoffset() == 5);
    request.set_subscription("Z");
    const Answer none = pull(f.native(), request);
    CHECK(none.code == ResponseCode::kPullRetryImmediately);
    CHECK(none.fields<wire::PullMessageResponse>().nextbeginoffset() == 5);
}

TEST_CASE("a pull is limited by count and bytes but always gives one message") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    for (int i = 0; i < 10; ++i) {
        REQUIRE(send(f.native(), "T", 0, {{std::string(60'000, static_cast<char>('a' + i))}})
                    .summary() == "0");
    }
    wire::PullMessageRequest request = pull_of("T", 0, 0);
    request.set_maxmsgnums(3);
    CHECK(bodies(pull(f.json(), request).body).size() == 3);
    request.set_maxmsgnums(32);
    request.set_maxmsgbytes(8 << 20);
    CHECK(bodies(pull(f.json(), request).body).size() == 4);
    CHECK(bodies(pull(f.native(), request).body).size() == 10);
    request.set_maxmsgnums(0);
    CHECK(bodies(pull(f.json(), request).body).size() == 1);
}

TEST_CASE("messages survive a restart") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 0, {{"a"}, {"b"}}).summary() == "0");
    f.restart();
    CHECK(bodies(pull(f.native(), pull_of("T", 0, 0)).body) == std::vector<std::string>{"a", "b"});
    CHECK(send(f.native(), "T", 0, {{"c"}}).fields<wire::SendRecordsResponse>().queueoffset() == 2);
}

TEST_SUITE_END();

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/group.pb.h"
#include "protocol/wire/properties.h"
#include "tests/broker/broker_fixture.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>

namespace gantry::broker {
namespace {

constexpr std::string_view kReplyTopic = "DefaultCluster_REPLY_TOPIC";

void join(RpcClient& client, const std::string& client_id, const std::string& group = "PG") {
    wire::HeartbeatData data;
    data.set_clientid(client_id);
    data.add_producerdataset()->set_groupname(group);
    REQUIRE(client.call_with_body(RequestCode::kHeartBeat, nullptr, data).summary() == "0");
}

wire::SendMessageRequest reply_to(const std::string& client_id) {
    auto request = stock_send(std::string(kReplyTopic), 0);
    std::string properties;
    static_cast<void>(wire::append_property(properties, wire::property::kCorrelationId, "ID1"));
    static_cast<void>(wire::append_property(properties, wire::property::kMessageType, "reply"));
    if (!client_id.empty()) {
        static_cast<void>(wire::append_property(properties, wire::property::kReplyTo, client_id));
    }
    request.set_properties(properties);
    return request;
}

void check_pushed(RpcClient& to, const std::string& body) {
    const Answer pushed = to.next_request();
    REQUIRE(pushed.transport);
    CHECK(static_cast<std::int32_t>(pushed.code) ==
          static_cast<std::int32_t>(RequestCode::kPushReplyMessageToClient));
    CHECK(pushed.body == body);
    const auto fields = pushed.fields<wire::PushReplyMessageRequest>();
    CHECK(fields.topic() == kReplyTopic);
    CHECK(wire::find_property(fields.properties(), wire::property::kCorrelationId) == "ID1");
    CHECK_FALSE(wire::find_property(fields.properties(), wire::property::kReplyPushedAt).empty());
    CHECK(wire::parse_host(fields.bornhost()));
    CHECK(wire::parse_host(fields.storehost()));
    CHECK(fields.storetimestamp() > 0);
}

}  // namespace

TEST_SUITE("broker/reply") {
    TEST_CASE("a reply goes to the client that asked, in its codec, and to nobody else") {
        BrokerFixture fixture([](BrokerOptions& o) { o.loop_count = 2; });
        RpcClient other(fixture.address());
        join(fixture.native(), "native");
        join(fixture.json(), "json");
        join(other, "other");
        RpcClient replier(fixture.address(), wire::Codec::kJson);
        int count = 0;
        for (const RequestCode code :
             {RequestCode::kSendReplyMessage, RequestCode::kSendReplyMessageV2}) {
            for (RpcClient* const from : {&replier, &fixture.binary(), &other}) {
                const std::string body = "reply " + std::to_string(++count);
                const auto to_native = reply_to("native");
                CHECK(from->call(code, &to_native, body).summary() == "0");
                check_pushed(fixture.native(), body);
                const auto to_json = reply_to("json");
                CHECK(from->call(code, &to_json, body).summary() == "0");
                check_pushed(fixture.json(), body);
            }
        }
        CHECK_FALSE(other.next_request(std::chrono::milliseconds(10)).transport);
        CHECK(read_queue(fixture.native(), std::string(kReplyTopic), 0).size() == 12);
        CHECK(fixture.broker().metrics().values()["gantry_broker_replies_pushed_total"] == 12);
    }

    TEST_CASE("replies are not stored when the broker is told so") {
        BrokerFixture fixture([](BrokerOptions& o) { o.reply_store = false; });
        join(fixture.native(), "native");
        const auto request = reply_to("native");
        const Answer answer =
            fixture.json().call(RequestCode::kSendReplyMessageV2, &request, "body");
        CHECK(answer.summary() == "0");
        CHECK(answer.fields<wire::SendMessageResponse>().msgid() == "0");
        check_pushed(fixture.native(), "body");
        CHECK(read_queue(fixture.native(), std::string(kReplyTopic), 0).empty());
    }

    TEST_CASE("a reply to nobody is refused, and not stored") {
        BrokerFixture fixture([](BrokerOptions& o) { o.message_bytes_max = 100; });
        const auto request = reply_to("gone");
        CHECK(fixture.native().call(RequestCode::kSendReplyMessageV2, &request, "x").code ==
              ResponseCode::kConsumerNotOnline);
        CHECK(fixture.json().call(RequestCode::kSendReplyMessageV2, &request, "x").code ==
              ResponseCode::kSystemError);
        const auto nobody = reply_to("");
        CHECK(fixture.native().call(RequestCode::kSendReplyMessage, &nobody, "x").code ==
              ResponseCode::kInvalidParameter);
        CHECK(fixture.json()
                  .call(RequestCode::kSendReplyMessage, &request, std::string(101, 'x'))
                  .code == ResponseCode::kMessageIllegal);
        CHECK(read_queue(fixture.native(), std::string(kReplyTopic), 0).empty());
        CHECK(fixture.broker().metrics().values()["gantry_broker_replies_unserved_total"] == 2);
    }

    TEST_CASE("who has gone is not found, who has come again is") {
        BrokerFixture fixture;
        const auto request = reply_to("client");
        const auto code = [&] {
            return fixture.json().call(RequestCode::kSendReplyMessageV2, &request, "x").code;
        };
        join(fixture.native(), "client");
        join(fixture.native(), "client", "PG2");
        CHECK(code() == ResponseCode::kSuccess);
        RpcClient newer(fixture.address());
        join(newer, "client");
        fixture.native().disconnect();
        while (fixture.broker().metrics().values()["gantry_broker_connections"] > 2) {
        }
        CHECK(code() == ResponseCode::kSuccess);
        check_pushed(newer, "x");
        newer.disconnect();
        while (fixture.broker().metrics().values()["gantry_broker_connections"] > 1) {
        }
        CHECK(code() == ResponseCode::kSystemError);
        join(fixture.native(), "client");
        CHECK(code() == ResponseCode::kSuccess);
    }
}

}  // namespace gantry::broker

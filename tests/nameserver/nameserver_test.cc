// SPDX-License-Identifier: Apache-2.0
#include "nameserver/nameserver.h"

#include "tests/harness/raw_connection.h"
#include "tests/harness/wait.h"
#include "tests/nameserver/nameserver_fixture.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>

namespace gantry::nameserver {
namespace {

using harness::Answer;
using harness::RpcClient;
using harness::wait_until;

constexpr std::chrono::milliseconds kPatience{10'000};

/// A frame of codec 0 with that header and body.
std::string json_frame(const std::string& header, const std::string& body = "") {
    std::string frame(wire::kFramePrefixBytes, '\0');
    wire::write_frame_prefix(
        reinterpret_cast<std::byte*>(frame.data()), wire::Codec::kJson, header.size(), body.size());
    return frame + header + body;
}

std::string body_of_frame(const std::string& frame) {
    const Result<std::optional<wire::FrameView>> view = wire::find_frame(as_bytes(frame), {});
    return view && *view ? std::string(as_text((*view)->body)) : "no frame";
}

std::string header_of_frame(const std::string& frame) {
    const Result<std::optional<wire::FrameView>> view = wire::find_frame(as_bytes(frame), {});
    return view && *view ? std::string(as_text((*view)->header)) : "no frame";
}

const char* const kStandardRoute =
    R"({"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:10911"},"brokerName":"broker-a",)"
    R"("cluster":"DefaultCluster"}],"filterServerTable":{},"queueDatas":[{"brokerName":)"
    R"("broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]})";
const char* const kOldRoute =
    R"({"brokerDatas":[{"brokerAddrs":{0:"127.0.0.1:10911"},"brokerName":"broker-a",)"
    R"("cluster":"DefaultCluster"}],"filterServerTable":{},"queueDatas":[{"brokerName":)"
    R"("broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]})";
const char* const kClusterInfo =
    R"({"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"127.0.0.1:10911"},"brokerName":)"
    R"("broker-a","cluster":"DefaultCluster"}},)"
    R"("clusterAddrTable":{"DefaultCluster":["broker-a"]}})";

}  // namespace

TEST_SUITE("nameserver/nameserver") {
    TEST_CASE_FIXTURE(NameserverFixture, "routes are registered and told in every codec") {
        for (const wire::Codec codec :
             {wire::Codec::kJson, wire::Codec::kBinary, wire::Codec::kNative}) {
            CAPTURE(static_cast<int>(codec));
            RpcClient broker(address(), codec);
            CHECK(add(broker, 1, {"TopicA"}) == "0");
            for (const wire::Codec reader :
                 {wire::Codec::kJson, wire::Codec::kBinary, wire::Codec::kNative}) {
                RpcClient other(address(), reader);
                const Answer answer = route(other, "TopicA");
                CHECK(answer.summary() == "0");
                CHECK(answer.codec == reader);
                if (reader != wire::Codec::kNative) {
                    CHECK(answer.body == kStandardRoute);
                }
                const auto data = answer.body_as<wire::TopicRouteData>();
                REQUIRE(data.brokerdatas_size() == 1);
                CHECK(data.brokerdatas(0).brokeraddrs().at(0) == "127.0.0.1:10911");
                CHECK(data.queuedatas(0).writequeuenums() == 4);
                CHECK(route(other, "TopicB").summary() ==
                      "17 No topic route info in name server for the topic: TopicB");
            }
            broker.disconnect();
            CHECK(wait_until(kPatience, [&] { return metric("gantry_nameserver_brokers") == 0; }));
        }
    }

    TEST_CASE_FIXTURE(NameserverFixture, "old clients get integer keys bare, as RocketMQ's bytes") {
        CHECK(add(*client, 1, {"TopicA"}) == "0");
        Result<harness::RawConnection> raw = harness::RawConnection::open(nameserver->port());
        REQUIRE(raw.has_value());
        const std::string start = R"({"code":105,"extFields":{"topic":"TopicA")";
        const std::string end = R"(},"flag":0,"language":"JAVA","opaque":7,)"
                                R"("serializeTypeCurrentRPC":"JSON","version":)";
        CHECK(raw->send(json_frame(start + end + "317}")).has_value());
        const std::string old = raw->receive_frame().value_or("");
        CHECK(body_of_frame(old) == kOldRoute);
        CHECK(header_of_frame(old).find("\"opaque\":7") != std::string::npos);
        CHECK(raw->send(json_frame(start + end + "401}")).has_value());
        CHECK(body_of_frame(raw->receive_frame().value_or("")) == kStandardRoute);
        const std::string asked = R"(,"acceptStandardJsonOnly":"true")";
        CHECK(raw->send(json_frame(start + asked + end + "317}")).has_value());
        CHECK(body_of_frame(raw->receive_frame().value_or("")) == kStandardRoute);
    }

    TEST_CASE_FIXTURE(NameserverFixture, "cluster info has bare integer keys for all clients") {
        CHECK(add(*client, 1, {"TopicA"}) == "0");
        RpcClient stock(address(), wire::Codec::kJson);
        CHECK(stock.call(wire::RequestCode::kGetBrokerClusterInfo).body == kClusterInfo);
        const auto info =
            client->call(wire::RequestCode::kGetBrokerClusterInfo).body_as<wire::ClusterInfo>();
        CHECK(info.clusteraddrtable().at("DefaultCluster").values(0) == "broker-a");
    }

    TEST_CASE_FIXTURE(NameserverFixture, "topic lists are told as stock clients know them") {
        CHECK(add(*client, 1, {"TopicB", "TopicA"}) == "0");
        RpcClient stock(address(), wire::Codec::kJson);
        CHECK(stock.call(wire::RequestCode::kGetAllTopicListFromNameserver).body ==
              R"({"topicList":["TopicA","TopicB"]})");
        CHECK(stock.call(wire::RequestCode::kGetSystemTopicListFromNs).body ==
              R"({"brokerAddr":"127.0.0.1:10911","topicList":["DefaultCluster","broker-a"]})");
        wire::ClusterRequest request;
        request.set_cluster("DefaultCluster");
        CHECK(stock.call(wire::RequestCode::kGetTopicsByCluster, &request).body ==
              R"({"topicList":["TopicA","TopicB"]})");
        request.set_cluster("none");
        CHECK(stock.call(wire::RequestCode::kGetTopicsByCluster, &request).body ==
              R"({"topicList":[]})");
    }

    TEST_CASE_FIXTURE(NameserverFixture, "a compressed registration of a stock broker is read") {
        // zlib of: 00000027 {"counter":3,"timestamp":1700000000000} 00000001 00000017
        // "TopicA 4 4 6 SINGLE_TAG" 00000002 []
        const std::string raw_body =
            std::string("\0\0\0\x27{\"counter\":3,\"timestamp\":1700000000000}", 43) +
            std::string("\0\0\0\1\0\0\0\x17TopicA 4 4 6 SINGLE_TAG", 31) +
            std::string("\0\0\0\2[]", 6);
        // A stored (uncompressed) deflate block needs no compressor: header, length, bytes, Adler.
        std::string zlib = "\x78\x01\x01";
        const auto size = static_cast<std::uint16_t>(raw_body.size());
        for (const std::uint16_t word : {size, static_cast<std::uint16_t>(~size)}) {
            zlib += static_cast<char>(word & 0xFFU);
            zlib += static_cast<char>(word >> 8U);
        }
        std::uint32_t a = 1;
        std::uint32_t b = 0;
        for (const char c : raw_body) {
            a = (a + static_cast<unsigned char>(c)) % 65'521;
            b = (b + a) % 65'521;
        }
        std::string adler(4, '\0');
        store_be<std::uint32_t>(reinterpret_cast<std::byte*>(adler.data()), (b << 16U) | a);
        RpcClient stock(address(), wire::Codec::kJson);
        const auto request = broker_a();
        CHECK(stock.call(wire::RequestCode::kRegisterBroker, &request, zlib + raw_body + adler)
                  .summary() == "0");
        CHECK(route(stock, "TopicA").body == kStandardRoute);
    }

    TEST_CASE_FIXTURE(NameserverFixture, "a registration whose checksum is wrong is refused") {
        RpcClient stock(address(), wire::Codec::kJson);
        auto request = broker_a();
        request.set_bodycrc32(1);
        const Answer answer = stock.call_with_body(
            wire::RequestCode::kRegisterBroker, &request, body_of(1, {"TopicA"}));
        CHECK(answer.code == wire::ResponseCode::kSystemError);
        CHECK(route(stock, "TopicA").code == wire::ResponseCode::kTopicNotExist);
        CHECK(metric("gantry_nameserver_refused_registrations_total") == 1);
    }

    TEST_CASE_FIXTURE(NameserverFixture, "deltas, heartbeats and version queries follow a broker") {
        const auto request = broker_a();
        const auto identity = identity_a();
        const Answer unknown = client->call(wire::RequestCode::kBrokerHeartbeat, &identity);
        CHECK(unknown.summary() == "22 broker broker-a at 127.0.0.1:10911 is not registered");
        wire::RegisterBrokerDelta delta;
        *delta.mutable_base() = body_of(1, {}).topicconfigserializewrapper().dataversion();
        *delta.mutable_next() = body_of(2, {}).topicconfigserializewrapper().dataversion();
        *delta.add_changed() =
            body_of(2, {"TopicB"}).topicconfigserializewrapper().topicconfigtable().at("TopicB");
        delta.add_removed("TopicA");
        CHECK(
            client->call_with_body(wire::RequestCode::kRegisterBrokerDelta, &request, delta).code ==
            wire::ResponseCode::kConflict);
        CHECK(add(*client, 1, {"TopicA"}) == "0");
        CHECK(client->call(wire::RequestCode::kBrokerHeartbeat, &identity).summary() == "0");
        CHECK(client->call_with_body(wire::RequestCode::kRegisterBrokerDelta, &request, delta)
                  .summary() == "0");
        CHECK(route(*client, "TopicA").code == wire::ResponseCode::kTopicNotExist);
        CHECK(route(*client, "TopicB").summary() == "0");
        const Answer same =
            client->call_with_body(wire::RequestCode::kQueryDataVersion, &identity, delta.next());
        CHECK(!same.fields<wire::QueryDataVersionResponse>().changed());
        const Answer other =
            client->call_with_body(wire::RequestCode::kQueryDataVersion, &identity, delta.base());
        CHECK(other.fields<wire::QueryDataVersionResponse>().changed());
        CHECK(other.body_as<wire::DataVersion>().counter() == 2);
        CHECK(client->call(wire::RequestCode::kUnregisterBroker, &identity).summary() == "0");
        CHECK(route(*client, "TopicB").code == wire::ResponseCode::kTopicNotExist);
    }

    TEST_CASE_FIXTURE(NameserverFixture, "write permission is wiped and restored by broker name") {
        CHECK(add(*client, 1, {"TopicA"}) == "0");
        RpcClient stock(address(), wire::Codec::kJson);
        wire::BrokerNameRequest request;
        request.set_brokername("broker-a");
        const Answer wiped = stock.call(wire::RequestCode::kWipeWritePermOfBroker, &request);
        CHECK(wiped.fields<wire::WritePermResponse>().wipetopiccount() == 1);
        CHECK(route(stock, "TopicA").body_as<wire::TopicRouteData>().queuedatas(0).perm() == 4);
        const Answer restored = stock.call(wire::RequestCode::kAddWritePermOfBroker, &request);
        CHECK(restored.fields<wire::WritePermResponse>().addtopiccount() == 1);
        CHECK(route(stock, "TopicA").body_as<wire::TopicRouteData>().queuedatas(0).perm() == 6);
    }

    TEST_CASE_FIXTURE(NameserverFixture, "a topic is deleted") {
        CHECK(add(*client, 1, {"TopicA"}) == "0");
        wire::TopicRequest request;
        request.set_topic("TopicA");
        CHECK(client->call(wire::RequestCode::kDeleteTopicInNamesrv, &request).summary() == "0");
        CHECK(route(*client, "TopicA").code == wire::ResponseCode::kTopicNotExist);
    }

    TEST_CASE_FIXTURE(NameserverFixture, "unknown codes are refused by number") {
        CHECK(client->call(static_cast<wire::RequestCode>(9'999)).summary() ==
              "3  request type 9999 not supported");
        // Requests of the native codec are unknown in the others.
        RpcClient stock(address(), wire::Codec::kJson);
        CHECK(stock.call(wire::RequestCode::kWatchRoutes).summary() ==
              "3  request type 10011 not supported");
        CHECK(stock.call(wire::RequestCode::kRegisterBrokerDelta).code ==
              wire::ResponseCode::kRequestCodeNotSupported);
        CHECK(metric("gantry_nameserver_unknown_requests_total") == 3);
    }

    TEST_CASE_FIXTURE(NameserverFixture, "a missing field is named") {
        const wire::TopicRequest empty;
        CHECK(client->call(wire::RequestCode::kGetRouteInfoByTopic, &empty).remark.find("topic") !=
              std::string::npos);
        const wire::KvRequest no_key;
        CHECK(client->call(wire::RequestCode::kPutKvConfig, &no_key).code ==
              wire::ResponseCode::kInvalidParameter);
        wire::KvRequest no_value;
        no_value.set_namespace_("N");
        no_value.set_key("k");
        CHECK(client->call(wire::RequestCode::kPutKvConfig, &no_value).summary() ==
              "29 the custom field <value> is null");
    }
}

}  // namespace gantry::nameserver

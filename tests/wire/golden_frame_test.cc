// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/group.pb.h"
#include "protocol/wire/header.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/nameserver.pb.h"
#include "tests/wire/frames.h"
#include "tests/wire/golden.h"

#include <doctest/doctest.h>

namespace gantry::wire {
namespace {

// Encodes `header` and expects the golden bytes; decodes these and expects what went in.
template <class Fields>
void check_frame(const std::string& name,
                 Codec codec,
                 const HeaderToSend& header,
                 std::string_view body = {}) {
    CAPTURE(name);
    const std::string bytes = golden(name);
    std::string encoded;
    append_frame_head(encoded, codec, header, body.size());
    encoded.append(body);
    CHECK(to_hex(encoded) == to_hex(bytes));
    const FrameView frame = only_frame(bytes);
    CHECK(frame.codec == codec);
    CHECK(as_text(frame.body) == body);
    Header decoded;
    REQUIRE(decode_header(frame, decoded));
    CHECK(decoded.code == header.code);
    CHECK(decoded.opaque == header.opaque);
    CHECK(decoded.is_response == header.is_response);
    CHECK(decoded.is_oneway == header.is_oneway);
    CHECK(decoded.remark == header.remark);
    CHECK(decoded.language == header.language);
    CHECK(decoded.version == header.version);
    Fields fields;
    REQUIRE(decode_fields(decoded, fields));
    if (header.fields != nullptr) {
        CHECK(fields.SerializeAsString() == header.fields->SerializeAsString());
    } else {
        CHECK(decoded.ext.empty());
    }
}

SendMessageRequest send_request() {
    SendMessageRequest request;
    request.set_producergroup("PG");
    request.set_topic("TopicA");
    request.set_defaulttopic("TBW102");
    request.set_defaulttopicqueuenums(4);
    request.set_queueid(-1);
    request.set_sysflag(1);
    request.set_borntimestamp(1'700'000'000'000);
    request.set_flag(77);
    request.set_properties("KEYS\x01k \"1\"\\\x02TAGS\x01Tag\xc3\xa9");
    request.set_reconsumetimes(0);
    request.set_unitmode(false);
    request.set_maxreconsumetimes(16);
    request.set_batch(true);
    request.set_brokername("broker-a");
    return request;
}

// Reads a JSON body and expects to write the golden bytes again, also by way of codec 2.
template <class Body>
Body check_body(const std::string& name, bool standard = false) {
    CAPTURE(name);
    const std::string bytes = golden(name);
    Body body;
    REQUIRE(decode_body(Codec::kJson, as_bytes(bytes), body));
    std::string encoded;
    append_body(encoded, Codec::kJson, body, standard);
    CHECK(encoded == bytes);
    return body;
}

}  // namespace

TEST_SUITE("wire/golden_frame") {
    TEST_CASE("route requests in the three codecs") {
        TopicRequest fields;
        fields.set_topic("TopicA");
        const HeaderToSend header = {.code = 105,
                                     .opaque = 7,
                                     .fields = &fields,
                                     .language = Language::kJava,
                                     .version = 479};
        check_frame<TopicRequest>("frame_json_route_request", Codec::kJson, header);
        check_frame<TopicRequest>("frame_binary_route_request", Codec::kBinary, header);
        check_frame<TopicRequest>("frame_native_route_request", Codec::kNative, header);
        CHECK(golden("frame_json_route_request").size() == 136);
        CHECK(golden("frame_binary_route_request").size() == 46);
    }

    TEST_CASE("answers with and without fields") {
        check_frame<EmptyFields>("frame_json_no_topic",
                                 Codec::kJson,
                                 {.code = 17,
                                  .opaque = 7,
                                  .is_response = true,
                                  .remark = "No topic",
                                  .language = Language::kJava});
        SendMessageResponse sent;
        sent.set_queueid(1);
        sent.set_queueoffset(0);
        check_frame<SendMessageResponse>(
            "frame_binary_send_answer",
            Codec::kBinary,
            {.opaque = 7, .is_response = true, .fields = &sent, .language = Language::kJava});
        CHECK(golden("frame_binary_send_answer").size() == 61);
        PullMessageResponse pulled;
        pulled.set_suggestwhichbrokerid(0);
        pulled.set_nextbeginoffset(1'099'511'627'776);
        pulled.set_minoffset(0);
        pulled.set_maxoffset(1'099'511'627'777);
        const HeaderToSend answer = {
            .opaque = 9, .is_response = true, .remark = "FOUND", .fields = &pulled};
        using Pulled = PullMessageResponse;
        check_frame<Pulled>("frame_json_pull_answer", Codec::kJson, answer, "records");
        check_frame<Pulled>("frame_binary_pull_answer", Codec::kBinary, answer, "records");
        check_frame<Pulled>("frame_native_pull_answer", Codec::kNative, answer, "records");
    }

    TEST_CASE("sends of stock clients and of Gantry's") {
        const SendMessageRequest request = send_request();
        const HeaderToSend v2 = {.code = 310, .opaque = 8, .fields = &request, .short_names = true};
        check_frame<SendMessageRequest>("frame_json_send_v2", Codec::kJson, v2, "body");
        check_frame<SendMessageRequest>("frame_binary_send_v2", Codec::kBinary, v2, "body");
        SendRecordsRequest records;
        records.set_topic("TopicA");
        records.set_queueid(3);
        records.set_count(2);
        records.set_haskeys(true);
        check_frame<SendRecordsRequest>(
            "frame_native_send_records",
            Codec::kNative,
            {.code = 10001, .opaque = -2, .is_oneway = true, .fields = &records},
            "two records");
        SendRecordsResponse stored;
        stored.set_queueoffset(300);
        stored.set_logoffset(-1);
        stored.set_storetimestamp(1'700'000'000'000);
        check_frame<SendRecordsResponse>("frame_native_send_records_answer",
                                         Codec::kNative,
                                         {.opaque = -2, .is_response = true, .fields = &stored});
    }
}

TEST_SUITE("wire/golden_body") {
    TEST_CASE("routes in all forms") {
        const auto route = check_body<TopicRouteData>("body_route_bare");
        check_body<TopicRouteData>("body_route_standard", true);
        std::string native;
        append_body(native, Codec::kNative, route);
        CHECK(to_hex(native) == to_hex(golden("body_route_native")));
        TopicRouteData decoded;
        REQUIRE(decode_body(Codec::kNative, as_bytes(native), decoded));
        REQUIRE(decoded.brokerdatas_size() == 1);
        CHECK(decoded.brokerdatas(0).brokeraddrs().at(0) == "127.0.0.1:10911");
        REQUIRE(decoded.queuedatas_size() == 1);
        CHECK(decoded.queuedatas(0).readqueuenums() == 4);
    }

    TEST_CASE("clusters, statistics and heartbeats") {
        const auto cluster = check_body<ClusterInfo>("body_cluster_bare");
        CHECK(cluster.clusteraddrtable().at("DefaultCluster").values_size() == 1);
        const auto stats = check_body<TopicStatsTable>("body_topic_stats");
        REQUIRE(stats.offsettable_size() == 1);
        CHECK(stats.offsettable(0).key().topic() == "TopicA");
        const auto heartbeat = check_body<HeartbeatData>("body_heartbeat");
        CHECK(heartbeat.clientid() == "127.0.0.1@25838#1058815430249");
        HeartbeatData from_cpp;
        REQUIRE(decode_body(Codec::kJson, as_bytes(golden("body_heartbeat_cpp")), from_cpp));
        CHECK(from_cpp.SerializeAsString() == heartbeat.SerializeAsString());
    }
}

}  // namespace gantry::wire

// SPDX-License-Identifier: Apache-2.0
// Bytes of unknown origin: every prefix and every flipped byte of good samples, and random round
// trips.
#include "protocol/wire/batch.h"
#include "protocol/wire/group.pb.h"
#include "protocol/wire/header.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/nameserver.pb.h"
#include "protocol/wire/record.h"
#include "tests/wire/frames.h"
#include "tests/wire/golden.h"
#include "tests/wire/seed.h"

#include <doctest/doctest.h>

#include <memory>

namespace gantry::wire {
namespace {

const char* const kFrames[] = {"frame_json_route_request",
                               "frame_binary_route_request",
                               "frame_native_route_request",
                               "frame_json_no_topic",
                               "frame_binary_send_answer",
                               "frame_json_send_v2",
                               "frame_binary_send_v2",
                               "frame_native_pull_answer",
                               "frame_native_send_records"};
const char* const kRecords[] = {"record_reference",
                                "record_v1_born6_store4",
                                "record_v2_born4_store6",
                                "record_v2_born6_store6"};
const char* const kBodies[] = {"body_route_bare",
                               "body_route_standard",
                               "body_cluster_bare",
                               "body_topic_stats",
                               "body_heartbeat_cpp"};

// A copy on the heap of exactly the right size: a read past its end is a finding of the sanitizers.
class Exact {
public:
    explicit Exact(std::string_view bytes)
        : data_(std::make_unique<char[]>(bytes.size())), size_(bytes.size()) {
        std::copy(bytes.begin(), bytes.end(), data_.get());
    }

    Bytes bytes() const { return as_bytes({data_.get(), size_}); }

private:
    std::unique_ptr<char[]> data_;
    std::size_t size_;
};

bool is_inside(std::string_view view, Bytes of) {
    return view.empty() || (view.data() >= as_text(of).data() &&
                            view.data() + view.size() <= as_text(of).data() + of.size());
}

// Calls `check` with every prefix of `sample` and with each byte changed in several ways.
template <class Check>
void for_each_damage(const std::string& sample, Check check) {
    for (std::size_t size = 0; size <= sample.size(); ++size) {
        check(Exact(sample.substr(0, size)).bytes());
    }
    for (std::size_t at = 0; at < sample.size(); ++at) {
        for (const int mask : {0x01, 0x02, 0x10, 0x20, 0x80, 0xFF}) {
            std::string damaged = sample;
            damaged[at] = static_cast<char>(damaged[at] ^ mask);
            check(Exact(damaged).bytes());
        }
    }
}

void check_header(const FrameView& frame, Bytes all) {
    Header header;
    const Status status = decode_header(frame, header);
    if (!status) {
        REQUIRE(status.error().code == Errc::kCorrupt);
        REQUIRE_FALSE(status.error().detail.empty());
        return;
    }
    REQUIRE(header.ext.size() <= kExtFieldsMax);
    REQUIRE(is_inside(as_text(header.fields), all));
    const Bytes scratch = as_bytes(header.scratch);
    REQUIRE((is_inside(header.remark, all) || is_inside(header.remark, scratch)));
    for (const ExtField& each : header.ext) {
        REQUIRE((is_inside(each.name, all) || is_inside(each.name, scratch)));
        REQUIRE((is_inside(each.value, all) || is_inside(each.value, scratch)));
    }
    SendMessageRequest send;
    SendRecordsRequest records;
    for (google::protobuf::Message* fields : {static_cast<google::protobuf::Message*>(&send),
                                              static_cast<google::protobuf::Message*>(&records)}) {
        const Status filled = decode_fields(header, *fields);
        REQUIRE((filled || filled.error().code == Errc::kRefused));
    }
}

void check_frame(Bytes bytes) {
    const auto frame = find_frame(bytes, {});
    if (!frame) {
        REQUIRE(frame.error().code == Errc::kCorrupt);
        return;
    }
    if (!frame->has_value()) {
        REQUIRE(frame_bytes_needed(bytes) > bytes.size());
        return;
    }
    REQUIRE((*frame)->frame_bytes <= bytes.size());
    REQUIRE(is_inside(as_text((*frame)->header), bytes));
    REQUIRE(is_inside(as_text((*frame)->body), bytes));
    check_header(**frame, bytes);
}

void check_record(Bytes bytes) {
    const auto record = parse_record(bytes);
    if (!record) {
        REQUIRE(record.error().code == Errc::kCorrupt);
        return;
    }
    REQUIRE(record->stored_bytes <= bytes.size());
    REQUIRE(is_inside(as_text(record->body), bytes));
    REQUIRE(is_inside(record->topic, bytes));
    REQUIRE(is_inside(record->properties, bytes));
    REQUIRE(record->topic.size() <= kTopicBytesMax);
    static_cast<void>(body_crc_matches(*record));
}

void check_batch(Bytes bytes) {
    const auto batch = parse_batch(bytes, 16);
    if (!batch) {
        REQUIRE((batch.error().code == Errc::kCorrupt || batch.error().code == Errc::kRefused));
        return;
    }
    for (const BatchElement& each : *batch) {
        REQUIRE(is_inside(as_text(each.body), bytes));
        REQUIRE(is_inside(each.properties, bytes));
    }
}

template <class Body>
void check_body(Bytes bytes) {
    for (const Codec codec : {Codec::kJson, Codec::kNative}) {
        Body body;
        const Status status = decode_body(codec, bytes, body);
        REQUIRE((status || status.error().code == Errc::kCorrupt));
    }
}

std::string random_bytes(Random& random, std::size_t size_max) {
    std::string bytes(random.below(size_max + 1), '\0');
    for (char& c : bytes) {
        c = static_cast<char>(random.below(256));
    }
    return bytes;
}

// Text of one- to three-byte characters, controls and quotes included.
std::string random_text(Random& random, std::size_t size_max) {
    std::string text;
    for (std::uint64_t i = random.below(size_max + 1); i > 0; --i) {
        switch (random.below(4)) {
            case 0:
                text += "\xc3\xa9";
                break;
            case 1:
                text += "\xe2\x82\xac";
                break;
            default:
                text += static_cast<char>(random.below(128));
        }
    }
    return text;
}

Host random_host(Random& random) {
    Host host;
    host.is_v6 = random.below(2) != 0;
    for (std::size_t i = 0; i < (host.is_v6 ? 16U : 4U); ++i) {
        host.address[i] = static_cast<std::uint8_t>(random.next());
    }
    host.port = static_cast<std::int32_t>(random.next());
    return host;
}

}  // namespace

TEST_SUITE("wire/robustness") {
    TEST_CASE("damaged frames and headers yield errors or views inside the bytes") {
        for (const char* const name : kFrames) {
            CAPTURE(name);
            for_each_damage(golden(name), check_frame);
        }
    }

    TEST_CASE("damaged headers inside an intact frame do so too") {
        for (const char* const name : kFrames) {
            CAPTURE(name);
            const std::string bytes = golden(name);
            const FrameView frame = only_frame(bytes);
            for_each_damage(std::string(as_text(frame.header)), [&frame](Bytes header) {
                check_header({.codec = frame.codec, .header = header, .body = {}}, header);
            });
        }
    }

    TEST_CASE("damaged records, batches and bodies do so too") {
        for (const char* const name : kRecords) {
            CAPTURE(name);
            for_each_damage(golden(name), check_record);
        }
        for_each_damage(golden("batch"), check_batch);
        for (const char* const name : kBodies) {
            CAPTURE(name);
            for_each_damage(golden(name), [](Bytes bytes) {
                check_body<TopicRouteData>(bytes);
                check_body<HeartbeatData>(bytes);
                check_body<TopicStatsTable>(bytes);
            });
        }
    }

    TEST_CASE("random bytes are survived by every parser") {
        Random random(test_seed("wire/robustness"));
        for (int i = 0; i < 20'000; ++i) {
            const Exact bytes(random_bytes(random, 200));
            check_frame(bytes.bytes());
            check_record(bytes.bytes());
            check_batch(bytes.bytes());
            check_body<HeartbeatData>(bytes.bytes());
            for (const Codec codec : {Codec::kJson, Codec::kBinary, Codec::kNative}) {
                check_header({.codec = codec, .header = bytes.bytes(), .body = {}}, bytes.bytes());
            }
        }
    }

    TEST_CASE("random requests go there and back in every codec") {
        Random random(test_seed("wire/robustness"));
        Header header;
        for (int i = 0; i < 2'000; ++i) {
            SendMessageRequest request;
            request.set_producergroup(random_text(random, 40));
            request.set_topic(random_text(random, 40));
            request.set_defaulttopic(random_text(random, 10));
            request.set_defaulttopicqueuenums(static_cast<std::int32_t>(random.next()));
            request.set_queueid(static_cast<std::int32_t>(random.next()));
            request.set_sysflag(static_cast<std::int32_t>(random.next()));
            request.set_borntimestamp(static_cast<std::int64_t>(random.next()));
            request.set_flag(static_cast<std::int32_t>(random.next()));
            request.set_properties(random_text(random, 300));
            if (random.below(2) != 0) {
                request.set_batch(random.below(2) != 0);
            }
            const std::string remark = random_text(random, 20);
            const HeaderToSend to_send = {.code = static_cast<std::int32_t>(random.below(30'000)),
                                          .opaque = static_cast<std::int32_t>(random.next()),
                                          .is_response = random.below(2) != 0,
                                          .is_oneway = random.below(2) != 0,
                                          .remark = remark,
                                          .fields = &request,
                                          .short_names = random.below(2) != 0};
            for (const Codec codec : {Codec::kJson, Codec::kBinary, Codec::kNative}) {
                std::string bytes;
                append_frame_head(bytes, codec, to_send, 0);
                REQUIRE(decode_header(only_frame(bytes), header));
                REQUIRE(header.code == to_send.code);
                REQUIRE(header.opaque == to_send.opaque);
                REQUIRE(header.is_response == to_send.is_response);
                REQUIRE(header.is_oneway == to_send.is_oneway);
                REQUIRE(header.remark == remark);
                SendMessageRequest decoded;
                REQUIRE(decode_fields(header, decoded));
                REQUIRE(decoded.SerializeAsString() == request.SerializeAsString());
            }
        }
    }

    TEST_CASE("random records go there and back") {
        Random random(test_seed("wire/robustness"));
        for (int i = 0; i < 5'000; ++i) {
            const std::string body = random_bytes(random, 300);
            const std::string topic = random_bytes(random, kTopicBytesMax);
            const std::string properties = random_bytes(random, 300);
            const Record record = {
                .queue_id = static_cast<std::int32_t>(random.next()),
                .flag = static_cast<std::int32_t>(random.next()),
                .queue_offset = QueueOffset(static_cast<std::int64_t>(random.next())),
                .log_offset = LogOffset(static_cast<std::int64_t>(random.next())),
                .sys_flag = static_cast<std::int32_t>(random.next()),
                .born_ms = static_cast<WallMs>(random.next()),
                .born_host = random_host(random),
                .store_ms = static_cast<WallMs>(random.next()),
                .store_host = random_host(random),
                .body = as_bytes(body),
                .topic = topic,
                .properties = properties};
            std::string bytes(record_bytes(record), '\0');
            encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
            auto parsed = parse_record(as_bytes(bytes));
            REQUIRE(parsed);
            REQUIRE(body_crc_matches(*parsed));
            REQUIRE(parsed->born_host == record.born_host);
            REQUIRE(parsed->store_host == record.store_host);
            REQUIRE(parsed->topic == topic);
            std::string again(bytes.size(), '\0');
            encode_record(*parsed, {reinterpret_cast<std::byte*>(again.data()), again.size()});
            REQUIRE(again == bytes);
        }
    }
}

}  // namespace gantry::wire

// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/header.h"

#include "protocol/wire/header.pb.h"
#include "protocol/wire/message.pb.h"
#include "tests/wire/frames.h"

#include <doctest/doctest.h>

namespace gantry::wire {
namespace {

constexpr Codec kCodecs[] = {Codec::kJson, Codec::kBinary, Codec::kNative};

PullMessageRequest pull_request() {
    PullMessageRequest request;
    request.set_consumergroup("CG");
    request.set_topic("TopicA");
    request.set_queueid(3);
    request.set_queueoffset(1LL << 40U);
    request.set_maxmsgnums(32);
    request.set_sysflag(2);
    request.set_commitoffset(0);
    request.set_suspendtimeoutmillis(15'000);
    request.set_subversion(-1);
    request.set_subscription("a \"quoted\" \\ text\x01\x1f\n\xc3\xa9");
    return request;
}

Status decode(Codec codec, std::string_view text, Header& header) {
    return decode_header(frame_of(codec, text), header);
}

}  // namespace

TEST_SUITE("wire/header") {
    TEST_CASE("a request goes there and back in every codec") {
        const PullMessageRequest request = pull_request();
        Header header;
        for (const Codec codec : kCodecs) {
            CAPTURE(static_cast<int>(codec));
            std::string bytes = "before";
            append_frame_head(bytes,
                              codec,
                              {.code = 11,
                               .opaque = -5,
                               .is_oneway = true,
                               .remark = "why \"not\"",
                               .fields = &request,
                               .language = Language::kGo,
                               .version = 317},
                              4);
            bytes += "body";
            bytes.erase(0, 6);
            const FrameView frame = only_frame(bytes);
            CHECK(frame.codec == codec);
            CHECK(as_text(frame.body) == "body");
            REQUIRE(decode_header(frame, header));
            CHECK(header.codec == codec);
            CHECK(header.request() == RequestCode::kPullMessage);
            CHECK(header.opaque == -5);
            CHECK(header.has_opaque);
            CHECK(header.is_oneway);
            CHECK_FALSE(header.is_response);
            CHECK(header.remark == "why \"not\"");
            CHECK(header.language == Language::kGo);
            CHECK(header.version == 317);
            PullMessageRequest decoded;
            REQUIRE(decode_fields(header, decoded));
            CHECK(decoded.SerializeAsString() == request.SerializeAsString());
        }
    }

    TEST_CASE("a reused header keeps nothing of the frame before") {
        const PullMessageRequest request = pull_request();
        Header header;
        for (const Codec before : kCodecs) {
            for (const Codec after : kCodecs) {
                std::string full;
                append_frame_head(full,
                                  before,
                                  {.code = 11,
                                   .opaque = 9,
                                   .is_response = true,
                                   .is_oneway = true,
                                   .remark = "remark",
                                   .fields = &request},
                                  0);
                REQUIRE(decode_header(only_frame(full), header));
                std::string bare;
                append_frame_head(bare, after, {.language = Language::kJava, .version = 0}, 0);
                REQUIRE(decode_header(only_frame(bare), header));
                CHECK(header.code == 0);
                CHECK(header.opaque == 0);
                CHECK_FALSE(header.is_response);
                CHECK_FALSE(header.is_oneway);
                CHECK(header.remark.empty());
                CHECK(header.ext.empty());
                CHECK(header.fields.empty());
                CHECK(header.version == 0);
            }
        }
    }

    TEST_CASE("the native header is what Protocol Buffers writes, its fields a view") {
        const PullMessageRequest request = pull_request();
        NativeHeader reference;
        reference.set_code(11);
        reference.set_opaque(0x80000001U);
        reference.set_flag(1);
        reference.set_language(1);
        reference.set_version(409);
        reference.set_remark("r");
        reference.set_fields(request.SerializeAsString());
        std::string bytes;
        append_frame_head(bytes,
                          Codec::kNative,
                          {.code = 11,
                           .opaque = static_cast<std::int32_t>(0x80000001U),
                           .is_response = true,
                           .remark = "r",
                           .fields = &request},
                          0);
        CHECK(bytes.substr(kFramePrefixBytes) == reference.SerializeAsString());
        Header header;
        REQUIRE(decode_header(only_frame(bytes), header));
        CHECK(as_text(header.fields) == reference.fields());
        CHECK(as_text(header.fields).data() > bytes.data());
        CHECK(as_text(header.fields).data() < bytes.data() + bytes.size());
    }

    TEST_CASE("unknown fields of a native header are skipped, groups are corrupt") {
        Header header;
        REQUIRE(decode(Codec::kNative,
                       {"\x08\x16\x78\x01\x79"
                        "12345678"
                        "\x7a\x02xx\x7d"
                        "1234",
                        22},
                       header));
        CHECK(header.code == 11);
        CHECK_FALSE(decode(Codec::kNative, "\x7b\x7c", header));
        CHECK_FALSE(decode(Codec::kNative, {"\x00\x00", 2}, header));
    }

    TEST_CASE("a binary code is 16 bits wide, its counts and lengths are checked") {
        Header header;
        std::string bytes;
        append_frame_head(bytes, Codec::kBinary, {.code = 200050}, 0);
        REQUIRE(decode_header(only_frame(bytes), header));
        CHECK(header.code == 3442);
        const std::string good = bytes.substr(kFramePrefixBytes);
        CHECK_FALSE(decode(Codec::kBinary, good.substr(0, 20), header));
        CHECK_FALSE(decode(Codec::kBinary, good + "x", header));
        std::string negative_remark = good;
        negative_remark[13] = '\xff';
        CHECK_FALSE(decode(Codec::kBinary, negative_remark, header));
        CHECK(header.has_opaque);
    }
}

TEST_SUITE("wire/json_header") {
    TEST_CASE("what the C++ and Go clients send is taken") {
        Header header;
        REQUIRE(decode(
            Codec::kJson,
            "{\"code\":\"310\",\"extFields\":{\"d\":4,\"e\":-1,\"k\":true,\"n\":null,\"x\":1.50,"
            "\"big\":9223372036854775807,\"i\":\"K\\u0001V\"},\"flag\":2,\"language\":\"CPP\","
            "\"opaque\":12,\"remark\":\"\",\"more\":[{\"a\":[1,2]}],\"version\":333}\n",
            header));
        CHECK(header.code == 310);
        CHECK(header.opaque == 12);
        CHECK(header.is_oneway);
        CHECK(header.language == Language::kCpp);
        CHECK(header.version == 333);
        CHECK(ext_value(header, "d") == "4");
        CHECK(ext_value(header, "e") == "-1");
        CHECK(ext_value(header, "k") == "true");
        CHECK(ext_value(header, "n") == "(absent)");
        CHECK(ext_value(header, "x") == "1.50");
        CHECK(ext_value(header, "big") == "9223372036854775807");
        CHECK(ext_value(header, "i") == "K\x01V");
    }

    TEST_CASE("a language may be a number or unknown") {
        Header header;
        REQUIRE(decode(Codec::kJson, R"({"language":9})", header));
        CHECK(header.language == Language::kGo);
        REQUIRE(decode(Codec::kJson, R"({"language":"COBOL"})", header));
        CHECK(header.language == Language::kUnknown);
        REQUIRE(decode(Codec::kJson, R"({"language":99})", header));
        CHECK(header.language == Language::kUnknown);
    }

    TEST_CASE("the last of two equal keys wins") {
        Header header;
        REQUIRE(decode(Codec::kJson,
                       R"({"opaque":1,"extFields":{"a":"1"},"opaque":2,"extFields":{"b":"2"}})",
                       header));
        CHECK(header.opaque == 2);
        CHECK(header.ext.size() == 1);
        CHECK(ext_value(header, "b") == "2");
    }

    TEST_CASE("bad headers are corrupt, a readable opaque is still found") {
        const std::string deep = R"({"opaque":7,"x":)" + std::string(32, '[');
        const std::string_view bad[] = {R"({"extFields":{"a":},"opaque":7})",
                                        R"({"code":1.5,"opaque":7})",
                                        R"({"code":4294967296,"opaque":7})",
                                        R"({"extFields":[],"opaque":7})",
                                        R"({"extFields":"a","opaque":7})",
                                        R"({"code":{},"opaque":7})",
                                        R"({"extFields":{"a":{}},"opaque":7})",
                                        R"({"extFields":{"a":[1]},"opaque":7})",
                                        R"({"opaque":7} x)",
                                        R"({"opaque":7,)",
                                        deep};
        for (const std::string_view text : bad) {
            CAPTURE(text);
            Header header;
            const Status status = decode(Codec::kJson, text, header);
            REQUIRE_FALSE(status);
            CHECK(status.error().code == Errc::kCorrupt);
            CHECK(status.error().detail.starts_with("JSON header of "));
            CHECK(header.has_opaque);
            CHECK(header.opaque == 7);
        }
        for (const std::string_view text : {"", "null", "[]", "7", "\"x\"", "{", "\xff"}) {
            CAPTURE(text);
            Header header;
            CHECK_FALSE(decode(Codec::kJson, text, header));
            CHECK_FALSE(header.has_opaque);
        }
    }

    TEST_CASE("the number of extFields is limited in codecs 0 and 1") {
        const auto json = [](std::size_t count) {
            std::string text = R"({"extFields":{)";
            for (std::size_t i = 0; i < count; ++i) {
                text += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":1";
            }
            return text + "}}";
        };
        const auto binary = [](std::size_t count) {
            std::string text(17, '\0');
            text += {'\0', '\0', static_cast<char>(count * 6 >> 8U), static_cast<char>(count * 6)};
            return text + std::string(count * 6, '\0');
        };
        Header header;
        CHECK(decode(Codec::kJson, json(kExtFieldsMax), header));
        CHECK(header.ext.size() == kExtFieldsMax);
        CHECK_FALSE(decode(Codec::kJson, json(kExtFieldsMax + 1), header));
        CHECK(decode(Codec::kBinary, binary(kExtFieldsMax), header));
        CHECK(header.ext.size() == kExtFieldsMax);
        CHECK_FALSE(decode(Codec::kBinary, binary(kExtFieldsMax + 1), header));
    }

    TEST_CASE("no fields, empty fields and an absent remark are told apart") {
        std::string none;
        append_frame_head(none, Codec::kJson, {.code = 17, .is_response = true}, 0);
        CHECK(none.substr(8) == R"({"code":17,"flag":1,"language":"CPP","opaque":0,)"
                                R"("serializeTypeCurrentRPC":"JSON","version":409})");
        std::string empty;
        const EmptyFields fields;
        append_frame_head(empty, Codec::kJson, {.remark = "r", .fields = &fields}, 0);
        CHECK(empty.substr(8) ==
              R"({"code":0,"extFields":{},"flag":0,"language":"CPP","opaque":0,"remark":"r",)"
              R"("serializeTypeCurrentRPC":"JSON","version":409})");
    }
}

}  // namespace gantry::wire

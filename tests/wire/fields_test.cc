// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/ext_fields.h"
#include "protocol/wire/codec/hot_fields.h"
#include "protocol/wire/codec/schema_plan.h"
#include "protocol/wire/header.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/topic.pb.h"
#include "tests/wire/frames.h"
#include "tests/wire/seed.h"

#include <doctest/doctest.h>

namespace gantry::wire {
namespace {

Header with_ext(std::vector<ExtField> ext) {
    Header header;
    header.codec = Codec::kJson;
    header.ext = std::move(ext);
    return header;
}

std::string error_of(std::vector<ExtField> ext, google::protobuf::Message& fields) {
    const Status status = decode_fields(with_ext(std::move(ext)), fields);
    REQUIRE_FALSE(status);
    CHECK(status.error().code == Errc::kRefused);
    return status.error().detail;
}

const std::string_view kValues[] = {"",
                                    "0",
                                    "7",
                                    "-7",
                                    "+7",
                                    "+-7",
                                    "--7",
                                    " 7",
                                    "7 ",
                                    "1.0",
                                    "0x7",
                                    "2147483647",
                                    "2147483648",
                                    "-2147483649",
                                    "9223372036854775807",
                                    "9223372036854775808",
                                    "true",
                                    "TRUE",
                                    "false",
                                    "text",
                                    "caf\xc3\xa9",
                                    "\xff"};

// Mostly the request's own fields with good values, so that many samples get past the checks.
std::vector<ExtField> random_ext(Random& random, const MessagePlan& plan) {
    std::vector<ExtField> ext;
    for (const FieldPlan& field : plan.fields()) {
        if (random.below(40) != 0) {
            const bool use_short = !field.short_name.empty() && random.below(2) != 0;
            ext.push_back({use_short ? field.short_name : field.name, "7"});
        }
    }
    for (std::uint64_t i = random.below(4); i > 0; --i) {
        const std::string_view names[] = {"z", "\x01", "", "queue", "queueId2", "bname"};
        const std::string_view name = random.below(2) != 0
                                          ? names[random.below(std::size(names))]
                                          : plan.fields()[random.below(plan.fields().size())].name;
        ext.push_back({name, kValues[random.below(std::size(kValues))]});
    }
    for (std::size_t i = ext.size(); i > 1; --i) {
        std::swap(ext[i - 1], ext[random.below(i)]);
    }
    return ext;
}

template <class Message, class Fast>
void check_fast_equals_generic(Fast fast, Random& random) {
    int accepted = 0;
    for (int i = 0; i < 20'000; ++i) {
        const auto ext = random_ext(random, plan_of(*Message::descriptor()));
        Message by_fast;
        Message by_generic;
        const Status a = fast(ext, by_fast);
        const Status b = fields_from_ext(ext, by_generic);
        REQUIRE(a.has_value() == b.has_value());
        if (a) {
            ++accepted;
            REQUIRE(by_fast.SerializeAsString() == by_generic.SerializeAsString());
        } else {
            REQUIRE(a.error().code == b.error().code);
            REQUIRE(a.error().detail == b.error().detail);
        }
    }
    CHECK(accepted > 1'000);
    CHECK(accepted < 19'000);
}

}  // namespace

TEST_SUITE("wire/fields") {
    TEST_CASE("values are parsed as Java parses them") {
        CreateTopicRequest request;
        const Header header = with_ext({{"topic", "T"},
                                        {"readQueueNums", "+4"},
                                        {"writeQueueNums", "2147483647"},
                                        {"perm", "6"},
                                        {"order", "TRUE"},
                                        {"createOnly", "1"},
                                        {"unknown", "x"}});
        REQUIRE(decode_fields(header, request));
        CHECK(request.topic() == "T");
        CHECK(request.readqueuenums() == 4);
        CHECK(request.writequeuenums() == 2147483647);
        CHECK(request.order());
        CHECK(request.has_createonly());
        CHECK_FALSE(request.createonly());
        CHECK_FALSE(request.has_topicsysflag());
    }

    TEST_CASE("a missing or unparseable field is refused by name") {
        QueueRequest request;
        CHECK(error_of({{"topic", "T"}}, request) == "the custom field <queueId> is null");
        CHECK(error_of({}, request) == "the custom field <topic> is null");
        CHECK(error_of({{"topic", "T"}, {"queueId", ""}}, request) ==
              "the custom field <queueId> is null");
        CHECK(error_of({{"topic", "T"}, {"queueId", "3000000000"}}, request) ==
              "field queueId: \"3000000000\" is no int32");
        CHECK(error_of({{"topic", "T"}, {"queueId", "1 "}}, request) ==
              "field queueId: \"1 \" is no int32");
        CHECK(error_of({{"topic", "\xff"}, {"queueId", "1"}}, request) ==
              "field topic: \"\xff\" is no string");
    }

    TEST_CASE("names that are no identifiers come from the schema's options") {
        QueryMessageRequest request;
        const Header header = with_ext({{"topic", "T"},
                                        {"key", "k"},
                                        {"maxNum", "1"},
                                        {"beginTimestamp", "0"},
                                        {"endTimestamp", "9223372036854775807"},
                                        {"_UNIQUE_KEY_QUERY", "true"}});
        REQUIRE(decode_fields(header, request));
        CHECK(request.uniquekeyquery() == "true");
        std::string bytes;
        append_frame_head(bytes, Codec::kJson, {.fields = &request}, 0);
        CHECK(bytes.find(R"("_UNIQUE_KEY_QUERY":"true")") != std::string::npos);
    }

    TEST_CASE("a V2 send uses one-letter names") {
        SendMessageRequest request;
        request.set_producergroup("PG");
        request.set_queueid(3);
        request.set_batch(true);
        std::string bytes;
        append_frame_head(bytes, Codec::kBinary, {.fields = &request, .short_names = true}, 0);
        Header header;
        REQUIRE(decode_header(only_frame(bytes), header));
        CHECK(header.ext.size() == 3);
        CHECK(ext_value(header, "a") == "PG");
        CHECK(ext_value(header, "e") == "3");
        CHECK(ext_value(header, "m") == "true");
    }

    TEST_CASE("the native codec checks required fields and bytes too") {
        QueueRequest partial;
        partial.set_topic("T");
        std::string bytes;
        append_frame_head(bytes, Codec::kNative, {.fields = &partial}, 0);
        Header header;
        REQUIRE(decode_header(only_frame(bytes), header));
        QueueRequest decoded;
        const Status missing = decode_fields(header, decoded);
        REQUIRE_FALSE(missing);
        CHECK(missing.error().code == Errc::kRefused);
        CHECK(missing.error().detail == "the custom field <queueId> is null");
        header.fields = as_bytes("\xff\xff");
        const Status broken = decode_fields(header, decoded);
        REQUIRE_FALSE(broken);
        CHECK(broken.error().code == Errc::kRefused);
    }

    TEST_CASE("the fast send and pull decoders equal the generic one") {
        Random random(test_seed("wire/fields"));
        check_fast_equals_generic<SendMessageRequest>(send_fields_from_ext, random);
        check_fast_equals_generic<PullMessageRequest>(pull_fields_from_ext, random);
    }
}

}  // namespace gantry::wire

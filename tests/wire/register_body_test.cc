// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/register_body.h"

#include "protocol/wire/header.h"
#include "protocol/wire/nameserver.pb.h"
#include "protocol/wire/record.h"

#include <doctest/doctest.h>

#include <zlib.h>

namespace gantry::wire {
namespace {

std::string counted(std::string_view text) {
    std::byte size[4];
    store_be(size, static_cast<std::int32_t>(text.size()));
    return std::string(as_text(size)).append(text);
}

std::string number(std::int32_t value) {
    std::byte bytes[4];
    store_be(bytes, value);
    return std::string(as_text(bytes));
}

std::string deflated(std::string_view text) {
    uLongf size = ::compressBound(text.size());
    std::string out(size, '\0');
    REQUIRE(::compress2(reinterpret_cast<Bytef*>(out.data()),
                        &size,
                        reinterpret_cast<const Bytef*>(text.data()),
                        text.size(),
                        Z_BEST_COMPRESSION) == Z_OK);
    out.resize(size);
    return out;
}

const std::string kPlain = counted(R"({"counter":3,"timestamp":1700000000000})") + number(2) +
                           counted("TopicA 4 4 6 SINGLE_TAG") +
                           counted("TopicB 1 2 4 MULTI_TAG {}") + counted(R"(["f:1"])");

void check_content(const RegisterBrokerBody& body) {
    const TopicConfigTable& table = body.topicconfigserializewrapper();
    CHECK(table.dataversion().counter() == 3);
    REQUIRE(table.topicconfigtable().size() == 2);
    CHECK(table.topicconfigtable().at("TopicA").perm() == 6);
    CHECK(table.topicconfigtable().at("TopicB").readqueuenums() == 1);
    CHECK(table.topicconfigtable().at("TopicB").writequeuenums() == 2);
    CHECK(table.topicconfigtable().at("TopicB").topicfiltertype() == "MULTI_TAG");
    REQUIRE(body.filterserverlist_size() == 1);
    CHECK(body.filterserverlist(0) == "f:1");
}

}  // namespace

TEST_SUITE("wire/register_body") {
    TEST_CASE("compressed, JSON and native registrations say the same") {
        RegisterBrokerBody body;
        const std::string compressed = deflated(kPlain);
        REQUIRE(decode_register_body(
            Codec::kJson, as_bytes(compressed), record_body_crc(as_bytes(compressed)), body));
        check_content(body);
        // A 5.x broker appends topic mappings.
        REQUIRE(
            decode_register_body(Codec::kBinary, as_bytes(deflated(kPlain + number(0))), 0, body));
        check_content(body);
        for (const Codec codec : {Codec::kJson, Codec::kNative}) {
            std::string text;
            append_body(text, codec, body);
            RegisterBrokerBody decoded;
            REQUIRE(decode_register_body(codec, as_bytes(text), 0, decoded));
            check_content(decoded);
        }
    }

    TEST_CASE("an empty body is empty, a wrong CRC is corrupt") {
        RegisterBrokerBody body;
        REQUIRE(decode_register_body(Codec::kJson, {}, 0, body));
        CHECK_FALSE(body.has_topicconfigserializewrapper());
        const std::string compressed = deflated(kPlain);
        const Status status = decode_register_body(Codec::kJson, as_bytes(compressed), 1, body);
        REQUIRE_FALSE(status);
        CHECK(status.error().code == Errc::kCorrupt);
        CHECK(status.error().detail == "registration body: crc32 not match");
    }

    TEST_CASE("every truncation, inside and outside the compression, is corrupt") {
        RegisterBrokerBody body;
        const std::string compressed = deflated(kPlain);
        for (std::size_t size = 1; size < compressed.size(); ++size) {
            CHECK_FALSE(
                decode_register_body(Codec::kJson, as_bytes(compressed).first(size), 0, body));
        }
        for (std::size_t size = 0; size < kPlain.size(); ++size) {
            CHECK_FALSE(decode_register_body(
                Codec::kJson, as_bytes(deflated(kPlain.substr(0, size))), 0, body));
        }
    }

    TEST_CASE("bad topics and bombs are corrupt") {
        RegisterBrokerBody body;
        for (const char* const topic : {"", "T", "T 1 1 x TAG", "T 1 1", " 1 1 1 TAG"}) {
            CAPTURE(topic);
            const std::string plain = counted("{}") + number(1) + counted(topic) + counted("[]");
            CHECK_FALSE(decode_register_body(Codec::kJson, as_bytes(deflated(plain)), 0, body));
        }
        const std::string bomb = deflated(std::string(kRegisterBytesMax + 100'000, '\0'));
        const Status status = decode_register_body(Codec::kJson, as_bytes(bomb), 0, body);
        REQUIRE_FALSE(status);
        CHECK(status.error().detail.find("inflates to more than") != std::string::npos);
    }
}

}  // namespace gantry::wire

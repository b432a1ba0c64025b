// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/frame.h"

#include "tests/wire/hex.h"

#include <doctest/doctest.h>

namespace gantry::wire {
namespace {

Errc code_of(std::string_view hex, const FrameLimits& limits = {}) {
    const std::string bytes = from_hex(hex);
    const auto frame = find_frame(as_bytes(bytes), limits);
    REQUIRE_FALSE(frame);
    CHECK_FALSE(frame.error().detail.empty());
    return frame.error().code;
}

}  // namespace

TEST_SUITE("wire/frame") {
    TEST_CASE("a whole frame is split into header and body") {
        const std::string bytes = from_hex("00000009 02000002 6869 626f64 ffff");
        const auto frame = find_frame(as_bytes(bytes), {});
        REQUIRE(frame);
        REQUIRE(frame->has_value());
        CHECK((*frame)->codec == Codec::kNative);
        CHECK(as_text((*frame)->header) == "hi");
        CHECK(as_text((*frame)->body) == "bod");
        CHECK((*frame)->frame_bytes == 13);
        CHECK(frame_bytes_needed(as_bytes(bytes)) == 13);
    }

    TEST_CASE("a prefix of a frame is incomplete, whatever its length") {
        const std::string bytes = from_hex("00000009 01000002 6869 626f64");
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            const auto frame = find_frame(as_bytes(bytes).first(size), {});
            REQUIRE(frame);
            CHECK_FALSE(frame->has_value());
        }
        CHECK(frame_bytes_needed(as_bytes(bytes).first(3)) == kFramePrefixBytes);
        CHECK(frame_bytes_needed(as_bytes(bytes).first(4)) == 13);
    }

    TEST_CASE("bad prefixes are corrupt as soon as they can be seen") {
        CHECK(code_of("00000003") == Errc::kCorrupt);
        CHECK(code_of("80000000") == Errc::kCorrupt);
        CHECK(code_of("00000011", {.frame_bytes_max = 16}) == Errc::kCorrupt);
        CHECK(code_of("00000004 03000000") == Errc::kCorrupt);
        CHECK(code_of("00000004 00000001") == Errc::kCorrupt);
        CHECK(code_of("00000010 00000009", {.header_bytes_max = 8}) == Errc::kCorrupt);
    }

    TEST_CASE("the limits themselves are allowed") {
        const std::string bytes = from_hex("00000006 00000002 6869");
        const auto frame =
            find_frame(as_bytes(bytes), {.frame_bytes_max = 6, .header_bytes_max = 2});
        REQUIRE(frame);
        CHECK(frame->has_value());
    }

    TEST_CASE("a written prefix is found again") {
        std::string bytes(kFramePrefixBytes + 5, 'x');
        write_frame_prefix(reinterpret_cast<std::byte*>(bytes.data()), Codec::kBinary, 3, 2);
        CHECK(to_hex(bytes.substr(0, 8)) == "0000000901000003");
        const auto frame = find_frame(as_bytes(bytes), {});
        REQUIRE(frame);
        REQUIRE(frame->has_value());
        CHECK((*frame)->codec == Codec::kBinary);
        CHECK((*frame)->header.size() == 3);
        CHECK((*frame)->body.size() == 2);
    }
}

}  // namespace gantry::wire

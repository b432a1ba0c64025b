// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/batch.h"

#include "tests/wire/hex.h"

#include <doctest/doctest.h>

namespace gantry::wire {

TEST_SUITE("wire/batch") {
    TEST_CASE("elements are found and views point at their bytes") {
        std::string bytes;
        append_batch_element(bytes,
                             {.flag = 7, .body = as_bytes("batch0"), .properties = "KEYS\x01k"});
        append_batch_element(bytes, {.flag = -1, .body = {}, .properties = ""});
        CHECK(to_hex(bytes) ==
              "00000022"
              "00000000"
              "00000000"
              "00000007"
              "00000006"
              "626174636830"
              "0006"
              "4b455953016b"
              "00000016"
              "00000000"
              "00000000"
              "ffffffff"
              "00000000"
              "0000");
        const auto elements = parse_batch(as_bytes(bytes), 10);
        REQUIRE(elements);
        REQUIRE(elements->size() == 2);
        CHECK((*elements)[0].flag == 7);
        CHECK(as_text((*elements)[0].body) == "batch0");
        CHECK((*elements)[0].properties == "KEYS\x01k");
        CHECK((*elements)[1].flag == -1);
        CHECK((*elements)[1].body.empty());
    }

    TEST_CASE("an empty body is an empty batch") {
        const auto elements = parse_batch({}, 10);
        REQUIRE(elements);
        CHECK(elements->empty());
    }

    TEST_CASE("lengths that do not add up are corrupt, too many elements refused") {
        std::string one;
        append_batch_element(one, {.flag = 0, .body = as_bytes("body"), .properties = ""});
        CHECK(parse_batch(as_bytes(one + "x"), 10).error().code == Errc::kCorrupt);
        CHECK(parse_batch(as_bytes(one).first(one.size() - 1), 10).error().code == Errc::kCorrupt);
        std::string longer_body = one;
        longer_body[19] = 5;
        CHECK(parse_batch(as_bytes(longer_body), 10).error().code == Errc::kCorrupt);
        std::string negative_body = one;
        negative_body[16] = '\xff';
        CHECK(parse_batch(as_bytes(negative_body), 10).error().code == Errc::kCorrupt);
        const auto many = parse_batch(as_bytes(one + one + one), 2);
        REQUIRE_FALSE(many);
        CHECK(many.error().code == Errc::kRefused);
        CHECK(many.error().detail == "batch of more than 2 messages");
    }
}

}  // namespace gantry::wire

// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/properties.h"

#include <doctest/doctest.h>

namespace gantry::wire {

TEST_SUITE("wire/properties") {
    TEST_CASE("appended properties are found, the later duplicate wins") {
        std::string text;
        REQUIRE(append_property(text, "TAGS", "a"));
        REQUIRE(append_property(text, "KEYS", "k1 k2"));
        REQUIRE(append_property(text, "TAGS", "b"));
        CHECK(text ==
              "TAGS\x01"
              "a\x02KEYS\x01k1 k2\x02TAGS\x01"
              "b");
        CHECK(find_property(text, "TAGS") == "b");
        CHECK(find_property(text, "KEYS") == "k1 k2");
        CHECK(find_property(text, "KEY").empty());
        CHECK(without_property(text, "TAGS") == "KEYS\x01k1 k2");
        CHECK(without_property(text, "KEYS") ==
              "TAGS\x01"
              "a\x02TAGS\x01"
              "b");
    }

    TEST_CASE("a trailing separator is not doubled") {
        std::string text =
            "A\x01"
            "1\x02";
        REQUIRE(append_property(text, "B", "2"));
        CHECK(text ==
              "A\x01"
              "1\x02"
              "B\x01"
              "2");
    }

    TEST_CASE("segments without name, value or separator are skipped") {
        const std::string_view text = "\x02\x01v\x02n\x01\x02junk\x02n\x01v\x01w\x02";
        int count = 0;
        for_each_property(text, [&](std::string_view name, std::string_view value) {
            ++count;
            CHECK(name == "n");
            CHECK(value == "v\x01w");
        });
        CHECK(count == 1);
    }

    TEST_CASE("unusable names and values are refused and leave the string alone") {
        std::string text =
            "A\x01"
            "1";
        CHECK_FALSE(append_property(text, "", "v"));
        CHECK_FALSE(append_property(text, "n", ""));
        CHECK_FALSE(append_property(text, "n\x01", "v"));
        CHECK_FALSE(append_property(text, "n", "v\x02"));
        CHECK(text ==
              "A\x01"
              "1");
    }

    TEST_CASE("tag hashes are Java's") {
        CHECK(tag_hash("") == 0);
        CHECK(tag_hash("TagA") == 2598919);
        CHECK(tag_hash("TagB") == 2598920);
        CHECK(tag_hash("polygenelubricants") == -2147483648LL);
        CHECK(tag_hash("\xc3\xa9") == 0xE9);
        CHECK(tag_hash("\xe2\x82\xac") == 0x20AC);
        CHECK(tag_hash("\xf0\x9f\x98\x80") == 0xD83D * 31 + 0xDE00);
        CHECK(tag_hash("\xff") == 0xFFFD);
        CHECK(tag_hash("\xe2\x82") == 0xFFFD * 31 + 0xFFFD);
    }
}

}  // namespace gantry::wire

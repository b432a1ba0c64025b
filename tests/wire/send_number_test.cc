// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/send_number.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>

namespace gantry::wire {

TEST_SUITE("wire/send_number") {
    TEST_CASE("a number is printed in hex and read back") {
        CHECK(format_send_number({0x1F, 0, 0}) == "000000000000001f.0.0");
        CHECK(format_send_number({0, 16, 255}) == "0000000000000000.10.ff");
        constexpr SendNumber kLargest{std::numeric_limits<std::uint64_t>::max(),
                                      std::numeric_limits<std::uint32_t>::max(),
                                      std::numeric_limits<std::int64_t>::max()};
        CHECK(format_send_number(kLargest).size() == kSendNumberBytesMax);
        for (const SendNumber& number : {SendNumber{}, SendNumber{7, 1, 12'345}, kLargest}) {
            const Result<SendNumber> parsed = parse_send_number(format_send_number(number));
            REQUIRE(parsed);
            CHECK(*parsed == number);
        }
    }

    TEST_CASE("other texts are refused, with the text") {
        for (const std::string text : {"",
                                       ".",
                                       "1.0.0",
                                       "000000000000001f",
                                       "000000000000001f.0",
                                       "000000000000001f..0",
                                       "000000000000001f.0.",
                                       "000000000000001g.0.0",
                                       "000000000000001f.0.0.0",
                                       "000000000000001f.-1.0",
                                       "000000000000001f.0.-1",
                                       "000000000000001f.100000000.0",
                                       "000000000000001f.0.8000000000000000",
                                       "000000000000001f.0.0 "}) {
            CAPTURE(text);
            const Result<SendNumber> parsed = parse_send_number(text);
            REQUIRE_FALSE(parsed);
            CHECK(parsed.error().code == Errc::kRefused);
            CHECK(parsed.error().detail.find('"' + text + '"') != std::string::npos);
        }
    }
}

}  // namespace gantry::wire

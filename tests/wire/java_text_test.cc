// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/java_text.h"

#include "protocol/wire/codec/utf8.h"

#include <doctest/doctest.h>

#include <limits>

namespace gantry::wire {
namespace {

std::string java(double value) {
    std::string text;
    append_java_double(text, value);
    return text;
}

}  // namespace

TEST_SUITE("wire/java_text") {
    TEST_CASE("doubles are written as Double.toString writes them") {
        CHECK(java(0) == "0.0");
        CHECK(java(-0.0) == "-0.0");
        CHECK(java(0.5) == "0.5");
        CHECK(java(10) == "10.0");
        CHECK(java(123456.75) == "123456.75");
        CHECK(java(9999999) == "9999999.0");
        CHECK(java(1e7) == "1.0E7");
        CHECK(java(1.5e10) == "1.5E10");
        CHECK(java(0.001) == "0.001");
        CHECK(java(0.00099) == "9.9E-4");
        CHECK(java(-2.5) == "-2.5");
        CHECK(java(std::numeric_limits<double>::infinity()) == "Infinity");
        CHECK(java(std::numeric_limits<double>::quiet_NaN()) == "NaN");
    }

    TEST_CASE("numbers are read as Java reads them") {
        CHECK(parse_java_int32("-2147483648") == std::numeric_limits<std::int32_t>::min());
        CHECK(parse_java_int32("+1") == 1);
        for (const char* const bad :
             {"", "+", "-", "+-1", "1.0", " 1", "1 ", "2147483648", "0x1"}) {
            CAPTURE(bad);
            CHECK_FALSE(parse_java_int32(bad));
        }
        CHECK(parse_java_int64("-9223372036854775808") == std::numeric_limits<std::int64_t>::min());
        CHECK(parse_java_double(" 1.5e3d ") == 1500.0);
        CHECK_FALSE(parse_java_double("1,5"));
        CHECK_FALSE(parse_java_double(""));
        CHECK(parse_java_bool("TrUe"));
        CHECK_FALSE(parse_java_bool("1"));
        CHECK_FALSE(parse_java_bool("true "));
    }
}

TEST_SUITE("wire/utf8") {
    TEST_CASE("well-formed text passes, everything else does not, wherever it stands") {
        const std::string_view good[] = {"",
                                         "a",
                                         "\x7f",
                                         "\xc2\x80",
                                         "\xe0\xa0\x80",
                                         "\xed\x9f\xbf",
                                         "\xf0\x90\x80\x80",
                                         "\xf4\x8f\xbf\xbf"};
        const std::string_view bad[] = {"\x80",
                                        "\xc0\x80",
                                        "\xc1\xbf",
                                        "\xe0\x9f\xbf",
                                        "\xed\xa0\x80",
                                        "\xf0\x8f\xbf\xbf",
                                        "\xf4\x90\x80\x80",
                                        "\xf8\x88\x80\x80\x80",
                                        "\xff",
                                        "\xe2\x82",
                                        "\xc3"};
        for (std::size_t before = 0; before < 20; ++before) {
            for (const std::size_t after : {0U, 1U, 7U, 8U, 9U}) {
                for (const std::string_view text : good) {
                    CHECK(is_utf8(std::string(before, 'x').append(text).append(after, 'y')));
                }
                for (const std::string_view text : bad) {
                    CHECK_FALSE(is_utf8(std::string(before, 'x').append(text).append(after, 'y')));
                }
            }
        }
    }
}

}  // namespace gantry::wire

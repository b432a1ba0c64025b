// SPDX-License-Identifier: Apache-2.0
#include "filter/sql_value.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

namespace gantry::filter {

TEST_SUITE_BEGIN("filter/sql_value");

TEST_CASE("numbers as long as a property can be are read to the end") {
    const std::string nines(32'000, '9');
    CHECK(parse_real(nines) == std::numeric_limits<double>::infinity());
    CHECK(parse_real("-" + nines) == -std::numeric_limits<double>::infinity());
    CHECK(parse_real("0." + nines) == 1.0);
    CHECK(parse_real("0." + std::string(32'000, '0') + "1") == 0.0);
    CHECK(parse_real(std::string(32'000, '0') + "1.5") == 1.5);
    CHECK(parse_real("1e" + nines) == std::numeric_limits<double>::infinity());
    CHECK(parse_real("1e-" + nines) == 0.0);
    CHECK(parse_real("0." + std::string(400, '0') + "1e401") == 1.0);
    CHECK_FALSE(parse_whole(nines, -1, std::numeric_limits<std::int64_t>::max()));
    CHECK(parse_whole(std::string(100, '0') + "7", 0, 10) == 7);
}

TEST_CASE("the smallest doubles are not taken for zero") {
    CHECK(parse_real("4.9e-324") == std::numeric_limits<double>::denorm_min());
    CHECK(parse_real("2.2250738585072014E-308") == std::numeric_limits<double>::min());
    CHECK(parse_real("1.7976931348623157e308") == std::numeric_limits<double>::max());
    CHECK(std::signbit(*parse_real("-0")));
}

TEST_CASE("what is no number in Java is none here") {
    for (const char* const text :
         {"",    " ",        "+",         "-",   ".",     "e5",       "1e",   "1e+",
          "--1", "+-1",      "1 2",       "0x",  "0x1",   "0x1p",     "0xp1", "nan",
          "NAN", "infinity", "Infinityf", "1ff", "1_000", "\xD9\xA1", "1e5.0"}) {
        INFO(text);
        CHECK_FALSE(parse_real(text));
    }
    for (const char* const text : {"1",
                                   "+1",
                                   " 1\t",
                                   "1.",
                                   ".5",
                                   "1f",
                                   "1D",
                                   "1e5d",
                                   "0x1p0",
                                   "0X1.8P-1f",
                                   "NaN",
                                   "-Infinity",
                                   "+Infinity",
                                   "-0x.8p2"}) {
        INFO(text);
        CHECK(parse_real(text));
    }
}

TEST_CASE("whole numbers keep to their width") {
    constexpr std::int64_t kMin = std::numeric_limits<std::int32_t>::min();
    constexpr std::int64_t kMax = std::numeric_limits<std::int32_t>::max();
    CHECK(parse_whole("2147483647", kMin, kMax) == kMax);
    CHECK_FALSE(parse_whole("2147483648", kMin, kMax));
    CHECK(parse_whole("-2147483648", kMin, kMax) == kMin);
    CHECK_FALSE(parse_whole("-2147483649", kMin, kMax));
    CHECK(SqlValue::of_number(kMax).kind == SqlValue::Kind::kInt32);
    CHECK(SqlValue::of_number(kMax + 1).kind == SqlValue::Kind::kInt64);
}

TEST_SUITE_END();

}  // namespace gantry::filter

// SPDX-License-Identifier: Apache-2.0
#include "filter/sql_compiler.h"
#include "filter/sql_filter.h"

#include <doctest/doctest.h>

#include <string>

namespace gantry::filter {
namespace {

std::string refusal(const std::string& expression) {
    const auto filter = SqlFilter::compile(expression);
    REQUIRE_FALSE(filter);
    CHECK(filter.error().code == Errc::kRefused);
    return filter.error().detail;
}

std::string repeated(const std::string& text, std::size_t count) {
    std::string all;
    for (std::size_t i = 0; i < count; ++i) {
        all += text;
    }
    return all;
}

}  // namespace

TEST_SUITE_BEGIN("filter/sql_refusal");

TEST_CASE("a refusal names the position, what stands there and the rule") {
    CHECK(refusal("a > 'x'") ==
          "SQL92 expression, position 5, at \"'x'\": only numbers and properties can be compared "
          "by <, <=, >, >= and BETWEEN");
    CHECK(refusal("a = ") ==
          "SQL92 expression, position 5, its end: a property, a value or a parenthesis should be "
          "here");
    CHECK(refusal("") ==
          "SQL92 expression, position 1, its end: a property, a value or a "
          "parenthesis should be here");
    CHECK(refusal("a = NULL") ==
          "SQL92 expression, position 5, at \"NULL\": nothing is equal to NULL: use IS NULL or IS "
          "NOT NULL");
    CHECK(refusal("name LIKE 'x%'") ==
          "SQL92 expression, position 6, at \"LIKE\": the expression should end here, or go on "
          "with AND, OR or an operator; LIKE, functions and arithmetic are not part of it");
    CHECK(refusal("a # 5") ==
          "SQL92 expression, position 3, at \"#\": no expression has this here");
    CHECK(refusal("a = 'x") ==
          "SQL92 expression, position 5, at \"'x\": the text has no closing quote");
    CHECK(refusal("a IN (1)") ==
          "SQL92 expression, position 7, at \"1\": a 'text' in single quotes should be here");
    CHECK(refusal("a BETWEEN 3 AND 1") ==
          "SQL92 expression, position 11, at \"3\": the lower end of BETWEEN is above the upper "
          "end");
    CHECK(refusal("a = 99999999999999999999") ==
          "SQL92 expression, position 5, at \"99999999999999999999\": the number is above "
          "9223372036854775807");
    CHECK(refusal("a = 5 AND 'x'") ==
          "SQL92 expression, position 11, at \"'x'\": a condition is needed, not a value");
    CHECK(refusal("a = '" + std::string(100, 'x')).find("\"'" + std::string(31, 'x') + "...\"") !=
          std::string::npos);
}

TEST_CASE("nesting has a limit, and up to it everything works") {
    for (const std::string& opening :
         {std::string("("), std::string("NOT "), std::string("a=1 OR (")}) {
        const auto nested = [&](std::size_t depth) {
            const bool is_closed = opening.ends_with('(');
            return repeated(opening, depth) + "a = 1" + (is_closed ? std::string(depth, ')') : "");
        };
        CHECK(SqlFilter::compile(nested(kSqlDepthMax)));
        CHECK(refusal(nested(kSqlDepthMax + 1)).find("nest 65 deep > limit 64") !=
              std::string::npos);
    }
    CHECK(refusal("a = " + repeated("- ", 65) + "1").find("limit 64") != std::string::npos);
    CHECK(refusal(repeated("(", 16'000)).find("limit 64") != std::string::npos);
}

TEST_CASE("what holds most at once fits on the stack") {
    // Each level leaves an OR, an AND and an equality undecided.
    const std::string level = "b = 1 OR a = 1 AND (c = 1) = (";
    const auto filter = SqlFilter::compile(repeated(level, kSqlDepthMax) + "a = 1" +
                                           std::string(kSqlDepthMax, ')'));
    REQUIRE(filter);
    CHECK((*filter)->evaluate("a\x01"
                              "1\x02"
                              "b\x01"
                              "0\x02"
                              "c\x01"
                              "1\x02") == Verdict::kTrue);
}

TEST_CASE("length, properties and values have limits") {
    const std::string longest = "a = '" + std::string(kSqlBytesMax - 6, 'x') + "'";
    REQUIRE(longest.size() == kSqlBytesMax);
    CHECK(SqlFilter::compile(longest));
    CHECK(refusal(longest + " ") == "SQL92 expression of 16385 B > limit 16384 B");
    const auto properties = [](int count) {
        std::string all = "p0 = 1";
        for (int i = 1; i < count; ++i) {
            all += " OR p" + std::to_string(i) + " = 1";
        }
        return all;
    };
    CHECK(SqlFilter::compile(properties(64)));
    CHECK(SqlFilter::compile(properties(64) + " OR p7 = 2"));
    CHECK(refusal(properties(65)).find("\"p64\": more different properties than the limit 64") !=
          std::string::npos);
}

TEST_CASE("long expressions are evaluated, not recursed into") {
    const auto any = SqlFilter::compile("a = 0" + repeated(" OR a = 1", 1'800));
    REQUIRE(any);
    CHECK((*any)->evaluate("a\x01"
                           "1\x02") == Verdict::kTrue);
    CHECK((*any)->evaluate("a\x01"
                           "2\x02") == Verdict::kFalse);
}

TEST_SUITE_END();

}  // namespace gantry::filter

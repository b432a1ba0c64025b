// SPDX-License-Identifier: Apache-2.0
#include "filter/sql_filter.h"

#include <doctest/doctest.h>

#include <string>

namespace gantry::filter {

TEST_SUITE_BEGIN("filter/sql_filters");

TEST_CASE("an expression is compiled once, a bad one too") {
    SqlFilters filters(true);
    const auto first = filters.get("a = 1");
    REQUIRE(first);
    CHECK(*filters.get("a = 1") == *first);
    CHECK(*filters.get("a = 2") != *first);
    CHECK(filters.compiled() == 2);
    CHECK_FALSE(filters.get("a ="));
    CHECK(filters.get("a =").error().code == Errc::kRefused);
    CHECK(filters.compiled() == 3);
}

TEST_CASE("what was not asked for longest goes first, and whoever uses it keeps it") {
    SqlFilters filters(true);
    const auto used = *filters.get("a = 0");
    const auto old = *filters.get("b = 0");
    for (std::size_t i = 1; i + 1 < SqlFilters::kKept; ++i) {
        REQUIRE(filters.get("a = " + std::to_string(i)));
    }
    CHECK(*filters.get("a = 0") == used);
    REQUIRE(filters.get("c = 0"));
    CHECK(*filters.get("a = 0") == used);
    CHECK(*filters.get("b = 0") != old);
    CHECK(old->evaluate("b\x01"
                        "0\x02") == Verdict::kTrue);
}

TEST_CASE("switched off, every expression is refused by the setting's name") {
    SqlFilters filters(false);
    const auto refused = filters.get("a = 1");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::kUnsupported);
    CHECK(refused.error().detail.find("filter.sql") != std::string::npos);
}

TEST_SUITE_END();

}  // namespace gantry::filter

// SPDX-License-Identifier: Apache-2.0
#include "filter/sql_filter.h"

#include "common/random.h"
#include "protocol/wire/properties.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace gantry::filter {
namespace {

/// A row of the table: what the expression must say of a message with the properties.
struct Row {
    std::string verdict;
    std::string properties;
    std::string expression;
    std::string rule;
};

/// "a=1|b=2" as a record stores it.
std::string stored(const std::string& text) {
    std::string properties;
    std::istringstream items(text == "-" ? "" : text);
    for (std::string item; std::getline(items, item, '|');) {
        const std::size_t middle = item.find('=');
        REQUIRE(wire::append_property(properties, item.substr(0, middle), item.substr(middle + 1)));
    }
    return properties;
}

std::vector<Row> read_table() {
    std::vector<Row> rows;
    std::ifstream file(GANTRY_SQL_TABLE);
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with('#')) {
            continue;
        }
        Row row;
        std::string rocketmq;
        std::istringstream fields(line);
        for (std::string* const field :
             {&row.verdict, &rocketmq, &row.properties, &row.expression, &row.rule}) {
            std::getline(fields, *field, '\t');
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

std::string verdict_of(const std::string& expression, const std::string& properties) {
    const auto filter = SqlFilter::compile(expression);
    if (!filter) {
        return "refused";
    }
    switch ((*filter)->evaluate(properties)) {
        case Verdict::kFalse:
            return "false";
        case Verdict::kTrue:
            return "true";
        case Verdict::kUnknown:
            return "unknown";
        case Verdict::kFailed:
            break;
    }
    return "failed";
}

std::uint64_t seed_of_this_run() {
    const char* const given = std::getenv("GANTRY_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : 20'261'121;
}

}  // namespace

TEST_SUITE_BEGIN("filter/sql_filter");

TEST_CASE("the table of expressions: values, types and NULLs") {
    const std::vector<Row> rows = read_table();
    REQUIRE(rows.size() >= 300);
    for (const Row& row : rows) {
        INFO(row.expression, " of ", row.properties, ": ", row.rule);
        REQUIRE_FALSE(row.rule.empty());
        CHECK(verdict_of(row.expression, stored(row.properties)) == row.verdict);
    }
}

TEST_CASE("of a property that is there twice the later one counts") {
    const std::string twice =
        "a\x01"
        "1\x02"
        "a\x01"
        "2\x02";
    CHECK(verdict_of("a = 2", twice) == "true");
    CHECK(verdict_of("a = 1", twice) == "false");
}

TEST_CASE("a name is not found within another name or a value") {
    const std::string properties = stored("ab=1|b=x a=9|ba=2");
    CHECK(verdict_of("a IS NULL", properties) == "true");
    CHECK(verdict_of("ab = 1 AND ba = 2", properties) == "true");
}

TEST_CASE("property bytes that are none give NULLs, not a crash") {
    const std::string zero(1, '\0');
    for (const std::string& bytes : {std::string("\x01"),
                                     std::string("\x02\x02\x01\x01\x02"),
                                     std::string("a"),
                                     std::string("a\x01"),
                                     std::string("\x01"
                                                 "1\x02"),
                                     zero}) {
        CHECK(verdict_of("a = 1", bytes) == "unknown");
        CHECK(verdict_of("a IS NULL", bytes) == "true");
    }
    CHECK(verdict_of("a = 'x'", "a\x01x") == "true");
    CHECK(verdict_of("a CONTAINS 'y'", "a\x01x" + zero + "y\x02") == "true");
}

TEST_CASE("a filter says the same of random messages as the rules of each part of it") {
    const std::uint64_t seed = seed_of_this_run();
    MESSAGE("GANTRY_TEST_SEED=", seed);
    Random random(seed);
    const auto filter = SqlFilter::compile(
        "(n BETWEEN 10 AND 20 OR kind IN ('a', 'b')) AND NOT (flag = TRUE) AND name STARTSWITH "
        "'x'");
    REQUIRE(filter);
    int matches = 0;
    for (int i = 0; i < 2'000; ++i) {
        const auto n = static_cast<int>(random.below(40));
        const std::string kind(1, static_cast<char>('a' + random.below(4)));
        const bool flag = random.below(2) == 0;
        const std::string name = random.below(2) == 0 ? "xyz" : "zyx";
        std::string text = "n=" + std::to_string(n) + "|kind=" + kind + "|name=" + name;
        text += flag ? "|flag=true" : "|flag=no";
        const bool wanted = ((n >= 10 && n <= 20) || kind < "c") && !flag && name == "xyz";
        INFO(text);
        REQUIRE(((*filter)->evaluate(stored(text)) == Verdict::kTrue) == wanted);
        matches += wanted ? 1 : 0;
    }
    CHECK(matches > 100);
}

TEST_SUITE_END();

}  // namespace gantry::filter

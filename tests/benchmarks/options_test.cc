// SPDX-License-Identifier: Apache-2.0
#include "bench/options.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace gantry;
using namespace gantry::bench;

namespace {

Result<Options> parse(std::vector<std::string> words) {
    words.insert(words.begin(), "gantry-bench");
    std::vector<char*> argv;
    for (std::string& word : words) {
        argv.push_back(word.data());
    }
    return parse_options(static_cast<int>(argv.size()), argv.data());
}

}  // namespace

TEST_SUITE("bench/options") {
    TEST_CASE("what is given is taken") {
        const auto options = parse(
            {"e2e", "--messages", "7", "--size", "64", "-o", "json", "-n", "a:1", "-n", "b:2"});
        REQUIRE(options);
        CHECK(options->command == "e2e");
        CHECK(options->messages == 7);
        CHECK(options->size_bytes == 64);
        CHECK(options->json);
        CHECK(options->nameservers == std::vector<std::string>{"a:1", "b:2"});
    }

    TEST_CASE("many topics are told apart by a number behind the name, one is named as given") {
        const auto many = parse({"produce", "--topic", "orders", "--topics", "3"});
        REQUIRE(many);
        CHECK(topic_name(*many, 2) == "orders-2");
        const auto one = parse({"produce", "--topic", "orders"});
        REQUIRE(one);
        CHECK(topic_name(*one, 0) == "orders");
    }

    TEST_CASE("what is out of range is refused by option, value and limit") {
        const std::vector<std::pair<std::vector<std::string>, std::string>> bad = {
            {{"consum"}, "command \"consum\" is none of produce, consume, e2e"},
            {{"produce", "--size", "31"}, "--size 31 < 32"},
            {{"produce", "--topics", "10001"}, "--topics 10001 is not in 1..10000"},
            {{"consume", "--topics", "2"}, "--topics 2 is not in 1..1"},
            {{"produce", "--producers", "0"}, "--producers 0 is not in 1..1024"},
            {{"produce", "--consumers", "65"}, "--consumers 65 is not in 1..64"},
            {{"produce", "--in-flight", "0"}, "--in-flight 0 is not in 1.."},
            {{"produce", "--messages", "0"}, "--messages 0 is not in 1.."},
            {{"produce", "-o", "yaml"}, "--output \"yaml\" is neither text nor json"},
            {{"produce", "--pop"}, "--pop is for consume and e2e"},
            {{"consume", "--pop", "--pop-messages", "0"}, "--pop-messages 0 is not in 1..65536"},
            {{"produce", "--burst", "3"}, "burst"},
            {{"produce", "--queues", "many"}, "many"},
        };
        for (const auto& [words, expected] : bad) {
            const std::string& part = expected;  // no macro of doctest may capture a binding
            CAPTURE(part);
            const auto options = parse(words);
            REQUIRE_FALSE(options);
            CHECK(options.error().code == Errc::kRefused);
            CHECK(options.error().detail.find(expected) != std::string::npos);
        }
    }
}

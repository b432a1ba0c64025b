// SPDX-License-Identifier: Apache-2.0
#include "sync/config/config.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace gantry::sync {
namespace {

constexpr const char* kClusters =
    "[clusters.a]\nnameservers = [\"127.0.0.1:1\"]\n"
    "[clusters.b]\nnameservers = [\"127.0.0.1:2\", \"127.0.0.1:3\"]\n";

std::string with_route(const std::string& more) {
    return std::string(kClusters) +
           "[[routes]]\nname = \"r\"\nfrom = \"a\"\nto = \"b\"\ntopics = [\"t*\"]\n" + more;
}

std::string error_of(const std::string& text) {
    const Result<SyncConfig> config = parse_config(text, "f.toml");
    return config ? "" : config.error().detail;
}

/// Routes from a to b and back, each with more lines.
std::string there_and_back(const std::string& there, const std::string& back) {
    return std::string(kClusters) + "[[routes]]\nname = \"r\"\nfrom = \"a\"\nto = \"b\"\n" + there +
           "\n[[routes]]\nname = \"s\"\nfrom = \"b\"\nto = \"a\"\n" + back + '\n';
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE("sync/config") {
    TEST_CASE("a route with everything") {
        const Result<SyncConfig> config =
            parse_config(with_route("exclude = [\"tmp\"]\nfilter_sql = \"a > 1\"\n"
                                    "rename = \"from-a-{topic}\"\nstart = \"2026-11-22T10:00:00\"\n"
                                    "queues = \"key\"\non_loss = \"continue\"\n"
                                    "create_topics = false\nlocal_only = true\n"
                                    "bytes_per_second = \"2MiB\"\nmessages_per_second = 500\n"
                                    "compression = \"zstd\"\ncompression_level = 3\n"
                                    "parallelism = 4\nframe_bytes = \"512KiB\"\n"
                                    "window_bytes = 1048576\npull_bytes = \"8MiB\"\n"
                                    "timeout_ms = 2000\n"),
                         "f.toml");
        REQUIRE_MESSAGE(config, (config ? "" : config.error().detail));
        CHECK(config->clusters.at("b").nameservers.size() == 2);
        REQUIRE(config->routes.size() == 1);
        const RouteConfig& route = config->routes.front();
        CHECK(route.target_of("t1") == "from-a-t1");
        CHECK(route.filter.expression() == "a > 1");
        CHECK(route.start.timestamp == 1'795'341'600'000);
        CHECK(route.queues == QueueMapping::kByKey);
        CHECK(route.on_loss == OnLoss::kContinue);
        CHECK(route.bytes_per_second == 2 << 20);
        CHECK(route.compression.method == client::Compression::Method::kZstd);
        CHECK(route.frame_bytes == 512 << 10);
        CHECK(route.local_only);
    }

    TEST_CASE("what a cluster speaks") {
        using client::Dialect;
        const auto dialect_of = [](const std::string& more) {
            const Result<SyncConfig> config =
                parse_config("[clusters.a]\nnameservers = [\"127.0.0.1:1\"]\n" + more, "f.toml");
            REQUIRE_MESSAGE(config, (config ? "" : config.error().detail));
            return config->clusters.at("a").dialect;
        };
        CHECK(dialect_of("") == Dialect::kGantry);
        CHECK(dialect_of("dialect = \"gantry\"\n") == Dialect::kGantry);
        CHECK(dialect_of("dialect = \"rocketmq\"\n") == Dialect::kRocketMq);
        CHECK(dialect_of("dialect = \"detect\"\n") == Dialect::kDetect);
        CHECK(has(error_of("[clusters.a]\nnameservers = [\"x:1\"]\ndialect = \"kafka\"\n"),
                  "f.toml:3: dialect: \"kafka\": allowed is gantry, rocketmq, detect"));
        CHECK(has(error_of("[clusters.a]\nnameservers = [\"x:1\"]\ndialect = 5\n"),
                  "f.toml:3: dialect: 5: expected a string"));
        const std::string route =
            "[[routes]]\nname = \"r\"\nfrom = \"a\"\nto = \"b\"\n"
            "topics = [\"t\"]\n";
        const std::string b = "[clusters.b]\nnameservers = [\"x:2\"]\n";
        const std::string a = "[clusters.a]\nnameservers = [\"x:1\"]\n";
        CHECK(parse_config(a + b + route, "f")->routes[0].text !=
              parse_config(a + "dialect = \"detect\"\n" + b + route, "f")->routes[0].text);
    }

    TEST_CASE("both directions are two routes") {
        const Result<SyncConfig> config = parse_config(with_route("direction = \"both\"\n"), "f");
        REQUIRE(config);
        REQUIRE(config->routes.size() == 2);
        CHECK(config->routes[1].name == "r-back");
        CHECK(config->routes[1].from == "b");
        CHECK(config->routes[1].to == "a");
    }

    TEST_CASE("which topics a route takes") {
        RouteConfig route;
        route.topics = {"order*", "%RETRY%g", "a?c"};
        route.exclude = {"*-tmp"};
        CHECK(route.takes("orders"));
        CHECK(route.takes("abc"));
        CHECK(route.takes("%RETRY%g"));
        CHECK_FALSE(route.takes("orders-tmp"));
        CHECK_FALSE(route.takes("other"));
        CHECK_FALSE(route.takes("ac"));
        route.topics = {"*"};
        CHECK_FALSE(route.takes("%RETRY%g"));
        CHECK_FALSE(route.takes("GANTRY_SYS_STATE"));
        CHECK_FALSE(route.takes("berlin_REPLY_TOPIC"));
        CHECK(fits("*a*b", "xaxxb"));
        CHECK_FALSE(fits("*a*b", "xaxx"));
        CHECK(fits("", ""));
    }

    TEST_CASE("routes that would make topics without end are refused") {
        const std::string all = "topics = [\"*\"]\n";
        const std::string error = error_of(there_and_back(all, all + "rename = \"S-{topic}\"\n"));
        CHECK_MESSAGE(has(error, "makes topics without end: x, S-x, S-S-x, ..."), error);
        CHECK(has(error_of(there_and_back(all + "rename = \"{topic}-R\"\n",
                                          all + "rename = \"S-{topic}\"\n")),
                  "without end"));
        // Four names, and no room for a fifth.
        CHECK(has(error_of(there_and_back(
                      all, all + "rename = \"" + std::string(42, 'r') + "{topic}\"\n")),
                  "without end"));
        const std::vector<std::pair<std::string, std::string>> fine = {
            {all, all},
            {all, "topics = [\"T*\"]\nrename = \"S-{topic}\"\nexclude = [\"S-*\"]\n"},
            {all + "exclude = [\"S-*\"]\n", all + "rename = \"S-{topic}\"\n"},
            {all, all + "rename = \"all\"\n"},
            {all, all + "rename = \"S-{topic}\"\ncreate_topics = false\n"},
            // Too long after three names, and after the first: few, and the broker refuses them.
            {all, all + "rename = \"" + std::string(43, 'r') + "{topic}\"\n"},
            {"topics = [\"" + std::string(127, 't') + "\"]\nrename = \"S-{topic}\"\n", all}};
        for (const auto& [there, back] : fine) {
            CHECK(error_of(there_and_back(there, back)).empty());
        }
    }

    TEST_CASE("what is wrong is named, with its line") {
        CHECK(has(error_of(with_route("colour = \"red\"\n")), "f.toml:10: colour: unknown key"));
        CHECK(
            has(error_of(with_route("queues = \"some\"\n")), "queues: \"some\": allowed is same"));
        CHECK(has(error_of(with_route("parallelism = 0\n")),
                  "parallelism: 0: allowed is an integer from 1 to 64"));
        CHECK(has(error_of(with_route("frame_bytes = \"1XB\"\n")), "frame_bytes: '1XB': allowed"));
        CHECK(
            has(error_of(with_route("bytes_per_second = -1\n")), "bytes_per_second: -1: allowed"));
        CHECK(has(error_of(with_route("create_topics = \"yes\"\n")),
                  "create_topics: 'yes': expected true or false"));
        CHECK(has(error_of(with_route("exclude = [7]\n")), "exclude: 7: expected a list"));
        CHECK(has(error_of(with_route("rename = 7\n")), "rename: 7: expected a string"));
        CHECK(has(error_of(with_route("rename = \"x{y}\"\n")), "rename"));
        CHECK(has(error_of(with_route("rename = \"a b\"\n")), "rename: \"a b\" is no topic name"));
        CHECK(has(error_of(with_route("start = \"soon\"\n")), "none of first, last"));
        CHECK(has(error_of(with_route("filter_tag = \"x\"\nfilter_sql = \"y = 1\"\n")), "one of"));
        CHECK(has(error_of(with_route("compression = \"lz4\"\ncompression_level = 19\n")),
                  "compression_level"));
        CHECK(has(error_of("[[routes]]\nname = \"r\"\nfrom = \"a\"\nto = \"b\"\n"),
                  "\"a\" is no cluster of this file; it has none"));
        CHECK(has(error_of(std::string(kClusters) + "[[routes]]\nname = \"r\"\nfrom = \"a\"\n"),
                  "to: \"\" is no cluster of this file; it has a, b"));
        const std::string ends = "from = \"a\"\nto = \"b\"\ntopics = [\"t\"]\n";
        for (const std::string& name : {std::string(), std::string("a.b"), std::string(96, 'n')}) {
            const std::string error =
                error_of(std::string(kClusters) + "[[routes]]\nname = \"" + name + "\"\n" + ends);
            CHECK_MESSAGE(has(error, "name: \"" + name + "\": allowed are letters"), error);
        }
        CHECK(has(error_of("[clusters.a]\nnameservers = [\"127.0.0.1:1\", \"here\"]\n"),
                  "f.toml:2: nameservers: address \"here\""));
        CHECK(has(error_of(with_route("direction = \"both\"\nrename = \"x-{topic}\"\n")),
                  "no rename"));
        CHECK(has(error_of("x = 1\n"), "allowed are [clusters.NAME] and [[routes]]"));
        CHECK(has(error_of("[clusters\n"), "f.toml:"));
        CHECK(has(error_of(with_route("") + "[[routes]]\nname = \"r\"\nfrom = \"b\"\nto = \"a\"\n"
                                            "topics = [\"x\"]\n"),
                  "two routes are named"));
    }
}

}  // namespace gantry::sync

// SPDX-License-Identifier: Apache-2.0
#include "nameserver/kv_store.h"

#include <doctest/doctest.h>

#include <string>

namespace gantry::nameserver {

TEST_SUITE("nameserver/kv_store") {
    TEST_CASE("entries are put, replaced, listed and removed") {
        KvStore store(1'024);
        CHECK(store.put("N", "k", "1").has_value());
        CHECK(store.put("N", "k", "2").has_value());
        CHECK(store.put("N", "l", "").has_value());
        REQUIRE(store.get("N", "k") != nullptr);
        CHECK(*store.get("N", "k") == "2");
        CHECK(store.get("N", "x") == nullptr);
        CHECK(store.get("X", "k") == nullptr);
        CHECK(store.list("N")->size() == 2);
        CHECK(store.remove("N", "k"));
        CHECK(!store.remove("N", "k"));
        CHECK(store.remove("N", "l"));
        CHECK(store.list("N") == nullptr);
    }

    TEST_CASE("what is dumped loads again, in RocketMQ's form") {
        KvStore store(1'024);
        CHECK(store.put("ORDER_TOPIC_CONFIG", "T", "broker-a:4").has_value());
        CHECK(store.put("N", "key \"q\"", "line\nbreak \xC3\xA4").has_value());
        KvStore other(1'024);
        CHECK(other.load(store.dump()).has_value());
        CHECK(*other.get("N", "key \"q\"") == "line\nbreak \xC3\xA4");
        KvStore rocketmq(1'024);
        CHECK(rocketmq.load("{\"configTable\":{\"ORDER_TOPIC_CONFIG\":{\"T\":\"broker-a:4\"}}}")
                  .has_value());
        CHECK(*rocketmq.get("ORDER_TOPIC_CONFIG", "T") == "broker-a:4");
    }

    TEST_CASE("bytes that are no UTF-8 do not stop the file from being written") {
        KvStore store(1'024);
        CHECK(store.put("N", "k", "\xFF\xFE").has_value());
        KvStore other(1'024);
        CHECK(other.load(store.dump()).has_value());
        CHECK(other.get("N", "k") != nullptr);
    }

    TEST_CASE("bad files are corrupt and say where") {
        const auto error = [](const std::string& text) {
            KvStore store(1'024);
            const Status loaded = store.load(text);
            return loaded ? "" : to_string(loaded.error());
        };
        CHECK(error("") == "corrupt: not a JSON object");
        CHECK(error("[1") == "corrupt: not a JSON object");
        CHECK(error("{}") == "corrupt: no object \"configTable\"");
        CHECK(error("{\"configTable\":{\"N\":3}}") == "corrupt: namespace \"N\" is no object");
        CHECK(error("{\"configTable\":{\"N\":{\"k\":3}}}") ==
              "corrupt: value of \"k\" in namespace \"N\" is no string");
    }

    TEST_CASE("the byte limit counts what is there and gives room back") {
        KvStore store(10);
        CHECK(to_string(store.put("", "k", "v").error()) == "refused: namespace is empty");
        CHECK(to_string(store.put("N", "", "v").error()) == "refused: key is empty");
        CHECK(store.put("N", "k", "12345678").has_value());
        CHECK(to_string(store.put("N", "l", "").error()) ==
              "refused: namespace, key and value of 2 B would make 12 B > limits.kv_bytes_max 10");
        CHECK(store.put("N", "k", "123456").has_value());
        CHECK(store.put("N", "l", "").has_value());
        CHECK(store.remove("N", "k"));
        CHECK(store.put("N", "m", "123456").has_value());
    }
}

}  // namespace gantry::nameserver

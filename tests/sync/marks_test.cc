// SPDX-License-Identifier: Apache-2.0
#include "sync/copy/marks.h"

#include "tests/sync/read_messages.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <utility>

namespace gantry::sync {
namespace {

using test::message_at;

const client::QueueId kQueue{"T", "b", 1};

std::string property_of(const client::Message& message, std::string_view name) {
    for (const auto& [key, value] : message.properties) {
        if (key == name) {
            return value;
        }
    }
    return {};
}

}  // namespace

TEST_SUITE("sync/marks") {
    TEST_CASE("a copy has all of its original, and says where it was") {
        const client::MessageView original = message_at(
            42,
            "body",
            {{"KEYS", "k1 k2"}, {"TAGS", "t"}, {"UNIQ_KEY", "U"}, {"mine", "x"}, {"GSEQ", "1"}});
        const client::CopiedMessage copied = copy_of(original, "paris", kQueue, "target");
        CHECK(copied.born_ms == 1'042);
        CHECK(copied.born_host == "10.1.2.3:4567");
        const client::Message& message = copied.message;
        CHECK(message.topic == "target");
        CHECK(message.body == "body");
        CHECK(message.tag == "t");
        CHECK(message.keys == std::vector<std::string>{"k1", "k2"});
        CHECK(message.flag == 7);
        CHECK(property_of(message, "UNIQ_KEY") == "U");
        CHECK(property_of(message, "mine") == "x");
        CHECK(property_of(message, "GSEQ").empty());
        CHECK(property_of(message, "GANTRY_ORIGIN") == "paris");
        CHECK(property_of(message, "GANTRY_HOPS") == "paris");
        CHECK(property_of(message, "GANTRY_FROM") == "T/b/1/42");
    }

    TEST_CASE("hops grow, the origin stays, and nothing goes where it has been") {
        const client::MessageView message = message_at(
            1, "x", {{"GANTRY_ORIGIN", "a"}, {"GANTRY_HOPS", "a,bb"}, {"GANTRY_FROM", "T/x/0/9"}});
        const client::CopiedMessage copied = copy_of(message, "c", kQueue, "T");
        CHECK(property_of(copied.message, "GANTRY_ORIGIN") == "a");
        CHECK(property_of(copied.message, "GANTRY_HOPS") == "a,bb,c");
        CHECK(property_of(copied.message, "GANTRY_FROM") == "T/b/1/1");
        CHECK_FALSE(may_go(message, "c", "a", false));
        CHECK_FALSE(may_go(message, "c", "bb", false));
        CHECK(may_go(message, "c", "b", false));
        CHECK(may_go(message, "c", "d", false));
        CHECK_FALSE(may_go(message, "c", "d", true));
        CHECK(may_go(message_at(1, "x"), "c", "d", true));
    }

    TEST_CASE("where a copy was read can be read again") {
        const auto from = parse_from(format_from({{"T%1", "br/oker", 12}, 345}));
        REQUIRE(from.has_value());
        CHECK(from->queue.topic == "T%1");
        CHECK(from->queue.broker == "br/oker");
        CHECK(from->queue.queue == 12);
        CHECK(from->offset == 345);
        for (const char* wrong :
             {"", "T", "T/b", "T/b/1", "T/b/1/", "T/b/x/1", "/1/2", "T/b/1/2x"}) {
            CHECK_FALSE(parse_from(wrong).has_value());
        }
    }

    TEST_CASE("a message's key") {
        CHECK(key_of(message_at(1, "x", {{"KEYS", "one two"}})) == "one");
        CHECK(key_of(message_at(1, "x", {{"KEYS", "one"}, {"__SHARDINGKEY", "s"}})) == "s");
        CHECK(key_of(message_at(1, "x")).empty());
    }

    TEST_CASE("streams differ by route, cluster and queue") {
        const std::uint64_t one = stream_of("r", "a", kQueue);
        CHECK(one == stream_of("r", "a", kQueue));
        CHECK(one != stream_of("s", "a", kQueue));
        CHECK(one != stream_of("r", "b", kQueue));
        CHECK(one != stream_of("r", "a", {"T", "b", 2}));
    }
}

}  // namespace gantry::sync

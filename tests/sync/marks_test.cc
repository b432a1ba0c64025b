// SPDX-License-Identifier: Apache-2.0
#include "sync/copy/marks.h"

#include "tests/sync/read_messages.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

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

    TEST_CASE("what a cluster between could not keep comes back") {
        const client::CopiedMessage copied =
            copy_of(message_at(42,
                               "x",
                               {{"GANTRY_BORN_HOST", "10.9.9.9:77"},
                                {"GANTRY_BORN_MS", "5000"},
                                {"GANTRY_ROUTE", "r"}}),
                    "rocket",
                    kQueue,
                    "T");
        CHECK(copied.born_host == "10.9.9.9:77");
        CHECK(copied.born_ms == 5'000);
        for (const char* gone : {"GANTRY_BORN_HOST", "GANTRY_BORN_MS", "GANTRY_ROUTE"}) {
            CHECK_MESSAGE(property_of(copied.message, gone).empty(), gone);
        }
        const client::CopiedMessage strange =
            copy_of(message_at(42, "x", {{"GANTRY_BORN_HOST", "home"}, {"GANTRY_BORN_MS", "5x"}}),
                    "rocket",
                    kQueue,
                    "T");
        CHECK(strange.born_host == "10.1.2.3:4567");
        CHECK(strange.born_ms == 1'042);
        CHECK(property_of(strange.message, "GANTRY_BORN_HOST") == "home");
        CHECK(property_of(strange.message, "GANTRY_BORN_MS") == "5x");
    }

    TEST_CASE("what a broker has acted on, or has entered, stays behind") {
        const client::CopiedMessage copied =
            copy_of(message_at(1,
                               "x",
                               {{"DELAY", "3"},
                                {"REAL_TOPIC", "T"},
                                {"REAL_QID", "1"},
                                {"TIMER_DELAY_MS", "2500"},
                                {"TIMER_DELIVER_MS", "1795341600000"},
                                {"TIMER_DELAY_SEC", "2"},
                                {"TIMER_OUT_MS", "1795341600000"},
                                {"TIMER_ENQUEUE_MS", "1"},
                                {"TIMER_DEQUEUE_MS", "2"},
                                {"TIMER_ROLL_TIMES", "1"},
                                {"TRAN_MSG", "true"},
                                {"PGROUP", "g"},
                                {"TRANSACTION_CHECK_TIMES", "1"},
                                {"__transactionId__", "A"},
                                {"WAIT", "false"},
                                {"CLUSTER", "DefaultCluster"},
                                {"MSG_REGION", "DefaultRegion"},
                                {"TRACE_ON", "true"},
                                {"INNER_MULTI_DISPATCH", "%LMQ%a"},
                                {"UNIQ_KEY", "U"},
                                {"RETRY_TOPIC", "kept"},
                                {"__SHARDINGKEY", "kept"}}),
                    "rocket",
                    kQueue,
                    "T");
        std::vector<std::string> names;
        for (const auto& [name, value] : copied.message.properties) {
            names.push_back(name);
        }
        std::sort(names.begin(), names.end());
        CHECK(names == std::vector<std::string>{"GANTRY_FROM",
                                                "GANTRY_HOPS",
                                                "GANTRY_ORIGIN",
                                                "RETRY_TOPIC",
                                                "UNIQ_KEY",
                                                "__SHARDINGKEY"});
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
        CHECK(came_from(message, "bb"));
        CHECK_FALSE(came_from(message, "a"));
        CHECK_FALSE(came_from(message_at(1, "x"), "a"));
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

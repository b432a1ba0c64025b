// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/http_get.h"
#include "tests/harness/programs.h"
#include "tests/harness/wait.h"
#include "tests/process/sync/sync_fixture.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <vector>

namespace gantry::harness {
namespace {

constexpr std::chrono::milliseconds kPatience{30'000};

/// Two sites and a daemon between them.
struct Pair {
    explicit Pair(const std::string& more, std::size_t brokers_b = 1)
        : b(brokers_b),
          sync(directory.path(),
               "sync",
               routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                         route_of("r", "a", "b", more))) {}

    TempDirectory directory;
    Site a;
    Site b;
    SyncProcess sync;
};

Result<ProgramRun> run_sync(const std::vector<std::string>& arguments) {
    return run_program(GANTRY_SYNC_EXECUTABLE, arguments);
}

}  // namespace

TEST_SUITE("process/sync") {
    TEST_CASE("a topic is made at the target and copied, with what belongs to its messages") {
        Pair pair("");
        pair.a.create("T", 4);
        pair.a.create("other", 1);
        pair.a.send("T", "m", 1'000);
        pair.sync.start();
        REQUIRE(pair.b.wait_for("T", 1'000));
        pair.a.send("T", "n", 500);  // while it runs
        REQUIRE(pair.b.wait_for("T", 1'500));
        const std::vector<Found> originals = pair.a.read("T");
        const std::vector<Found> copies = pair.b.read("T");
        check_same(originals, copies);
        std::map<std::string, const Found*> by_body;
        std::set<std::int32_t> queues;
        for (const Found& original : originals) {
            by_body[original.body] = &original;
        }
        for (const Found& copy : copies) {
            const Found& original = *by_body[copy.body];
            REQUIRE(copy.tag == original.tag);
            REQUIRE(copy.keys == original.keys);
            REQUIRE(copy.born_ms == original.born_ms);
            REQUIRE(copy.born_host == original.born_host);
            REQUIRE(copy.origin == "a");
            REQUIRE(copy.hops == "a");
            REQUIRE(copy.queue.queue == original.queue.queue);
            queues.insert(copy.queue.queue);
        }
        CHECK(queues.size() == 4);
        CHECK(pair.b.count("other") == 0);
        CHECK(pair.sync.stop() == 0);
    }

    TEST_CASE("a daemon that is started again, cleanly or not, repeats nothing") {
        Pair pair("");
        pair.a.create("T", 2);
        pair.a.send("T", "m", 500);
        pair.sync.start();
        REQUIRE(pair.b.wait_for("T", 500));
        CHECK(pair.sync.stop() == 0);
        pair.a.send("T", "n", 300);
        pair.sync.start();
        REQUIRE(pair.b.wait_for("T", 800));
        pair.sync.kill();
        pair.a.send("T", "o", 200);
        pair.sync.start();
        REQUIRE(pair.b.wait_for("T", 1'000));
        check_same(pair.a.read("T"), pair.b.read("T"));
    }

    TEST_CASE("filter, rename and key mapping") {
        Pair pair("filter_tag = \"even\"\nrename = \"copy-{topic}\"\nqueues = \"key\"", 2);
        pair.a.create("T", 3);
        pair.a.send("T", "m", 1'000);
        pair.sync.start();
        REQUIRE(pair.b.wait_for("copy-T", 500));
        std::vector<Found> originals = pair.a.read("T");
        std::erase_if(originals, [](const Found& found) { return found.tag != "even"; });
        const std::vector<Found> copies = pair.b.read("copy-T");
        check_same(originals, copies);
        std::map<std::string, std::set<std::string>> queues_of_key;
        for (const Found& copy : copies) {
            queues_of_key[copy.keys].insert(copy.queue.broker + std::to_string(copy.queue.queue));
        }
        for (const auto& [key, queues] : queues_of_key) {
            CHECK(queues.size() == 1);
        }
        pair.sync.kill();  // and again: nothing is filtered twice, or copied
        pair.sync.start();
        pair.a.send("T", "n", 100);
        REQUIRE(pair.b.wait_for("copy-T", 550));
    }

    TEST_CASE("an SQL filter, and a limit of rates") {
        Pair pair("filter_sql = \"number < 600\"\nmessages_per_second = 200");
        pair.a.create("T", 1);
        pair.a.send("T", "m", 1'000);
        const auto begin = std::chrono::steady_clock::now();
        pair.sync.start();
        REQUIRE(pair.b.wait_for("T", 600));
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        CHECK(took.count() > 1.5);  // 600 messages, of which a second's worth passes at once
    }

    TEST_CASE("check tells what is there and what is wrong") {
        Pair pair("create_topics = false");
        pair.a.create("T", 2);
        const Result<ProgramRun> missing = run_sync({"check", pair.sync.routes_file().string()});
        REQUIRE(missing);
        CHECK(missing->code == 1);
        CHECK_MESSAGE(
            missing->out.find("route r, topic T: not_found: missing in b") != std::string::npos,
            missing->out);
        pair.b.create("T", 2);
        const Result<ProgramRun> there = run_sync({"check", pair.sync.routes_file().string()});
        REQUIRE(there);
        CHECK_MESSAGE(there->code == 0, there->out);
        CHECK(there->out.find("a/T") != std::string::npos);
        CHECK(there->out.find("good: 1 route\n") != std::string::npos);
        pair.sync.set_routes(routes_of({{"a", pair.a.nameserver()}, {"b", pair.b.nameserver()}},
                                       route_of("r", "a", "b") + route_of("s", "a", "b")));
        const Result<ProgramRun> twice = run_sync({"check", pair.sync.routes_file().string()});
        REQUIRE(twice);
        CHECK(twice->code == 1);
        CHECK_MESSAGE(twice->out.find("route s, topic T: conflict: route r copies it, too") !=
                          std::string::npos,
                      twice->out);
        pair.sync.set_routes(
            routes_of({{"a", pair.a.nameserver()}, {"b", "127.0.0.1:1"}}, route_of("r", "a", "b")));
        const Result<ProgramRun> down = run_sync({"check", pair.sync.routes_file().string()});
        REQUIRE(down);
        CHECK(down->code == 1);
        CHECK_MESSAGE(
            down->out.find("route r, cluster b: gone: connect to 127.0.0.1:1") != std::string::npos,
            down->out);
    }

    TEST_CASE("status, metrics and health, routes are followed while it runs") {
        Pair pair("");
        pair.a.create("T", 2);
        pair.a.send("T", "m", 100);
        pair.sync.start();
        REQUIRE(pair.b.wait_for("T", 100));
        const std::string http = "127.0.0.1:" + std::to_string(pair.sync.http_port());
        CHECK(wait_until(kPatience, [&] {
            return metric(pair.sync.http_port(), "gantry_sync_copied_messages_total{route=\"r\"}")
                       .value_or(0) == 100;
        }));
        CHECK(metric(pair.sync.http_port(), "gantry_sync_lag_messages{route=\"r\"}").value_or(-1) ==
              0);
        CHECK(http_get(pair.sync.http_port(), "/healthz")->status == 200);
        CHECK(http_get(pair.sync.http_port(), "/readyz")->status == 200);
        const Result<ProgramRun> status = run_sync({"status", "--http", http});
        REQUIRE(status);
        CHECK(status->code == 0);
        CHECK_MESSAGE(status->out.find("T/broker-0/1") != std::string::npos, status->out);
        pair.sync.set_routes("nonsense = 1\n");
        CHECK(wait_until(
            kPatience, [&] { return http_get(pair.sync.http_port(), "/readyz")->status == 503; }));
        pair.a.send("T", "n", 100);
        REQUIRE(pair.b.wait_for("T", 200));  // the old ones go on
        pair.sync.set_routes(routes_of({{"a", pair.a.nameserver()}, {"b", pair.b.nameserver()}},
                                       route_of("s", "a", "b", "rename = \"again-{topic}\"")));
        REQUIRE(pair.b.wait_for("again-T", 200));
        pair.a.send("T", "o", 10);
        REQUIRE(pair.b.wait_for("again-T", 210));
        CHECK(pair.b.count("T") == 200);
    }
}

}  // namespace gantry::harness

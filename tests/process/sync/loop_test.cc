// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"
#include "tests/harness/build.h"
#include "tests/harness/http_get.h"
#include "tests/harness/wait.h"
#include "tests/process/sync/sync_fixture.h"

#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace gantry::harness {
namespace {

constexpr int kRate = kIsSanitized ? 300 : 1'000;

std::set<std::string> bodies_in(const Site& site) {
    std::set<std::string> bodies;
    for (const Found& found : site.read("T")) {
        CHECK_MESSAGE(bodies.insert(found.body).second, "twice: ", found.body);
    }
    return bodies;
}

/// Three clusters, each copied to the next.
struct Ring {
    Ring()
        : sync(directory.path(),
               "sync",
               routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}, {"c", c.nameserver()}},
                         route_of("ab", "a", "b", "frame_bytes = 4096") +
                             route_of("bc", "b", "c", "frame_bytes = 4096") +
                             route_of("ca", "c", "a", "frame_bytes = 4096"))) {
        for (Site* const site : {&a, &b, &c}) {
            site->create("T", 2);
        }
    }

    TempDirectory directory;
    Site a;
    Site b;
    Site c;
    SyncProcess sync;
};

/// Checks that every queue has the numbers behind each letter in ascending order.
void check_order(const Site& site) {
    std::map<std::string, std::int64_t> last;  // by queue and letter
    std::size_t disordered = 0;
    for (const Found& found : site.read("T")) {
        const std::int64_t number = std::stoll(found.body.substr(1));
        std::int64_t& before =
            last.try_emplace(found.body.substr(0, 1) + std::to_string(found.queue.queue), -1)
                .first->second;
        disordered += number <= before ? 1 : 0;
        before = number;
    }
    CHECK(disordered == 0);
}

/// Until nothing is left to copy on any of the routes.
bool wait_for_no_lag(const SyncProcess& sync, const std::vector<std::string>& routes) {
    return wait_until(std::chrono::milliseconds(30'000), [&] {
        double lag = 0;
        for (const std::string& route : routes) {
            lag += metric(sync.http_port(), "gantry_sync_lag_messages{route=\"" + route + "\"}")
                       .value_or(1);
        }
        return lag == 0;
    });
}

/// What is skipped shows that everything has been all the way round.
bool wait_for_skipped(std::uint16_t http_port, const std::string& route, double count) {
    return wait_until(std::chrono::milliseconds(30'000), [&] {
        return metric(http_port, "gantry_sync_skipped_messages_total{route=\"" + route + "\"}")
                   .value_or(0) >= count;
    });
}

}  // namespace

TEST_SUITE("process/sync_loops") {
    TEST_CASE("both ways: no message comes back, both sides have all") {
        Site a;
        Site b;
        const TempDirectory directory;
        a.create("T", 2);
        b.create("T", 2);
        SyncProcess sync(directory.path(),
                         "sync",
                         routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                                   route_of("r", "a", "b", "direction = \"both\"")));
        sync.start();
        a.send("T", "a", 300);
        b.send("T", "b", 400);
        REQUIRE(a.wait_for("T", 700));
        REQUIRE(b.wait_for("T", 700));
        CHECK(wait_for_skipped(sync.http_port(), "r", 400));
        CHECK(wait_for_skipped(sync.http_port(), "r-back", 300));
        sync.kill();
        sync.start();
        a.send("T", "aa", 10);
        REQUIRE(b.wait_for("T", 710));
        REQUIRE(a.wait_for("T", 710));
        CHECK(bodies_in(a) == bodies_in(b));
    }

    TEST_CASE("a ring of three with load everywhere and kill -9: all have all, once, in order") {
        Random random(sync_seed());
        Ring ring;
        ring.sync.start();
        Flood from_a(ring.a, "T", kRate, "a");
        Flood from_b(ring.b, "T", kRate, "b");
        Flood from_c(ring.c, "T", kRate, "c");
        for (int kill = 0; kill < 6; ++kill) {
            std::this_thread::sleep_for(  // sleeps: so come faults
                std::chrono::milliseconds(20 + random.below(300)));
            if (kill % 3 == 0) {
                Site* const sites[] = {&ring.a, &ring.b, &ring.c};
                require_ok(sites[random.below(3)]->cluster().broker().restart());
            } else {
                ring.sync.kill();
                ring.sync.start();
            }
        }
        const std::int64_t sent = from_a.end() + from_b.end() + from_c.end();
        for (const Site* const site : {&ring.a, &ring.b, &ring.c}) {
            REQUIRE(site->wait_for("T", sent));
        }
        CHECK(wait_for_no_lag(ring.sync, {"ab", "bc", "ca"}));  // what has come round is seen
        CHECK(ring.a.count("T") == sent);
        const std::set<std::string> all = bodies_in(ring.a);
        CHECK(all.size() == static_cast<std::size_t>(sent));
        CHECK(bodies_in(ring.b) == all);
        CHECK(bodies_in(ring.c) == all);
        for (const Site* const site : {&ring.a, &ring.b, &ring.c}) {
            check_order(*site);
        }
    }

    TEST_CASE("a daemon for each side of a ring: they settle as one does") {
        Ring ring;
        std::vector<std::unique_ptr<SyncProcess>> daemons;
        for (int i = 0; i < 3; ++i) {
            const std::string from(1, static_cast<char>('a' + i));
            const std::string to(1, static_cast<char>('a' + (i + 1) % 3));
            daemons.push_back(
                std::make_unique<SyncProcess>(ring.directory.path(),
                                              from + to,
                                              routes_of({{"a", ring.a.nameserver()},
                                                         {"b", ring.b.nameserver()},
                                                         {"c", ring.c.nameserver()}},
                                                        route_of(from + to, from, to))));
            daemons.back()->start();
        }
        ring.a.send("T", "a", 100);
        ring.c.send("T", "c", 50);
        for (const Site* const site : {&ring.a, &ring.b, &ring.c}) {
            REQUIRE(site->wait_for("T", 150));
        }
        CHECK(wait_for_no_lag(*daemons[0], {"ab"}));
        CHECK(wait_for_no_lag(*daemons[1], {"bc"}));
        CHECK(wait_for_no_lag(*daemons[2], {"ca"}));
        for (const Site* const site : {&ring.a, &ring.b, &ring.c}) {
            CHECK(site->count("T") == 150);
        }
    }

    TEST_CASE("a ring of three settles, and all have all") {
        Ring ring;
        Site& a = ring.a;
        Site& b = ring.b;
        Site& c = ring.c;
        const SyncProcess& sync = ring.sync;
        ring.sync.start();
        a.send("T", "a", 200);
        b.send("T", "b", 100);
        c.send("T", "c", 150);
        REQUIRE(a.wait_for("T", 450));
        REQUIRE(b.wait_for("T", 450));
        REQUIRE(c.wait_for("T", 450));
        CHECK(wait_for_skipped(sync.http_port(), "ca", 200));
        CHECK(wait_for_skipped(sync.http_port(), "ab", 100));
        CHECK(wait_for_skipped(sync.http_port(), "bc", 150));
        CHECK(a.count("T") == 450);
        CHECK(bodies_in(a) == bodies_in(b));
        CHECK(bodies_in(b) == bodies_in(c));
        for (const Found& found : b.read("T")) {
            const std::string expected = found.body[0] == 'a'   ? "a"
                                         : found.body[0] == 'c' ? "c,a"
                                                                : "";
            REQUIRE(found.hops == expected);
        }
    }
}

}  // namespace gantry::harness

// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/http_get.h"
#include "tests/harness/wait.h"
#include "tests/process/sync/sync_fixture.h"

#include <doctest/doctest.h>

#include <chrono>
#include <set>
#include <string>
#include <vector>

namespace gantry::harness {
namespace {

std::set<std::string> bodies_in(const Site& site) {
    std::set<std::string> bodies;
    for (const Found& found : site.read("T")) {
        CHECK_MESSAGE(bodies.insert(found.body).second, "twice: ", found.body);
    }
    return bodies;
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

    TEST_CASE("a ring of three settles, and all have all") {
        Site a;
        Site b;
        Site c;
        const TempDirectory directory;
        for (Site* site : {&a, &b, &c}) {
            site->create("T", 2);
        }
        SyncProcess sync(
            directory.path(),
            "sync",
            routes_of(
                {{"a", a.nameserver()}, {"b", b.nameserver()}, {"c", c.nameserver()}},
                route_of("ab", "a", "b") + route_of("bc", "b", "c") + route_of("ca", "c", "a")));
        sync.start();
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

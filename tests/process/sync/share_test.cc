// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/build.h"
#include "tests/harness/http_get.h"
#include "tests/harness/wait.h"
#include "tests/process/sync/sync_fixture.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace gantry::harness {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{30'000};

/// The daemon's queues that run.
std::size_t running(const SyncProcess& sync) {
    const Result<HttpAnswer> answer = http_get(sync.http_port(), "/api/v1/status");
    std::size_t count = 0;
    if (answer && answer->status == 200) {
        const nlohmann::json status = nlohmann::json::parse(answer->body);
        for (const nlohmann::json& route : status["routes"]) {
            for (const nlohmann::json& queue : route["queues"]) {
                count += queue["state"] == "running" ? 1 : 0;
            }
        }
    }
    return count;
}

}  // namespace

TEST_SUITE("process/sync_share") {
    TEST_CASE("two daemons share a route's queues, and one takes over from the other") {
        Site a;
        Site b;
        const TempDirectory directory;
        a.create("T", 6);
        const std::string routes = routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                                             route_of("r", "a", "b", "parallelism = 2"));
        SyncProcess first(directory.path(), "first", routes);
        SyncProcess second(directory.path(), "second", routes);
        first.start();
        second.start();
        CHECK(wait_until(kPatience, [&] {
            return running(first) >= 2 && running(second) >= 2 &&
                   running(first) + running(second) == 6;
        }));
        a.send("T", "m", 600);
        REQUIRE(b.wait_for("T", 600));
        second.kill();
        CHECK(wait_until(kPatience, [&] { return running(first) == 6; }));
        a.send("T", "n", 600);
        REQUIRE(b.wait_for("T", 1'200));
        check_same(a.read("T"), b.read("T"));
    }

    TEST_CASE("a link of 100 ms is as fast as one without delay") {
        const char* const given = std::getenv("GANTRY_TEST_MESSAGES");
        const int messages = given != nullptr ? std::atoi(given) : kIsSanitized ? 20'000 : 60'000;
        Site a;
        Site b;
        const TempDirectory directory;
        const std::vector<int> round_trips{0, 40, 100};  // ms
        a.create("T1", 4);
        std::vector<std::string> topics;
        for (const int round_trip : round_trips) {
            topics.push_back("r" + std::to_string(round_trip) + "-T1");
            b.create(topics.back(), 4);
        }
        FarView far(b, topics, 4);
        a.send("T1", std::string(1'000, 'x'), messages);
        std::map<int, double> took;
        for (const int round_trip : round_trips) {
            const std::string name = "r" + std::to_string(round_trip);
            far.link().delay(milliseconds(round_trip / 2));  // each way
            SyncProcess sync(
                directory.path(),
                name,
                routes_of({{"a", a.nameserver()}, {"b", far.nameserver()}},
                          route_of(name, "a", "b", "rename = \"" + name + "-{topic}\"")));
            sync.start();
            const auto begin = std::chrono::steady_clock::now();
            REQUIRE(b.wait_for(name + "-T1", messages));
            const std::chrono::duration<double> past = std::chrono::steady_clock::now() - begin;
            took[round_trip] = past.count();
            MESSAGE(messages << " of 1 kB, " << round_trip << " ms round trip: " << past.count()
                             << " s");
            sync.kill();
        }
        CHECK(took[100] < took[0] * 1.5 + 2);  // starting takes some round trips
    }
}

}  // namespace gantry::harness

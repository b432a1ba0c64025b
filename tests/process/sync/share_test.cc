// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/http_get.h"
#include "tests/harness/wait.h"
#include "tests/process/sync/sync_fixture.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <chrono>
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

/// Frames that the daemon has sent and that are not answered.
double in_flight(const SyncProcess& sync) {
    return metric(sync.http_port(), "gantry_sync_frames_in_flight{route=\"r\"}").value_or(0);
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

    TEST_CASE("a long link is filled: many frames are under way") {
        constexpr int kMessages = 20'000;  // 20 MB
        Site a;
        Site b;
        const TempDirectory directory;
        a.create("T", 1);
        b.create("T", 1);
        FarView far(b, {"T"}, 1);
        a.send("T", std::string(1'000, 'x'), kMessages);
        far.link().delay(milliseconds(1'000));  // each way
        SyncProcess sync(directory.path(),
                         "r",
                         routes_of({{"a", a.nameserver()}, {"b", far.nameserver()}},
                                   route_of("r", "a", "b", "frame_bytes = \"256KiB\"")));
        sync.start();
        // One at a time would take minutes.
        CHECK(wait_until(kPatience, [&] { return in_flight(sync) >= 16; }));
        far.link().delay(milliseconds(0));
        REQUIRE(b.wait_for("T", kMessages));
        check_same(a.read("T"), b.read("T"));
    }
}

}  // namespace gantry::harness

// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"
#include "tests/harness/build.h"
#include "tests/harness/http_get.h"
#include "tests/harness/wait.h"
#include "tests/process/sync/sync_fixture.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

namespace gantry::harness {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{30'000};
constexpr int kRate = kIsSanitized ? 1'500 : 4'000;

/// GANTRY_TEST_FAULTS makes a test longer.
int faults_or(int otherwise) {
    const char* const given = std::getenv("GANTRY_TEST_FAULTS");
    return given != nullptr ? std::atoi(given) : otherwise;
}

void pause(Random& random, std::uint64_t ms_max) {
    std::this_thread::sleep_for(milliseconds(20 + random.below(ms_max)));  // sleeps: so come faults
}

}  // namespace

TEST_SUITE("process/sync_faults") {
    TEST_CASE("kill -9 of the daemon at any moment: every message once, and in order") {
        Random random(sync_seed());
        Site a;
        Site b;
        const TempDirectory directory;
        a.create("T", 3);
        SyncProcess sync(directory.path(),
                         "sync",
                         routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                                   route_of("r", "a", "b", "frame_bytes = 4096")));
        sync.start();
        Flood flood(a, "T", kRate);
        for (int kill = 0; kill < faults_or(12); ++kill) {
            pause(random, 400);
            sync.kill();
            sync.start();
        }
        const std::int64_t sent = flood.end();
        REQUIRE(b.wait_for("T", sent));
        check_same(a.read("T"), b.read("T"));
    }

    TEST_CASE("kill -9 of daemon, source and target: every message once, and in order") {
        Random random(sync_seed());
        Site a;
        Site b;
        const TempDirectory directory;
        a.create("T", 3);
        SyncProcess sync(directory.path(),
                         "sync",
                         routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                                   route_of("r", "a", "b", "frame_bytes = 8192")));
        sync.start();
        Flood flood(a, "T", kRate);
        for (int kill = 0; kill < faults_or(6); ++kill) {
            pause(random, 500);
            const std::uint64_t who = random.below(3);
            if (who == 0) {
                sync.kill();
                sync.start();
            } else {
                require_ok((who == 1 ? a : b).cluster().broker().restart());
            }
        }
        const std::int64_t sent = flood.end();
        REQUIRE(b.wait_for("T", sent));
        check_same(a.read("T"), b.read("T"));
    }

    TEST_CASE("a long link that is cut and falls silent, with two daemons: every message once") {
        Random random(sync_seed());
        Site a;
        Site b;
        const TempDirectory directory;
        a.create("T", 2);
        b.create("T", 2);
        FarView far(b, {"T"}, 2);
        far.link().delay(milliseconds(20));  // each way
        const std::string routes =
            routes_of({{"a", a.nameserver()}, {"b", far.nameserver()}},
                      route_of("r", "a", "b", "frame_bytes = 4096\ntimeout_ms = 1000"));
        SyncProcess first(directory.path(), "first", routes);
        SyncProcess second(directory.path(), "second", routes);
        first.start();
        second.start();
        Flood flood(a, "T", kRate);
        for (int fault = 0; fault < faults_or(8); ++fault) {
            pause(random, 400);
            switch (random.below(4)) {
                case 0:
                    far.link().cut_once();
                    break;
                case 1:
                    far.link().drop();
                    pause(random, 300);
                    far.link().pass();
                    far.link().cut_once();
                    break;
                case 2:
                    first.kill();
                    first.start();
                    break;
                default:
                    second.kill();
                    second.start();
            }
        }
        const std::int64_t sent = flood.end();
        REQUIRE(b.wait_for("T", sent));
        check_same(a.read("T"), b.read("T"));
    }

    TEST_CASE("a target broker that is away does not hold up the others") {
        Site a;
        Site b(2);
        const TempDirectory directory;
        a.create("T", 4);
        b.create("T", 2);
        SyncProcess sync(directory.path(),
                         "sync",
                         routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                                   route_of("r", "a", "b", "timeout_ms = 500")));
        a.send("T", "m", 400);
        sync.start();
        REQUIRE(b.wait_for("T", 400));
        b.cluster().broker(1).kill();
        a.send("T", "n", 400);
        double held_up = 0;  // of the two source queues that go to it
        for (const Found& found : a.read("T")) {
            held_up += found.body[0] == 'n' && found.queue.queue >= 2 ? 1 : 0;
        }
        REQUIRE(held_up > 0);
        CHECK(wait_until(milliseconds(20'000), [&] {
            return metric(sync.http_port(), "gantry_sync_lag_messages{route=\"r\"}").value_or(0) ==
                   held_up;
        }));
        require_ok(b.cluster().broker(1).start());
        REQUIRE(b.wait_for("T", 800));
        check_same(a.read("T"), b.read("T"));
    }

    TEST_CASE("a source broker that is away is told, and found again") {
        Site a(2);
        Site b;
        const TempDirectory directory;
        a.create("T", 2);
        SyncProcess sync(
            directory.path(),
            "sync",
            routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}}, route_of("r", "a", "b")));
        sync.start();
        a.send("T", "m", 40);
        REQUIRE(b.wait_for("T", 40));
        const auto ready = [&] { return http_get(sync.http_port(), "/readyz")->status; };
        CHECK(wait_until(kPatience, [&] { return ready() == 200; }));
        a.cluster().broker(1).kill();
        CHECK(wait_until(kPatience, [&] { return ready() == 503; }));
        const std::string why = http_get(sync.http_port(), "/readyz")->body;
        CHECK_MESSAGE(why.find("route r: ") != std::string::npos, why);
        require_ok(a.cluster().broker(1).start());
        CHECK(wait_until(kPatience, [&] { return ready() == 200; }));
        a.send("T", "n", 40);
        REQUIRE(b.wait_for("T", 80));
    }
}

}  // namespace gantry::harness

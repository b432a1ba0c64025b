// SPDX-License-Identifier: Apache-2.0
#include "client/consumer.h"
#include "tests/harness/http_get.h"
#include "tests/harness/programs.h"
#include "tests/harness/wait.h"
#include "tests/process/sync/sync_fixture.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <set>
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

/// Reads on with the group from where it has committed, up to `most` messages or to the end.
std::vector<std::string> consume(const Site& site, const std::string& group, std::size_t most) {
    client::PullConsumer::Options options;
    options.group = group;
    options.start_from.kind = client::StartFrom::Kind::kFirst;
    auto consumer = client::PullConsumer::create(site.connect(), options).value();
    require_ok(consumer->assign(consumer->queues("T").value()));
    std::vector<std::string> bodies;
    for (int quiet = 0; quiet < 5 && bodies.size() < most;) {
        const auto messages = consumer->poll(milliseconds(200), most - bodies.size());
        quiet = messages.empty() ? quiet + 1 : 0;
        for (const client::MessageView& message : messages) {
            bodies.emplace_back(message.body());
        }
    }
    require_ok(consumer->commit());
    return bodies;
}

/// Sum of a group's offsets in "T".
std::int64_t committed(const Site& site, const std::string& group) {
    client::PullConsumer::Options options;
    options.group = group;
    auto consumer = client::PullConsumer::create(site.connect(), options).value();
    std::int64_t sum = 0;
    const std::vector<client::QueueId> queues = consumer->queues("T").value();
    for (const client::QueueId& queue : queues) {
        const auto offset = consumer->committed(queue);
        sum += offset ? offset->value_or(0) : 0;
    }
    return sum;
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

    TEST_CASE("a group that has read half at one site goes on at the other, and misses nothing") {
        Site a;
        Site b;
        const TempDirectory directory;
        a.create("T", 3);
        b.create("T", 3);
        SyncProcess sync(directory.path(),
                         "sync",
                         routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                                   route_of("r", "a", "b", "direction = \"both\"")));
        sync.start();
        a.send("T", "a", 600);
        b.send("T", "b", 300);
        a.send("T", "aa", 300);
        REQUIRE(a.wait_for("T", 1'200));
        REQUIRE(b.wait_for("T", 1'200));
        const std::vector<std::string> at_a = consume(a, "g", 500);
        REQUIRE(at_a.size() == 500);
        CHECK(wait_until(kPatience, [&] { return committed(b, "GANTRY_SYNC_r-back") == 1'200; }));
        const Result<ProgramRun> moved = run_program(
            GANTRY_SYNC_EXECUTABLE,
            {"translate", sync.routes_file().string(), "--route", "r", "--group", "g", "--apply"});
        REQUIRE(moved);
        REQUIRE_MESSAGE(moved->code == 0, moved->err);
        const std::vector<std::string> at_b = consume(b, "g", 2'000);
        std::set<std::string> all(at_a.begin(), at_a.end());
        const std::size_t before = all.size();
        all.insert(at_b.begin(), at_b.end());
        CHECK(before == 500);
        CHECK(all.size() == 1'200);
        MESSAGE("read twice: " << at_a.size() + at_b.size() - 1'200);
        CHECK(at_b.size() < 900);
    }

    TEST_CASE("a group's offsets follow it to the target by themselves") {
        Site a;
        Site b;
        const TempDirectory directory;
        a.create("T", 2);
        SyncProcess sync(
            directory.path(),
            "sync",
            routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                      route_of("r", "a", "b", "mirror_groups = [\"g\"]\nmirror_seconds = 1")));
        sync.start();
        a.send("T", "a", 400);
        REQUIRE(b.wait_for("T", 400));
        CHECK(consume(a, "g", 150).size() == 150);
        CHECK(wait_until(kPatience, [&] { return committed(b, "g") == 150; }));
        CHECK(consume(a, "g", 100).size() == 100);
        CHECK(wait_until(kPatience, [&] { return committed(b, "g") == 250; }));
        CHECK(consume(b, "g", 1'000).size() == 150);
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

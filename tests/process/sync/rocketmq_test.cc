// SPDX-License-Identifier: Apache-2.0
// Clusters that gantry-sync speaks RocketMQ's protocol to. They are Gantry's, which know it, too;
// tests/interop has a real one.
#include "client/consumer.h"
#include "common/random.h"
#include "tests/harness/build.h"
#include "tests/harness/http_get.h"
#include "tests/harness/programs.h"
#include "tests/harness/wait.h"
#include "tests/process/sync/sync_fixture.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{30'000};
constexpr int kRate = kIsSanitized ? 1'000 : 3'000;

/// A site spoken to as Gantry is, one as RocketMQ is, and a daemon with routes between them.
struct Mixed {
    explicit Mixed(const std::string& routes, std::size_t brokers_b = 1)
        : b(brokers_b),
          sync(directory.path(),
               "sync",
               routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}}, routes, {"b"})) {}

    TempDirectory directory;
    Site a;
    Site b;
    SyncProcess sync;
};

/// What the routes of a daemon have come to, over all their queues.
struct Progressed {
    std::size_t queues = 0;
    std::uint64_t least = 0;  ///< messages stored of the queue that has the fewest
    std::uint64_t repeats = 0;
};

Progressed progress_of(const SyncProcess& sync) {
    Progressed sum;
    const auto answer = http_get(sync.http_port(), "/api/v1/status");
    REQUIRE(answer);
    const auto status = nlohmann::json::parse(answer->body);
    for (const auto& route : status["routes"]) {
        for (const auto& queue : route["queues"]) {
            const auto messages = queue["messages"].get<std::uint64_t>();
            sum.least = sum.queues++ == 0 ? messages : std::min(sum.least, messages);
            sum.repeats += queue["repeats"].get<std::uint64_t>();
        }
    }
    return sum;
}

/// What is wrong with copies that may be there twice: the first of each counts.
struct Repeated {
    CopyFaults faults;      ///< of the first ones
    std::size_t twice = 0;  ///< others
};

Repeated compare_first(const std::vector<Found>& originals, const std::vector<Found>& copies) {
    Repeated result;
    std::set<std::string> seen;
    std::vector<Found> first;
    for (const Found& copy : copies) {
        if (seen.insert(copy.from).second) {
            first.push_back(copy);
        } else {
            ++result.twice;
        }
    }
    result.faults = compare(originals, first);
    return result;
}

/// Waits until there are copies of that many messages.
bool wait_for_all(const Site& site, const std::string& topic, std::int64_t count) {
    return wait_until(kPatience, [&] {
        if (site.count(topic) < count) {
            return false;
        }
        std::set<std::string> seen;
        for (const Found& found : site.read(topic)) {
            seen.insert(found.from);
        }
        return std::ssize(seen) >= count;
    });
}

}  // namespace

TEST_SUITE("process/sync_rocketmq") {
    TEST_CASE("there and on: messages have what belongs to them, also behind a cluster between") {
        Site a;
        Site b;
        Site c;
        const TempDirectory directory;
        SyncProcess sync(
            directory.path(),
            "sync",
            routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}, {"c", c.nameserver()}},
                      route_of("ab", "a", "b") + route_of("bc", "b", "c"),
                      {"b"}));
        a.create("T", 4);
        a.send("T", "m", 1'000);
        sync.start();
        REQUIRE(c.wait_for("T", 1'000));
        a.send("T", "n", 500);  // while it runs
        REQUIRE(c.wait_for("T", 1'500));
        const std::vector<Found> originals = a.read("T");
        const std::vector<Found> between = b.read("T");
        const std::vector<Found> copies = c.read("T");
        check_same(originals, between);
        check_same(between, copies);
        std::map<std::string, const Found*> by_body;
        for (const Found& original : originals) {
            by_body[original.body] = &original;
        }
        for (const Found& copy : between) {
            const Found& original = *by_body[copy.body];
            REQUIRE(copy.tag == original.tag);
            REQUIRE(copy.keys == original.keys);
            REQUIRE(copy.number == original.number);
            REQUIRE(copy.kept_host == original.born_host);
            REQUIRE(copy.route == "ab");
            REQUIRE(std::abs(copy.born_ms - original.born_ms) <= 1'000);  // of its batch
            REQUIRE(copy.queue.queue == original.queue.queue);
        }
        for (const Found& copy : copies) {
            const Found& original = *by_body[copy.body];
            REQUIRE(copy.tag == original.tag);
            REQUIRE(copy.keys == original.keys);
            REQUIRE(copy.number == original.number);
            REQUIRE(copy.born_host == original.born_host);
            REQUIRE(copy.born_ms == original.born_ms);
            REQUIRE(copy.kept_host.empty());
            REQUIRE(copy.route.empty());
            REQUIRE(copy.hops == "a,b");
            REQUIRE(copy.queue.queue == original.queue.queue);
        }
        CHECK(sync.stop() == 0);
    }

    TEST_CASE("a daemon that is started again, cleanly or not, goes on where it was") {
        Mixed mixed(route_of("r", "a", "b", "compression = \"zlib\""));
        mixed.a.create("T", 2);
        mixed.a.send("T", std::string(5'000, 'm'), 100);
        mixed.sync.start();
        REQUIRE(mixed.b.wait_for("T", 100));
        CHECK(mixed.sync.stop() == 0);
        mixed.a.send("T", "n", 300);
        mixed.sync.start();
        REQUIRE(mixed.b.wait_for("T", 400));
        mixed.sync.kill();
        mixed.a.send("T", "o", 200);
        mixed.sync.start();
        REQUIRE(mixed.b.wait_for("T", 600));
        check_same(mixed.a.read("T"), mixed.b.read("T"));
    }

    TEST_CASE("kill -9 of daemon and target amid copying: nothing is lost, repeats are counted") {
        Random random(sync_seed());
        Mixed mixed(route_of("r", "a", "b", "frame_bytes = 4096"));
        mixed.a.create("T", 3);
        mixed.sync.start();
        Flood flood(mixed.a, "T", kRate);
        std::uint64_t repeats = 0;
        for (int kill = 0; kill < 4; ++kill) {
            REQUIRE(wait_until(kPatience, [&] {  // what comes twice comes first
                const Progressed progressed = progress_of(mixed.sync);
                return progressed.queues == 3 && progressed.least > 100;
            }));
            std::this_thread::sleep_for(milliseconds(random.below(100)));  // sleeps: so come faults
            if (random.below(3) == 0) {
                require_ok(mixed.b.cluster().broker().restart());
            } else {
                repeats += progress_of(mixed.sync).repeats;
                mixed.sync.kill();
                mixed.sync.start();
            }
        }
        const std::int64_t sent = flood.end();
        REQUIRE(wait_for_all(mixed.b, "T", sent));
        repeats += progress_of(mixed.sync).repeats;
        const Repeated repeated = compare_first(mixed.a.read("T"), mixed.b.read("T"));
        CHECK(repeated.faults == CopyFaults{});
        CHECK(repeats >= repeated.twice);
        MESSAGE(repeated.twice << " twice, " << repeats << " counted");
    }

    TEST_CASE("kill -9 of the daemon with queues by key, from and to RocketMQ: the same") {
        Random random(sync_seed());
        Site a;
        Site b(2);
        const TempDirectory directory;
        SyncProcess sync(directory.path(),
                         "sync",
                         routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                                   route_of("r", "a", "b", "queues = \"key\"\nframe_bytes = 2048"),
                                   {"a", "b"}));
        a.create("T", 2);
        b.create("T", 2);
        a.send("T", "m", 4'000);
        sync.start();
        std::int64_t copied = 0;
        for (int kill = 0; kill < 3 && copied < 4'000; ++kill) {
            const std::int64_t before = copied;
            REQUIRE(wait_until(kPatience, [&] {
                copied = b.count("T");
                return copied > before + 300 || copied >= 4'000;
            }));
            std::this_thread::sleep_for(milliseconds(random.below(20)));  // sleeps: so come faults
            sync.kill();
            sync.start();
        }
        REQUIRE(wait_for_all(b, "T", 4'000));
        const std::vector<Found> copies = b.read("T");
        CHECK(compare_first(a.read("T"), copies).faults == CopyFaults{});
        std::map<std::string, std::set<std::string>> queues_of_key;
        for (const Found& copy : copies) {
            queues_of_key[copy.keys].insert(copy.queue.broker + std::to_string(copy.queue.queue));
        }
        for (const auto& [key, queues] : queues_of_key) {
            CHECK(queues.size() == 1);
        }
    }

    TEST_CASE("both ways: no message comes back, and two routes into one topic do not mix") {
        Mixed mixed(route_of("even", "a", "b", "filter_tag = \"even\"") +
                    route_of("odd", "a", "b", "filter_tag = \"odd\"") + route_of("r", "b", "a"));
        mixed.a.create("T", 2);
        mixed.b.create("T", 2);
        mixed.sync.start();
        mixed.a.send("T", "a", 300);
        mixed.b.send("T", "b", 400);
        REQUIRE(mixed.a.wait_for("T", 700));
        REQUIRE(mixed.b.wait_for("T", 700));
        mixed.sync.kill();
        mixed.a.send("T", "c", 100);
        mixed.b.send("T", "d", 10);
        mixed.sync.start();
        REQUIRE(mixed.a.wait_for("T", 810));
        REQUIRE(mixed.b.wait_for("T", 810));
        CHECK(wait_until(kPatience, [&] {
            return metric(mixed.sync.http_port(), "gantry_sync_lag_messages{route=\"r\"}")
                       .value_or(1) == 0;
        }));
        CHECK(mixed.a.count("T") == 810);
        CHECK(mixed.b.count("T") == 810);
    }

    TEST_CASE("a message the target refuses stops its queue, or is passed over") {
        const std::string kind = [] {
            std::string chosen = "stop";
            SUBCASE("stop") {}
            SUBCASE("continue") {
                chosen = "continue";
            }
            return chosen;
        }();
        Site a;
        Site b(1, {{"limits.message_bytes_max", "20000"}});
        const TempDirectory directory;
        SyncProcess sync(directory.path(),
                         "sync",
                         routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                                   route_of("r", "a", "b", "on_loss = \"" + kind + "\""),
                                   {"b"}));
        a.create("T", 1);
        a.send("T", "m", 50);
        a.send("T", std::string(30'000, 'x'), 1);
        a.send("T", "n", 50);
        sync.start();
        if (kind == "stop") {
            CHECK(wait_until(kPatience, [&] {
                const auto ready = http_get(sync.http_port(), "/readyz");
                return ready->status == 503 &&
                       ready->body.find("refuses the message at offset 50") != std::string::npos;
            }));
            CHECK(b.count("T") == 50);
            return;
        }
        REQUIRE(b.wait_for("T", 100));
        CHECK(wait_until(kPatience, [&] {
            return metric(sync.http_port(), "gantry_sync_lost_messages_total{route=\"r\"}")
                       .value_or(0) == 1;
        }));
    }

    TEST_CASE("check names what a RocketMQ end does not have, a dialect may be found out later") {
        auto far = std::make_unique<Site>();
        Site a;
        const TempDirectory directory;
        const std::string routes =
            "[clusters.a]\nnameservers = [\"" + a.nameserver() + "\"]\ndialect = \"rocketmq\"\n" +
            "[clusters.b]\nnameservers = [\"" + far->nameserver() + "\"]\ndialect = \"detect\"\n" +
            route_of("there", "b", "a") + route_of("back", "a", "b");
        SyncProcess sync(directory.path(), "sync", routes);
        a.create("T", 1);
        const Result<ProgramRun> checked =
            run_program(GANTRY_SYNC_EXECUTABLE, {"check", sync.routes_file().string()});
        REQUIRE(checked);
        CHECK_MESSAGE(checked->code == 0, checked->out);
        for (const char* note : {"note: route there: a refuses nothing that it has",
                                 "note: route back: a is spoken to as RocketMQ"}) {
            CHECK_MESSAGE(checked->out.find(note) != std::string::npos, checked->out);
        }
        CHECK(checked->out.find("note: route back: b") == std::string::npos);
        far->cluster().nameserver().kill();
        sync.start();
        const auto ready = http_get(sync.http_port(), "/readyz");
        REQUIRE(ready);
        CHECK(ready->status == 503);
        CHECK_MESSAGE(ready->body.find("dialect detect") != std::string::npos, ready->body);
        require_ok(far->cluster().nameserver().start());
        a.send("T", "m", 20);
        CHECK(far->wait_for("T", 20));
    }

    TEST_CASE("a group's place is found on both sides") {
        Mixed mixed(route_of("r", "a", "b") + route_of("s", "b", "a", "rename = \"S-{topic}\""));
        mixed.a.create("T", 2);
        mixed.a.send("T", "m", 400);
        mixed.sync.start();
        REQUIRE(mixed.b.wait_for("T", 400));
        REQUIRE(mixed.a.count("S-T") == 0);  // they came from there
        const auto offsets_of = [&](const Site& site, const std::string& topic, std::int64_t at) {
            client::PullConsumer::Options options;
            options.group = "g";
            auto consumer = client::PullConsumer::create(site.connect(), options).value();
            const auto queues = consumer->queues(topic);
            REQUIRE(queues);
            for (const client::QueueId& queue : *queues) {
                require_ok(consumer->commit(queue, at));
            }
        };
        offsets_of(mixed.a, "T", 70);
        const Result<ProgramRun> done = run_program(GANTRY_SYNC_EXECUTABLE,
                                                    {"translate",
                                                     mixed.sync.routes_file().string(),
                                                     "--route",
                                                     "r",
                                                     "--group",
                                                     "g",
                                                     "--apply"});
        REQUIRE(done);
        CHECK_MESSAGE(done->code == 0, done->err);
        client::PullConsumer::Options options;
        options.group = "g";
        auto consumer = client::PullConsumer::create(mixed.b.connect(), options).value();
        const auto queues = consumer->queues("T");
        REQUIRE(queues);
        for (const client::QueueId& queue : *queues) {
            CHECK(consumer->committed(queue).value() == 70);
        }
        mixed.b.create("Tb", 2);
        mixed.b.send("Tb", "m", 100);
        REQUIRE(mixed.a.wait_for("S-Tb", 100));
        offsets_of(mixed.b, "Tb", 30);
        const Result<ProgramRun> back = run_program(
            GANTRY_SYNC_EXECUTABLE,
            {"translate", mixed.sync.routes_file().string(), "--route", "s", "--group", "g"});
        REQUIRE(back);
        CHECK_MESSAGE(back->code == 0, back->err);
        CHECK_MESSAGE(std::count(back->out.begin(), back->out.end(), '\n') >= 3, back->out);
        CHECK_MESSAGE(back->out.find("30") != std::string::npos, back->out);
    }
}

}  // namespace gantry::harness

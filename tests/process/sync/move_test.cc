// SPDX-License-Identifier: Apache-2.0
#include "client/consumer.h"
#include "tests/harness/programs.h"
#include "tests/harness/wait.h"
#include "tests/process/sync/sync_fixture.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace gantry::harness {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{30'000};
constexpr std::size_t kAtOnce = 1'000;

using Offsets = std::map<client::QueueId, std::int64_t>;

std::unique_ptr<client::PullConsumer> open_consumer(const Site& site, const std::string& group) {
    client::PullConsumer::Options options;
    options.group = group;
    options.start_from.kind = client::StartFrom::Kind::kFirst;
    return client::PullConsumer::create(site.connect(), options).value();
}

/// Reads on with the group from where it has committed: as many, or, with 0, to the end.
std::vector<std::string> consume(const Site& site, const std::string& group, std::size_t count) {
    const auto consumer = open_consumer(site, group);
    const std::vector<client::QueueId> queues = consumer->queues("T").value();
    require_ok(consumer->assign(queues));
    std::vector<std::string> bodies;
    CHECK(wait_until(kPatience, [&] {
        const std::size_t most = count > 0 ? count - bodies.size() : kAtOnce;
        const auto messages = consumer->poll(milliseconds(100), most);
        for (const client::MessageView& message : messages) {
            bodies.emplace_back(message.body());
        }
        return count > 0
                   ? bodies.size() == count
                   : std::all_of(queues.begin(), queues.end(), [&](const auto& queue) {
                         return consumer->position(queue) >= consumer->max_offset(queue).value();
                     });
    }));
    require_ok(consumer->commit());
    return bodies;
}

/// A group's offsets in "T"; 0 where it has none.
Offsets committed(const Site& site, const std::string& group) {
    const auto consumer = open_consumer(site, group);
    Offsets offsets;
    const std::vector<client::QueueId> queues = consumer->queues("T").value();
    for (const client::QueueId& queue : queues) {
        const auto offset = consumer->committed(queue);
        offsets[queue] = offset ? offset->value_or(0) : 0;
    }
    return offsets;
}

std::int64_t sum_of(const Offsets& offsets) {
    std::int64_t sum = 0;
    for (const auto& [queue, offset] : offsets) {
        sum += offset;
    }
    return sum;
}

/// The ends of the queues of "T".
Offsets ends(const Site& site) {
    const auto consumer = open_consumer(site, "ends");
    Offsets offsets;
    const std::vector<client::QueueId> queues = consumer->queues("T").value();
    for (const client::QueueId& queue : queues) {
        offsets[queue] = consumer->max_offset(queue).value();
    }
    return offsets;
}

void translate(const SyncProcess& sync) {
    const Result<ProgramRun> moved = run_program(
        GANTRY_SYNC_EXECUTABLE,
        {"translate", sync.routes_file().string(), "--route", "r", "--group", "g", "--apply"});
    REQUIRE(moved);
    REQUIRE_MESSAGE(moved->code == 0, moved->err);
}

/// How many of `had` may come again in `queues`: in each what is behind the first message that was
/// not had, and what is at or above `known`, where the translation could not know better.
std::size_t repeats_max(const std::vector<Found>& messages,
                        const std::set<std::string>& had,
                        const Offsets& known) {
    Offsets from = known;
    for (const Found& message : messages) {
        if (had.count(message.body) == 0) {
            std::int64_t& first = from.at(message.queue);
            first = std::min(first, message.offset);
        }
    }
    return static_cast<std::size_t>(
        std::count_if(messages.begin(), messages.end(), [&](const Found& message) {
            return had.count(message.body) != 0 && message.offset >= from.at(message.queue);
        }));
}

/// What is at b, once the way back, if there is one, has told the source's group of it.
Offsets known_ends(const Site& b, bool goes_back) {
    const Offsets known = ends(b);
    CHECK(wait_until(kPatience, [&] {
        const Offsets done = goes_back ? committed(b, "GANTRY_SYNC_r-back") : known;
        return std::all_of(known.begin(), known.end(), [&done](const auto& end) {
            return done.at(end.first) >= end.second;
        });
    }));
    return known;
}

/// A group reads at one site while messages are sent and copied, stops, and goes on at the other
/// while the rest is. The route is slower than the senders, so that some is always under way.
void move_amid_copying(const std::string& more) {
    constexpr std::size_t kReadAtA = 800;
    const bool goes_back = more.find("both") != std::string::npos;
    Site a;
    Site b;
    const TempDirectory directory;
    a.create("T", 4);
    b.create("T", 3);
    const auto routes = [&](const std::string& limit) {
        return routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                         route_of("r", "a", "b", more + limit));
    };
    SyncProcess sync(directory.path(), "sync", routes("\nmessages_per_second = 200"));
    sync.start();
    Flood flood(a, "T", 600, "a");
    std::unique_ptr<Flood> other;
    if (goes_back) {
        other = std::make_unique<Flood>(b, "T", 100, "b");
    }
    const std::vector<std::string> at_a = consume(a, "g", kReadAtA);
    REQUIRE(at_a.size() == kReadAtA);
    const Offsets known = known_ends(b, goes_back);  // what comes later is under way
    translate(sync);
    const std::int64_t total = flood.end() + (other ? other->end() : 0);
    const std::int64_t translated = sum_of(committed(b, "g"));
    std::vector<std::string> at_b = consume(b, "g", 100);  // amid copying
    sync.set_routes(routes(""));
    REQUIRE(b.wait_for("T", total));
    const std::vector<std::string> rest = consume(b, "g", 0);
    at_b.insert(at_b.end(), rest.begin(), rest.end());

    const std::set<std::string> had(at_a.begin(), at_a.end());
    std::set<std::string> all = had;
    all.insert(at_b.begin(), at_b.end());
    CHECK(static_cast<std::int64_t>(all.size()) == total);  // nothing is missed
    CHECK(had.size() == at_a.size());
    CHECK(std::set<std::string>(at_b.begin(), at_b.end()).size() == at_b.size());
    const std::size_t twice = at_a.size() + at_b.size() - all.size();
    const std::size_t most = repeats_max(b.read("T"), had, known);
    MESSAGE("read at a: " << at_a.size() << ", passed over at b: " << translated << ", read at b: "
                          << at_b.size() << ", twice: " << twice << ", under way: " << most);
    CHECK(twice <= most);
}

}  // namespace

TEST_SUITE("process/sync_move") {
    TEST_CASE("a group that has read half at one site goes on at the other, and misses nothing") {
        Site a;
        Site b;
        const TempDirectory directory;
        a.create("T", 3);
        b.create("T", 3);
        SyncProcess sync(directory.path(),
                         "sync",
                         routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                                   route_of("r", "a", "b", "direction = \"both\"") +
                                       "[[routes]]\nname = \"u\"\nfrom = \"a\"\nto = \"b\"\n"
                                       "topics = [\"U\"]\ndirection = \"both\"\n"));
        sync.start();
        a.send("T", "a", 600);
        b.send("T", "b", 300);
        a.send("T", "aa", 300);
        REQUIRE(a.wait_for("T", 1'200));
        REQUIRE(b.wait_for("T", 1'200));
        const std::vector<std::string> at_a = consume(a, "g", 500);
        REQUIRE(at_a.size() == 500);
        CHECK(wait_until(kPatience,
                         [&] { return sum_of(committed(b, "GANTRY_SYNC_r-back")) == 1'200; }));
        translate(sync);
        const std::vector<std::string> at_b = consume(b, "g", 0);
        const std::set<std::string> had(at_a.begin(), at_a.end());
        std::set<std::string> all = had;
        all.insert(at_b.begin(), at_b.end());
        CHECK(had.size() == 500);
        CHECK(all.size() == 1'200);
        // Nothing is under way: only what the queues of b have in another order comes again.
        CHECK(at_a.size() + at_b.size() - 1'200 == repeats_max(b.read("T"), had, ends(b)));
        CHECK(at_b.size() < 900);
    }

    TEST_CASE("a group moves amid sending and copying, and gets only what is under way twice") {
        move_amid_copying("");
    }

    TEST_CASE("a group moves amid copying by key, and gets only what is under way twice") {
        move_amid_copying("queues = \"key\"");
    }

    TEST_CASE("a group moves amid copying both ways, and gets only what is under way twice") {
        move_amid_copying("direction = \"both\"");
    }

    TEST_CASE("a group moves from two brokers of which it has read one, and misses nothing") {
        Site a(2);
        Site b;
        const TempDirectory directory;
        a.create("T", 2);
        b.create("T", 4);
        SyncProcess sync(directory.path(),
                         "sync",
                         routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                                   route_of("r", "a", "b", "direction = \"both\"")));
        sync.start();
        a.send("T", "a", 400);
        REQUIRE(b.wait_for("T", 400));
        CHECK(wait_until(kPatience,
                         [&] { return sum_of(committed(b, "GANTRY_SYNC_r-back")) == 400; }));
        const auto consumer = open_consumer(a, "g");
        const client::QueueId first = consumer->queues("T").value().front();
        require_ok(consumer->commit(first, 60));
        translate(sync);
        CHECK(sum_of(committed(b, "g")) == 60);
        CHECK(consume(b, "g", 0).size() == 340);
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
        CHECK(wait_until(kPatience, [&] { return sum_of(committed(b, "g")) == 150; }));
        CHECK(consume(a, "g", 100).size() == 100);
        CHECK(wait_until(kPatience, [&] { return sum_of(committed(b, "g")) == 250; }));
        CHECK(consume(b, "g", 0).size() == 150);
    }
}

}  // namespace gantry::harness

// SPDX-License-Identifier: Apache-2.0
// Checks, repairs and starts of stores whose log begins where their master's did.
#include "storage/check/store_check.h"
#include "storage/check/store_dump.h"
#include "storage/repair/store_repair.h"
#include "storage/replica/planted_mark.h"
#include "tests/storage/check/stopped_store.h"
#include "tests/storage/replica/seeded_pair.h"
#include "tests/wire/seed.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSeedBytes = 30'000;

/// How much of its leader's log a planted follower has.
enum class Fed : std::uint8_t { kNothing, kHalf, kAll };

/// A follower that was planted, got some of the log, and is closed.
struct PlantedStore : SeededPair {
    explicit PlantedStore(Random& source, Fed fed) : SeededPair(source), random(source) {
        while (leader.store->watermarks().appended - leader.store->watermarks().first <
               kSeedBytes) {
            load.step();  // so that half of it is something
        }
        load.settle();
        made = seed();
        load.steps(40);
        load.settle();
        plant(made);
        follower.open();
        if (fed == Fed::kHalf) {
            // Records of the seed's time are in both halves.
            feed(*leader.store, *follower.store, random, middle());
        } else if (fed == Fed::kAll) {
            feed(*leader.store, *follower.store, random);
        }
        stop();
    }

    LogOffset first() const { return LogOffset(made.first()); }

    LogOffset until() const { return LogOffset(made.state().logoffset()); }

    LogOffset middle() const { return first() + (until() - first()) / 2; }

    const fs::path& directory() const { return follower.options.directory; }

    void stop() {
        follower.store->replica().confirm(LogOffset(INT64_MAX));
        REQUIRE(follower.store->close());
        follower.store.reset();
    }

    /// Opens it, gives it the rest and compares everything.
    void require_same_in_the_end() {
        follower.open();
        feed(*leader.store, *follower.store, random);
        require_same_now();
        stop();
    }

    CheckReport check() {
        const auto report = check_store(*follower.posix, {.directory = directory()});
        if (!report) {
            FAIL("check: " << to_string(report.error()));
        }
        return *report;
    }

    void require_good() {
        const CheckReport report = check();
        for (const Finding& finding : report.findings) {
            FAIL_CHECK(finding.file << " at " << finding.at.value << ": " << finding.what);
        }
        REQUIRE(report.is_good);
        REQUIRE(report.first == first());
    }

    RepairPlan plan_of(RepairOptions options = {}) {
        options.directory = directory();
        Result<RepairPlan> planned = plan_repair(*follower.posix, options);
        if (!planned) {
            FAIL("plan: " << to_string(planned.error()));
        }
        return std::move(planned).value();
    }

    Errc refusal(RepairOptions options) {
        options.directory = directory();
        return code_of(plan_repair(*follower.posix, options));
    }

    void repair(RepairOptions options = {}) {
        options.directory = directory();
        const RepairPlan planned = plan_of(options);
        const auto done = apply_repair(*follower.posix, follower.clock, options, planned);
        if (!done) {
            FAIL("repair: " << to_string(done.error()));
        }
        REQUIRE(done->after.is_good);
        REQUIRE(plan_of().steps.empty());
    }

    /// Its bytes, by segment; a segment that is ready for what comes has none.
    std::map<std::string, std::string> log() const {
        std::map<std::string, std::string> all;
        for (const auto& entry : fs::directory_iterator(directory() / "commitlog")) {
            std::string bytes = StoppedStore::content_of(entry.path());
            bytes.erase(bytes.find_last_not_of('\0') + 1);
            if (!bytes.empty()) {
                all[entry.path().string()] = std::move(bytes);
            }
        }
        return all;
    }

    /// Where a frame ends, at `from` or behind.
    LogOffset frame_end(LogOffset from) const {
        LogOffset end(-1);
        DumpOptions dump;
        dump.directory = directory();
        const auto each = [&](const DumpItem& item) -> Status {
            const LogOffset behind = item.at + static_cast<std::int64_t>(item.bytes);
            const bool goes_on = (item.record->sys_flag & wire::sys_flag::kMoreFollow) != 0;
            if (end < from && behind >= from && !goes_on) {
                end = behind;
            }
            return ok();
        };
        REQUIRE(dump_store(*follower.posix, dump, each));
        REQUIRE(end >= from);
        return end;
    }

    fs::path segment(LogOffset at) const {
        const auto bytes = static_cast<std::int64_t>(follower.options.segment_bytes);
        return segment_path(directory(), at.value / bytes * bytes);
    }

    std::int64_t inside(LogOffset at) const {
        return at.value % static_cast<std::int64_t>(follower.options.segment_bytes);
    }

    void lose_indexes() const {
        fs::remove_all(directory() / "consumequeue");
        fs::remove_all(directory() / "index");
    }

    Random& random;
    wire::StoreSeed made;
};

constexpr Fed kEach[] = {Fed::kNothing, Fed::kHalf, Fed::kAll};

}  // namespace

TEST_SUITE("storage/replica/planted_store") {
    TEST_CASE("it is found good, however much of the log it has, and has nothing to repair") {
        Random random(wire::test_seed("storage/replica/planted_store"));
        for (const Fed fed : kEach) {
            CAPTURE(static_cast<int>(fed));
            PlantedStore store(random, fed);
            store.require_good();
            CHECK(store.plan_of().steps.empty());
            CHECK(store.plan_of().remaining.empty());
            if (fed == Fed::kAll) {
                CHECK(store.check().units_compared > 50);
            }
        }
    }

    TEST_CASE("planted and never opened, it is good as well") {
        Random random(wire::test_seed("storage/replica/planted_store"));
        SeededPair pair(random);
        const wire::StoreSeed seed = pair.seed();
        pair.plant(seed);
        const fs::path store = pair.follower.options.directory;
        const auto report = check_store(*pair.follower.posix, {.directory = store});
        REQUIRE(report);
        CHECK(report->is_good);
        CHECK(report->first == LogOffset(seed.first()));
        CHECK(report->end == LogOffset(seed.first()));
        const auto plan = plan_repair(*pair.follower.posix, {.directory = store});
        REQUIRE(plan);
        CHECK(plan->steps.empty());
    }

    TEST_CASE("topics that were deleted before the seed are no findings") {
        Random random(wire::test_seed("storage/replica/planted_store"));
        SeededPair pair(random);
        Queue& again = pair.leader.queue("again");
        REQUIRE(pair.leader.append(again, {{"old", "", ""}, {"older", "", ""}}));
        wire::StateRecord changes;
        changes.add_changes()->set_topicdelete("again");
        REQUIRE(pair.leader.store->state().commit(changes));
        REQUIRE(pair.leader.append(pair.leader.queue("gone"), {{"dead", "", ""}}));
        changes.mutable_changes(0)->set_topicdelete("gone");
        REQUIRE(pair.leader.store->state().commit(changes));
        pair.leader.queue("again");
        pair.load.settle();
        pair.plant(pair.seed());
        pair.follower.open();
        REQUIRE(pair.leader.append(pair.leader.queue("again"), {{"new", "", ""}}));
        feed(*pair.leader.store, *pair.follower.store, random);
        for (const bool is_rebuilt : {false, true}) {
            CAPTURE(is_rebuilt);
            pair.follower.store->replica().confirm(LogOffset(INT64_MAX));
            REQUIRE(pair.follower.store->close());
            pair.follower.store.reset();
            RepairOptions options;
            options.directory = pair.follower.options.directory;
            options.rebuilds_all = is_rebuilt;
            const auto plan = plan_repair(*pair.follower.posix, options);
            REQUIRE(plan);
            CHECK(plan->before.findings_total == 0);
            if (is_rebuilt) {
                const auto done =
                    apply_repair(*pair.follower.posix, pair.follower.clock, options, *plan);
                REQUIRE(done);
                CHECK(done->after.findings_total == 0);
            }
            pair.follower.open();
            pair.require_same_now();
        }
    }

    TEST_CASE("a rebuild of everything loses nothing that came with the plant") {
        Random random(wire::test_seed("storage/replica/planted_store"));
        for (const Fed fed : kEach) {
            CAPTURE(static_cast<int>(fed));
            PlantedStore store(random, fed);
            const auto log = store.log();
            store.repair({.rebuilds_all = true});
            CHECK(store.log() == log);
            store.require_good();
            store.require_same_in_the_end();
            store.require_good();
        }
    }

    TEST_CASE("consume queues and keys that are gone are made again, by a start and by a repair") {
        Random random(wire::test_seed("storage/replica/planted_store"));
        for (const bool is_repaired : {false, true}) {
            for (const Fed fed : kEach) {
                CAPTURE(is_repaired);
                CAPTURE(static_cast<int>(fed));
                PlantedStore store(random, fed);
                store.lose_indexes();
                if (random.below(2) == 0) {
                    fs::remove(store.directory() / "checkpoint");
                }
                if (is_repaired) {
                    CHECK(store.plan_of().steps.size() >= 2);
                    store.repair();
                }
                store.require_same_in_the_end();
                store.require_good();
            }
        }
    }

    TEST_CASE("without the state it was planted with, it is damaged, and repaired by nothing") {
        Random random(wire::test_seed("storage/replica/planted_store"));
        for (const Fed fed : kEach) {
            CAPTURE(static_cast<int>(fed));
            PlantedStore store(random, fed);
            const bool is_flipped = random.below(2) == 0;
            for (const auto& entry : fs::directory_iterator(store.directory() / "state")) {
                is_flipped ? StoppedStore::flip(entry.path(), 12)
                           : static_cast<void>(fs::remove(entry.path()));
            }
            const auto before = store.log();
            CHECK_FALSE(store.check().is_good);
            const RepairOptions options{.directory = store.directory(), .quarantines = true};
            const RepairPlan plan = store.plan_of(options);
            REQUIRE(plan.beyond_repair() != nullptr);
            CHECK(plan.beyond_repair()->what.find(std::to_string(store.until().value)) !=
                  std::string::npos);
            CHECK(
                code_of(apply_repair(*store.follower.posix, store.follower.clock, options, plan)) ==
                Errc::kCorrupt);
            CHECK(store.log() == before);
            CHECK(fs::exists(store.directory() / "checkpoint"));
            const auto opened = store.follower.try_open();
            REQUIRE(code_of(opened) == Errc::kCorrupt);
            CHECK(opened.error().detail.find("has to be planted again") != std::string::npos);
        }
    }

    TEST_CASE("without the mark of the plant as well") {
        Random random(wire::test_seed("storage/replica/planted_store"));
        PlantedStore store(random, Fed::kAll);
        StoppedStore::flip(store.directory() / "planted", 20);
        const RepairPlan plan = store.plan_of();
        REQUIRE(plan.beyond_repair() != nullptr);
        CHECK(plan.beyond_repair()->file == (store.directory() / "planted").string());
        const auto opened = store.follower.try_open();
        REQUIRE(code_of(opened) == Errc::kCorrupt);
        CHECK(opened.error().detail.find("planted") != std::string::npos);
    }

    TEST_CASE("damage in the part that came with the plant is quarantined, not cut") {
        Random random(wire::test_seed("storage/replica/planted_store"));
        PlantedStore store(random, Fed::kAll);
        StoppedStore::flip(store.segment(store.first()),
                           static_cast<std::uint64_t>(store.inside(store.first())) + 5);
        const CheckReport report = store.check();
        REQUIRE_FALSE(report.is_good);
        CHECK(store.refusal({.cuts_at_first_damage = true}) == Errc::kRefused);
        CHECK(store.refusal({.cut_at = store.first()}) == Errc::kRefused);
        store.repair({.quarantines = true});
        store.follower.open();
        CHECK(store.follower.store->watermarks().appended ==
              store.leader.store->watermarks().appended);
        CHECK(state_text(*store.follower.store) == state_text(*store.leader.store));
        store.stop();
    }

    TEST_CASE("it leads, and is opened for that, only with the log of its state") {
        Random random(wire::test_seed("storage/replica/planted_store"));
        PlantedStore store(random, Fed::kHalf);
        StoreOptions& options = store.follower.options;
        options.is_follower = false;
        const auto refused = store.follower.try_open();
        REQUIRE(code_of(refused) == Errc::kRefused);
        CHECK(refused.error().detail.find(std::to_string(store.until().value)) !=
              std::string::npos);
        options.is_follower = true;
        wire::EpochPut epoch;
        epoch.set_epoch(7);
        epoch.set_id(1);
        epoch.set_member(2);
        store.follower.open();
        const LogOffset end = store.follower.store->watermarks().appended;
        CHECK(store.follower.store->replica().may_lead().error().code == Errc::kRefused);
        CHECK(code_of(store.follower.store->replica().lead(epoch)) == Errc::kRefused);
        CHECK(store.follower.store->watermarks().appended == end);
        feed(*store.leader.store, *store.follower.store, random);
        CHECK(store.follower.store->replica().may_lead());
        CHECK(store.follower.store->replica().lead(epoch));
        store.stop();
        options.is_follower = false;
        store.follower.open();
    }

    TEST_CASE("an end of the log that is lost takes nothing of what came with the plant") {
        Random random(wire::test_seed("storage/replica/planted_store"));
        PlantedStore store(random, Fed::kHalf);
        const LogOffset end = store.check().end;
        REQUIRE(end > store.first());
        REQUIRE(end < store.until());
        // A disk that said it had synced, and had not.
        const LogOffset lost = store.frame_end(store.first() + (end - store.first()) / 2);
        REQUIRE(lost < end);
        const auto bytes = static_cast<std::int64_t>(store.follower.options.segment_bytes);
        for (LogOffset at = lost; at < end;) {
            const std::int64_t count = std::min(bytes - store.inside(at), end - at);
            overwrite(store.segment(at),
                      store.inside(at),
                      std::string(static_cast<std::size_t>(count), '\0'));
            at += count;
        }
        fs::remove_all(store.directory() / "checksum");
        store.lose_indexes();  // so that the next start looks there
        std::ofstream(store.directory() / "abort").put('\n');
        store.require_same_in_the_end();
        store.require_good();
    }
}

}  // namespace gantry::storage

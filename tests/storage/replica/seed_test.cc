// SPDX-License-Identifier: Apache-2.0
// Followers of leaders whose first segments are deleted.
#include "storage/replica/seed.h"

#include "common/failpoint/failpoint.h"
#include "storage/replica/replica_log.h"
#include "storage/replica/store_cut.h"
#include "tests/storage/damage/killed_store.h"
#include "tests/storage/replica/leader_load.h"
#include "tests/storage/replica/same_store.h"
#include "tests/wire/seed.h"

#include <string>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

/// A leader that has deleted some of its log, and a follower to be planted.
struct Fixture {
    explicit Fixture(Random& random)
        : folder(fast_directory()),
          leader(folder.path() / "leader"),
          follower(folder.path() / "follower"),
          load(leader, random) {
        leader.options.segment_bytes = 24'000;
        leader.options.hot_bytes = 24'000;
        leader.options.retention.bytes_max = 50'000;
        leader.options.retention.check_ms = 3'600'000;
        follower.options.segment_bytes = 24'000;
        follower.options.hot_bytes = 24'000;
        follower.options.checkpoint_bytes = 10'000;
        follower.options.is_replicated = true;
        follower.options.is_follower = true;
        leader.open();
        load.opened();
        load.steps(200);
        expire();
        REQUIRE(leader.store->watermarks().first > LogOffset(0));
    }

    void expire() {
        load.settle();
        leader.store->flush_soon();
        REQUIRE(harness::wait_until(kPatience, [&] {
            return leader.store->watermarks().flushed == leader.store->watermarks().appended;
        }));
        REQUIRE(leader.store->delete_expired());
    }

    wire::StoreSeed seed() {
        REQUIRE(leader.store->replica().needs_seed());
        auto made = make_seed(*leader.store);
        REQUIRE(made);
        return std::move(made).value();
    }

    void plant(const wire::StoreSeed& made) {
        const Status planted = plant_seed(*follower.posix, follower.options, made);
        if (!planted) {
            FAIL("plant: " << to_string(planted.error()));
        }
    }

    void restart(bool is_kill) {
        if (!is_kill) {
            REQUIRE(follower.store->close());
            follower.open();
            return;
        }
        const fs::path image = folder.path() / ("image-" + std::to_string(++images));
        // A kill takes all files at one moment: no checkpoint may be made between two of them.
        const fs::path checkpoint = follower.options.directory / "checkpoint";
        const auto made = [&] {
            return read_file(*follower.posix, checkpoint, 1U << 20U).value_or(std::string());
        };
        std::string before;
        do {
            before = made();
            copy_store(follower.options.directory, image);
        } while (made() != before);
        follower.store.reset();
        follower.options.directory = image;
        follower.open();
    }

    void require_same_now() {
        follower.store->replica().confirm(LogOffset(INT64_MAX));
        require_same(*leader.store, *follower.store);
    }

    TemporaryDirectory folder;
    StoreFixture leader;
    StoreFixture follower;
    LeaderLoad load;
    int images = 0;
};

TEST_SUITE("storage/replica/seed") {
    TEST_CASE("a planted follower comes to the same, restarts included") {
        Random random(wire::test_seed("storage/replica/seed"));
        for (int i = 0; i < 5; ++i) {
            CAPTURE(i);
            Fixture f(random);
            const wire::StoreSeed seed = f.seed();
            f.load.steps(random.below(30));
            f.plant(seed);
            f.follower.open();
            REQUIRE(f.follower.store->watermarks().first == LogOffset(seed.first()));
            REQUIRE(f.follower.store->watermarks().appended == LogOffset(seed.first()));
            const LogOffset until(seed.state().logoffset());
            for (int piece = 0; piece < 6; ++piece) {
                const LogOffset from = f.follower.store->replica().received();
                const LogOffset end = piece < 4 ? until : f.leader.store->watermarks().appended;
                if (from < end) {
                    feed(*f.leader.store,
                         *f.follower.store,
                         random,
                         from + static_cast<std::int64_t>(
                                    random.below(static_cast<std::uint64_t>(end - from))));
                }
                if (random.below(2) == 0) {
                    f.follower.store->replica().confirm(LogOffset(INT64_MAX));
                }
                f.restart(random.below(2) == 0);
            }
            f.load.steps(40);
            f.load.settle();
            feed(*f.leader.store, *f.follower.store, random);
            f.require_same_now();
            f.restart(random.below(2) == 0);
            f.require_same_now();
            REQUIRE(f.follower.store->close());
            f.follower.open();
            CHECK(f.follower.recovery.was_clean);
            f.require_same_now();
        }
    }

    TEST_CASE("queues of topics that were deleted and made again begin anew") {
        Random random(3);
        Fixture f(random);
        f.load.settle();
        Queue& first = f.leader.queue("again");
        REQUIRE(f.leader.append(first, {{"old", "", ""}, {"older", "", ""}}));
        wire::StateRecord changes;
        changes.add_changes()->set_topicdelete("again");
        REQUIRE(f.leader.store->state().commit(changes));
        REQUIRE(f.leader.append(f.leader.queue("again"), {{"new", "", ""}}));
        REQUIRE(f.leader.append(f.leader.queue("gone"), {{"dead", "", ""}}));
        changes.mutable_changes(0)->set_topicdelete("gone");
        REQUIRE(f.leader.store->state().commit(changes));
        f.plant(f.seed());
        f.follower.open();
        Queue* const handle = f.follower.store->find_topic("again")->queue(0);
        feed(*f.leader.store, *f.follower.store, random);
        f.require_same_now();
        CHECK(read_bodies(*f.follower.store, *handle) == std::vector<std::string>{"new"});
        CHECK(f.follower.store->find_topic("gone") == nullptr);
        f.restart(true);
        f.require_same_now();
    }

    TEST_CASE("a stop while planting leaves an empty store that is planted again") {
        Random random(4);
        Fixture f(random);
        const wire::StoreSeed seed = f.seed();
        f.follower.open();  // an empty store that was started once
        f.follower.store.reset();
        for (const char* const site : {"replica.seed_cleared", "replica.seed_state"}) {
            CAPTURE(site);
            failpoint::Rule rule;
            rule.action = failpoint::Rule::Action::kError;
            REQUIRE(failpoint::set(site, rule));
            CHECK_FALSE(plant_seed(*f.follower.posix, f.follower.options, seed));
            failpoint::clear();
            f.follower.open();
            CHECK(f.follower.store->watermarks().appended == LogOffset(0));
            f.follower.store.reset();
        }
        f.plant(seed);
        f.plant(seed);
        f.follower.open();
        feed(*f.leader.store, *f.follower.store, random);
        f.require_same_now();
    }

    TEST_CASE("a store with a log, or of other segments, is not planted") {
        Random random(5);
        Fixture f(random);
        const wire::StoreSeed seed = f.seed();
        f.follower.options.segment_bytes = 48'000;
        CHECK(plant_seed(*f.follower.posix, f.follower.options, seed).error().code ==
              Errc::kRefused);
        f.follower.options.segment_bytes = 24'000;
        f.plant(seed);
        f.follower.open();
        CHECK(plant_seed(*f.follower.posix, f.follower.options, seed).error().code ==
              Errc::kConflict);
        feed(*f.leader.store, *f.follower.store, random);
        f.follower.store.reset();
        CHECK(plant_seed(*f.follower.posix, f.follower.options, seed).error().code ==
              Errc::kConflict);
        // Nor cut where its state does not reach.
        const LogOffset below(seed.state().logoffset() - 1);
        CHECK(code_of(cut_store(*f.follower.posix, f.follower.options, below)) == Errc::kRefused);
    }
}

}  // namespace
}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "storage/replica/replica_log.h"
#include "storage/replica/seed.h"
#include "tests/storage/damage/killed_store.h"
#include "tests/storage/replica/leader_load.h"
#include "tests/storage/replica/same_store.h"

#include <filesystem>
#include <string>
#include <utility>

namespace gantry::storage {

/// A leader that has deleted some of its log, and a follower to be planted.
struct SeededPair {
    explicit SeededPair(Random& random)
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
        const std::filesystem::path image = folder.path() / ("image-" + std::to_string(++images));
        // A kill takes all files at one moment: no checkpoint may be made between two of them.
        const std::filesystem::path checkpoint = follower.options.directory / "checkpoint";
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

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"
#include "storage/check/store_check.h"
#include "storage/index/queue_index.h"
#include "tests/harness/build.h"
#include "tests/harness/wait.h"
#include "tests/storage/crash_file_system.h"
#include "tests/storage/store_fixture.h"

#include <array>
#include <string>
#include <vector>

namespace gantry::storage {
namespace {

constexpr std::chrono::seconds kPatience{60};
constexpr int kMessages = 260;

StoreOptions deleting_options() {
    StoreOptions options = small_options({});
    options.checkpoint_bytes = 100'000;
    options.key_file_entries = 64;
    options.retention.bytes_max = 4 * kTestSegmentBytes;
    options.retention.check_ms = 3'600'000;
    options.retention.shrink_bytes = 30'000;
    return options;
}

/// A store over a file system whose power can be cut, in `directory`.
struct DeletingStore {
    explicit DeletingStore(const std::filesystem::path& directory)
        : files(directory), at(directory / "store") {
        at.options = deleting_options();
        at.options.directory = directory / "store";
        at.files = &files;
    }

    ~DeletingStore() { at.store.reset(); }

    void fill() {
        at.open();
        for (int i = 0; i < kMessages; ++i) {
            REQUIRE(at.append(at.queue("t", i % 3),
                              {{numbered_body(static_cast<std::size_t>(i), 1'000),
                                "",
                                "k" + std::to_string(i)}}));
        }
        at.store->flush_soon();
        REQUIRE(harness::wait_until(kPatience, [this] {
            const Watermarks marks = at.store->watermarks();
            return marks.flushed == marks.appended;
        }));
    }

    /// Every queue serves all its messages from its min on, and no min is stale.
    void check_serves(const std::array<std::int64_t, 3>& min_at_most) {
        const LogOffset first = at.store->watermarks().first;
        for (std::int32_t id = 0; id < 3; ++id) {
            CAPTURE(id);
            Queue& queue = at.queue("t", id);
            std::vector<std::string> expected;
            for (std::int64_t i = queue.min().value; i * 3 + id < kMessages; ++i) {
                expected.push_back(numbered_body(static_cast<std::size_t>(i * 3 + id), 1'000));
            }
            REQUIRE(read_bodies(*at.store, queue) == expected);
            REQUIRE(queue.min().value <= min_at_most[static_cast<std::size_t>(id)]);
            const auto oldest = queue.index->unit_at(queue.min());
            REQUIRE(oldest);
            REQUIRE(oldest->at >= first);
        }
        const std::string newest = "k" + std::to_string(kMessages - 1);
        REQUIRE(at.store->find_by_key({"t", newest, 0, at.clock.wall_ms()}).size() == 1);
    }

    std::array<std::int64_t, 3> mins() {
        return {at.queue("t", 0).min().value,
                at.queue("t", 1).min().value,
                at.queue("t", 2).min().value};
    }

    CrashFileSystem files;
    StoreFixture at;
};

/// What a power cut or a kill right before the nth change on the disk leaves is served, and
/// deletion goes on there. False when deletion made fewer changes.
bool check_stop_before(std::uint64_t nth, Survives survives, Random& random) {
    const TemporaryDirectory directory(fast_directory());
    DeletingStore store(directory.path());
    store.fill();
    store.files.cut_at(nth);
    REQUIRE(store.at.store->delete_expired());
    const std::array<std::int64_t, 3> mins = store.mins();
    REQUIRE(mins[0] > 10);
    const std::optional<PowerCut> cut = store.files.taken();
    if (!cut) {
        return false;
    }
    const TemporaryDirectory image(fast_directory());
    write_image(*cut, survives, random, image.path());
    DeletingStore left(image.path());
    left.at.open();
    left.check_serves(mins);
    REQUIRE(left.at.store->delete_expired());
    left.check_serves({kMessages, kMessages, kMessages});
    REQUIRE(left.mins()[0] >= mins[0]);
    REQUIRE(left.at.store->close());
    left.at.store.reset();
    const auto report = check_store(*left.at.posix, {.directory = left.at.options.directory});
    REQUIRE(report);
    for (const Finding& finding : report->findings) {
        FAIL("check: " << finding.file << ": " << finding.what);
    }
    return true;
}

TEST_SUITE("storage/retention_crash") {
    TEST_CASE("a stop at any step of a deletion leaves a store that serves what it has") {
        const char* const given = std::getenv("GANTRY_TEST_SEED");
        const std::uint64_t seed =
            given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
        MESSAGE("GANTRY_TEST_SEED=" << seed);
        CAPTURE(seed);
        Random random(seed);
        const std::uint64_t stride = harness::kIsSanitized ? 5 : 1;
        std::uint64_t steps = 0;
        bool goes_on = true;
        for (std::uint64_t nth = 1; goes_on; nth += stride) {
            CAPTURE(nth);
            for (const Survives survives :
                 {Survives::kEverything, Survives::kNothing, Survives::kRandom}) {
                CAPTURE(static_cast<int>(survives));
                goes_on = goes_on && check_stop_before(nth, survives, random);
            }
            steps = nth;
        }
        CHECK(steps > 10);
    }
}

}  // namespace
}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/check/store_check.h"
#include "storage/checkpoint.h"
#include "tests/harness/build.h"
#include "tests/harness/wait.h"
#include "tests/storage/crash_file_system.h"
#include "tests/storage/store_workload.h"

#include <algorithm>
#include <atomic>
#include <chrono>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* const given = std::getenv(name);
    return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

/// A store over a file system whose power can be cut.
struct CutStore {
    CutStore(const fs::path& directory, const StoreOptions& options)
        : files(directory), at(directory / "store") {
        at.options = options;
        at.options.directory = directory / "store";
        at.files = &files;
        files.set_durable([this] { return LogOffset(durable.load()); });
    }

    ~CutStore() { at.store.reset(); }

    /// Opens it, which must succeed.
    void open() {
        at.open();
        // A power cut leaves torn bytes, never damage.
        REQUIRE(at.recovery.lost_ranges == 0);
        REQUIRE_FALSE(files.exists(at.options.directory / "lost"));
        durable = at.store->watermarks().flushed.value;
        at.store->on_progress(
            [this, store = at.store.get()] { durable = store->watermarks().flushed.value; });
    }

    std::atomic<std::int64_t> durable{0};
    CrashFileSystem files;
    StoreFixture at;
};

/// Power cuts of stores in random states, and of what recovers from them.
class Campaign {
public:
    Campaign(Random& random, std::uint64_t images_max) : random_(random), images_max_(images_max) {}

    /// One store from its first start on.
    void run_store() {
        StoreOptions options = small_options({});
        options.segment_bytes =
            std::array<std::uint64_t, 4>{20'000, 32'768, 65'536, 196'608}[random_.below(4)];
        options.prefault_bytes = options.segment_bytes;
        options.hot_bytes = 2 * options.segment_bytes;
        options.flush = random_.below(2) == 0 ? FlushMode::kSync : FlushMode::kAsync;
        options.flush_interval_ms = 3'600'000;
        options.checkpoint_bytes = 2'000 + random_.below(40'000);
        options.key_file_entries = static_cast<std::uint32_t>(16 + random_.below(100));
        const TemporaryDirectory directory(fast_directory());
        CutStore store(directory.path(), options);
        if (random_.below(2) == 0) {
            arm(store.files, 40);
        }
        store.open();
        go_on(store, {}, 0);
    }

    bool is_done() const { return images_ >= images_max_; }

    std::uint64_t images() const { return images_; }

private:
    static constexpr int kDepthMax = 3;

    void arm(CrashFileSystem& files, std::uint64_t changes) {
        files.cut_at(1 + random_.below(changes));
    }

    /// Works with an open store, cutting its power now and then.
    void go_on(CutStore& store, LoggedEvents events, int depth) {
        StoreWorkload workload(store.at, random_, std::move(events));
        const std::uint64_t steps = random_.below(depth == 0 ? 120 : 25);
        check_taken(store, workload.events(), depth);
        for (std::uint64_t i = 0; i < steps && !is_done(); ++i) {
            if (random_.below(10) == 0) {
                arm(store.files, 12);
            }
            workload.step();
            check_taken(store, workload.events(), depth);
            if (random_.below(12) == 0) {
                check_cut(store.files.cut(), store.at.options, workload.events(), depth);
            }
        }
        if (random_.below(2) == 0) {
            arm(store.files, 20);
        }
        stop(store, workload.events());
        check_taken(store, workload.events(), depth);
    }

    void check_taken(CutStore& store, const LoggedEvents& events, int depth) {
        if (const std::optional<PowerCut> cut = store.files.taken()) {
            check_cut(*cut, store.at.options, events, depth);
        }
    }

    /// A clean stop; what it leaves is good, and starts again without a replay.
    void stop(CutStore& store, const LoggedEvents& events) {
        REQUIRE(store.at.store->close());
        store.at.store.reset();
        const auto report = check_store(*store.at.posix, {.directory = store.at.options.directory});
        REQUIRE(report);
        for (const Finding& finding : report->findings) {
            FAIL("check: " << finding.file << ": " << finding.what << " at " << finding.at.value
                           << ": " << (finding.messages.empty() ? "" : finding.messages.front()));
        }
        REQUIRE(report->is_good);
        store.open();
        REQUIRE(store.at.recovery.was_clean);
        require_expected(store.at, events);
        REQUIRE(store.at.store->close());
        store.at.store.reset();
    }

    void check_cut(const PowerCut& cut,
                   const StoreOptions& options,
                   const LoggedEvents& events,
                   int depth) {
        if (depth > kDepthMax || is_done()) {
            return;
        }
        const std::uint64_t image = ++images_;
        constexpr std::array<Survives, 6> kWays{Survives::kNothing,
                                                Survives::kEverything,
                                                Survives::kRandom,
                                                Survives::kRandom,
                                                Survives::kRandom,
                                                Survives::kRandom};
        const auto survives = kWays[random_.below(kWays.size())];
        INFO("image " << image << " depth " << depth << " survives " << static_cast<int>(survives));
        const TemporaryDirectory directory(fast_directory());
        write_image(cut, survives, random_, directory.path());
        const auto checkpoint =
            load_checkpoint(*make_posix_file_system(), directory.path() / "store/checkpoint");
        REQUIRE(checkpoint);
        CutStore store(directory.path(), options);
        if (random_.below(2) == 0) {
            arm(store.files, 25);
        }
        store.open();
        const LogOffset end = store.at.store->watermarks().appended;
        REQUIRE(end >= cut.durable);
        require_expected(store.at, events);
        LoggedEvents kept;
        std::uint64_t behind_checkpoint = 0;
        for (const LoggedEvent& event : events) {
            if (event.end <= end) {
                kept.push_back(event);
                behind_checkpoint += !*checkpoint || event.end > (*checkpoint)->at ? 1 : 0;
            }
        }
        // A power cut costs no rebuild of an index.
        REQUIRE(store.at.recovery.records_replayed <= behind_checkpoint);
        go_on(store, std::move(kept), depth + 1);
    }

    Random& random_;
    const std::uint64_t images_max_;
    std::uint64_t images_ = 0;
};

TEST_SUITE("storage/power_cut") {
    TEST_CASE("the name of a new store's directory is durable before its first message is") {
        const TemporaryDirectory directory(fast_directory());
        const TemporaryDirectory image(fast_directory());
        Random random(1);
        CutStore store(directory.path(), small_options({}));
        store.open();
        StoreWorkload workload(store.at, random, {});
        workload.put_topic("t");
        workload.append("t", 0, 100);
        workload.flush();
        write_image(store.files.cut(), Survives::kNothing, random, image.path());
        CutStore recovered(image.path(), small_options({}));
        recovered.open();
        CHECK(recovered.at.store->watermarks().appended == workload.events().back().end);
        require_expected(recovered.at, workload.events());
    }

    TEST_CASE("a disk that says synced and is not: what it lied about is lost, the rest is there") {
        const TemporaryDirectory directory(fast_directory());
        const TemporaryDirectory image(fast_directory());
        Random random(1);
        StoreOptions options = small_options({});
        options.flush = FlushMode::kSync;
        options.flush_interval_ms = 3'600'000;
        options.checkpoint_bytes = 1;
        CutStore store(directory.path(), options);
        store.open();
        StoreWorkload workload(store.at, random, {});
        workload.put_topic("t");
        workload.append("t", 0, 100);
        workload.flush();
        const LogOffset honest = workload.events().back().end;
        store.files.lie_about("commitlog");
        workload.append("t", 0, 100);
        workload.flush();
        // So that something says how far the log was durable: the checkpoint's disk is honest.
        const auto has_checkpoint_at = [&](LogOffset least) {
            const auto saved =
                load_checkpoint(*store.at.posix, store.at.options.directory / "checkpoint");
            return saved && *saved && (*saved)->at >= least;
        };
        REQUIRE(harness::wait_until(std::chrono::seconds(30), [&] {
            workload.append("t", 0, 100);
            workload.flush();
            return has_checkpoint_at(honest + 1);
        }));
        // The last one: none is half written when the power goes.
        REQUIRE(harness::wait_until(std::chrono::seconds(30), [&] {
            return has_checkpoint_at(workload.events().back().end);
        }));
        write_image(store.files.cut(), Survives::kNothing, random, image.path());
        CutStore recovered(image.path(), options);
        recovered.open();
        // The checkpoint vouches for what the log's disk never wrote: that is damage, and told.
        CHECK(recovered.at.store->watermarks().appended > honest);
        std::vector<std::string> kept;
        for (const LoggedEvent& event : workload.events()) {
            if (event.kind == LoggedEvent::Kind::kMessage && event.end <= honest) {
                kept.push_back(event.message.body);
            }
        }
        CHECK(read_bodies(*recovered.at.store, recovered.at.queue("t")) == kept);
        REQUIRE(recovered.at.append(recovered.at.queue("t"), {{"again", "", ""}}));
        recovered.at.store.reset();
        const auto report =
            check_store(*store.at.posix, {.directory = recovered.at.options.directory});
        REQUIRE(report);
        CHECK_FALSE(report->is_good);
    }

    TEST_CASE("whatever a power cut leaves, what was durable is there and nothing is half there") {
        const std::uint64_t seed = number_from_environment("GANTRY_TEST_SEED", random_seed());
        const std::uint64_t images =
            number_from_environment("GANTRY_TEST_IMAGES", harness::kIsSanitized ? 30 : 200);
        MESSAGE("GANTRY_TEST_SEED=" << seed << " GANTRY_TEST_IMAGES=" << images);
        CAPTURE(seed);
        Random random(seed);
        Campaign campaign(random, images);
        while (!campaign.is_done()) {
            campaign.run_store();
        }
        CHECK(campaign.images() == images);
    }
}

}  // namespace
}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
// Ends of logs that are cut off, and whole stores put aside, with a stop at every stage.
#include "storage/replica/store_cut.h"

#include "common/failpoint/failpoint.h"
#include "storage/checkpoint.h"
#include "tests/storage/crash_file_system.h"
#include "tests/storage/damage/killed_store.h"
#include "tests/storage/store_workload.h"
#include "tests/wire/seed.h"

#include <array>
#include <optional>
#include <string>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

/// A store with random contents, closed, and what is in it.
struct Written {
    explicit Written(Random& random, std::size_t steps = 120)
        : folder(fast_directory()), at(folder.path() / "store") {
        at.options.segment_bytes = 24'000;
        at.options.prefault_bytes = 24'000;
        at.options.checkpoint_bytes = 20'000;
        at.open();
        StoreWorkload workload(at, random, {});
        for (std::size_t i = 0; i < steps; ++i) {
            workload.step();
        }
        events = workload.events();
        end = at.store->watermarks().appended;
        REQUIRE(at.store->close());
        at.store.reset();
    }

    LogOffset some_end(Random& random) const {
        return frame_end(events.size() / 4 + random.below(events.size() * 3 / 4));
    }

    /// Of the frame of the record.
    LogOffset frame_end(std::size_t event) const {
        while (events[event].has_more) {
            ++event;
        }
        return events[event].end;
    }

    Result<StoreCut> cut(LogOffset where, FileSystem* files = nullptr) const {
        return cut_store(files != nullptr ? *files : *at.posix, at.options, where);
    }

    TemporaryDirectory folder;
    StoreFixture at;
    LoggedEvents events;
    LogOffset end;
};

/// What the workload wrote up to `end`.
LoggedEvents events_below(const LoggedEvents& events, LogOffset end) {
    LoggedEvents kept;
    for (const LoggedEvent& event : events) {
        if (event.end <= end) {
            kept.push_back(event);
        }
    }
    return kept;
}

/// Opens it: the log ends at `cut`, and goes on there with other things.
void check_cut(StoreFixture& at, const LoggedEvents& events, LogOffset cut, Random& random) {
    at.open();
    REQUIRE(at.store->watermarks().appended == cut);
    REQUIRE(at.recovery.lost_ranges == 0);
    require_expected(at, events);
    StoreWorkload more(at, random, events_below(events, cut));
    for (int i = 0; i < 20; ++i) {
        more.step();
    }
    REQUIRE(at.store->close());
    at.open();
    require_expected(at, more.events());
    at.store.reset();
}

constexpr std::array kCutSites{"replica.cut_copied",
                               "replica.cut_marks",
                               "replica.cut_snapshots",
                               "replica.cut_lost",
                               "cut.sums",
                               "cut.removed",
                               "cut.truncated",
                               "cut.allocated",
                               "cut.synced"};

TEST_SUITE("storage/replica/store_cut") {
    TEST_CASE("what is cut off never comes back, wherever the cut is") {
        Random random(wire::test_seed("storage/replica/store_cut"));
        for (int i = 0; i < 6; ++i) {
            Written store(random);
            const LogOffset where = store.some_end(random);
            CAPTURE(where.value);
            const auto cut = store.cut(where);
            REQUIRE(cut);
            // Zeros at its end are not told from what was never written.
            CHECK(cut->bytes <= static_cast<std::uint64_t>(store.end - where));
            CHECK((cut->bytes > 0) == (store.end > where));
            if (cut->bytes > 0) {
                CHECK(fs::file_size(cut->kept) == cut->bytes);
            }
            const auto again = store.cut(where);
            REQUIRE(again);
            CHECK(again->bytes == 0);
            check_cut(store.at, store.events, where, random);
        }
    }

    TEST_CASE("a stop at any stage leaves a store that opens, cut or not, and is cut again") {
        Random random(wire::test_seed("storage/replica/store_cut_stops"));
        REQUIRE(failpoint::is_built_in());
        for (const char* const site : kCutSites) {
            CAPTURE(site);
            Written store(random);
            const LogOffset where = store.frame_end(store.events.size() / 3);
            failpoint::Rule rule;
            rule.action = failpoint::Rule::Action::kError;
            REQUIRE(failpoint::set(site, rule));
            CHECK_FALSE(store.cut(where));
            failpoint::clear();
            StoreFixture image(store.folder.path() / "image");
            copy_store(store.at.options.directory, image.options.directory);
            image.options.segment_bytes = store.at.options.segment_bytes;
            image.open();
            const LogOffset end = image.store->watermarks().appended;
            CHECK(end >= where);
            CHECK(end <= store.end);
            require_expected(image, store.events);
            image.store.reset();
            REQUIRE(store.cut(where));
            check_cut(store.at, store.events, where, random);
        }
    }

    TEST_CASE("a power cut at any moment leaves a store that opens and may be cut again") {
        Random random(wire::test_seed("storage/replica/store_cut_power"));
        for (std::uint64_t nth = 1; nth < 18; nth += 2) {
            CAPTURE(nth);
            Written store(random, 60);
            const LogOffset where = store.frame_end(store.events.size() / 3);
            CrashFileSystem files(store.folder.path());
            files.set_durable([] { return LogOffset(0); });
            files.cut_at(nth);
            REQUIRE(store.cut(where, &files));
            const std::optional<PowerCut> power = files.taken();
            if (!power) {
                continue;
            }
            const TemporaryDirectory folder(fast_directory());
            write_image(*power, Survives::kRandom, random, folder.path());
            StoreFixture image(folder.path() / "store");
            image.options.segment_bytes = store.at.options.segment_bytes;
            if (random.below(2) == 0) {
                image.open();
                require_expected(image, store.events);
                image.store.reset();
            }
            REQUIRE(cut_store(*image.posix, image.options, where));
            check_cut(image, store.events, where, random);
        }
    }

    TEST_CASE("a cut behind everything changes nothing but what a start needs") {
        Random random(5);
        Written store(random, 40);
        const auto cut = store.cut(store.end);
        REQUIRE(cut);
        CHECK(cut->bytes == 0);
        CHECK(cut->kept.empty());
        check_cut(store.at, store.events, store.end, random);
    }

    TEST_CASE("a frame that is cut in two goes whole") {
        const TemporaryDirectory folder(fast_directory());
        StoreFixture at(folder.path() / "store");
        at.open();
        REQUIRE(at.append(at.queue("t"), {{"kept", "", ""}}));
        const auto frame = at.append(at.queue("t"), {{"one", "", ""}, {"two", "", ""}});
        REQUIRE(frame);
        const auto first = at.store->record_at(frame->first);
        REQUIRE(first);
        REQUIRE(at.store->close());
        at.store.reset();
        const LogOffset where = frame->first + static_cast<std::int64_t>(first->size());
        REQUIRE(where < frame->end);
        REQUIRE(cut_store(*at.posix, at.options, where));
        at.open();
        CHECK(at.store->watermarks().appended == frame->first);
        CHECK(at.recovery.lost_ranges == 0);
        REQUIRE(at.append(at.queue("t"), {{"new", "", ""}}));
        CHECK(read_bodies(*at.store, at.queue("t")) == std::vector<std::string>{"kept", "new"});
    }

    TEST_CASE("a lost end of the log goes with the cut") {
        Killed killed(30, true);
        StoreFixture at(killed.copy());
        overwrite(segment_path(at.options.directory), killed.places[20].first.value + 100, "XX");
        at.open();
        REQUIRE(at.recovery.lost_ranges == 1);
        REQUIRE(at.store->close());
        at.store.reset();
        const LogOffset where = killed.places[10].first;
        REQUIRE(cut_store(*at.posix, at.options, where));
        at.open();
        CHECK(at.store->watermarks().appended == where);
        CHECK(read_bodies(*at.store, at.queue("t")).size() == 10);
        REQUIRE(at.append(at.queue("t"), {{"new", "", ""}}));
        CHECK(read_bodies(*at.store, at.queue("t")).back() == "new");
    }

    TEST_CASE("a store that is open, or whose deleted log would be needed, is not cut") {
        const TemporaryDirectory folder(fast_directory());
        StoreFixture at(folder.path() / "store");
        at.options.retention.bytes_max = 100'000;
        at.options.retention.check_ms = 3'600'000;
        at.open();
        CHECK(code_of(cut_store(*at.posix, at.options, LogOffset(0))) == Errc::kConflict);
        Queue& queue = at.queue("t");
        std::vector<Appended> places;
        for (std::size_t i = 0; i < 200; ++i) {
            places.push_back(at.append(queue, {{numbered_body(i, 1'000), "", ""}}).value());
        }
        at.store->flush_soon();
        REQUIRE(harness::wait_until(
            kPatience, [&] { return at.store->watermarks().flushed == places.back().end; }));
        REQUIRE(at.store->delete_expired());
        const LogOffset first = at.store->watermarks().first;
        REQUIRE(first > LogOffset(0));
        REQUIRE(at.store->close());
        at.store.reset();
        CHECK(code_of(cut_store(*at.posix, at.options, LogOffset(0))) == Errc::kRefused);
        CHECK(code_of(cut_store(*at.posix, at.options, first)) == Errc::kRefused);
        at.open();
        CHECK(at.recovery.was_clean);
    }

    TEST_CASE("a store put aside leaves an empty one with another id") {
        Random random(6);
        Written store(random, 40);
        fs::create_directories(store.at.options.directory / "replica");
        std::ofstream(store.at.options.directory / "replica" / "identity") << "id";
        const auto cut = put_store_aside(*store.at.posix, store.at.options);
        REQUIRE(cut);
        CHECK(cut->kept.filename() == "all-1");
        CHECK(fs::exists(cut->kept / "replica" / "identity"));
        CHECK(fs::exists(cut->kept / "commitlog"));
        CHECK_FALSE(fs::exists(store.at.options.directory / "replica"));
        store.at.open();
        CHECK(store.at.store->watermarks().appended == LogOffset(0));
        CHECK(store.at.store->topics().empty());
        store.at.store.reset();
        StoreFixture kept(cut->kept);
        kept.options.segment_bytes = store.at.options.segment_bytes;
        kept.open();
        require_expected(kept, store.events);
    }

    TEST_CASE("a store half put aside opens, and is put aside again") {
        Random random(7);
        for (std::uint64_t nth = 1; nth <= 9; ++nth) {
            CAPTURE(nth);
            Written store(random, 30);
            failpoint::Rule rule;
            rule.action = failpoint::Rule::Action::kError;
            rule.nth = nth;
            REQUIRE(failpoint::set("replica.aside", rule));
            const auto stopped = put_store_aside(*store.at.posix, store.at.options);
            failpoint::clear();
            if (stopped) {
                break;
            }
            store.at.open();
            REQUIRE(store.at.store->close());
            store.at.store.reset();
            REQUIRE(put_store_aside(*store.at.posix, store.at.options));
            store.at.open();
            CHECK(store.at.store->watermarks().appended == LogOffset(0));
        }
    }
}

}  // namespace
}  // namespace gantry::storage

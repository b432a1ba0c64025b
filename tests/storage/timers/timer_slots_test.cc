// SPDX-License-Identifier: Apache-2.0
#include "storage/timers/timer_slots.h"

#include "common/random.h"
#include "tests/storage/store_fixture.h"
#include "tests/wire/seed.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr WallMs kNow = 1'700'000'000'000;
constexpr WallMs kYearMs = WallMs{366} * 86'400'000;

struct Fixture {
    Fixture() : slots(*files, directory.path() / "timers") { REQUIRE(slots.open(kNow)); }

    void add(WallMs due) {
        const TimerEntry timer{due, LogOffset(++count * 100), 91};
        slots.add(timer, std::max(timer.tick(), floor));
        added.push_back(timer);
    }

    /// Takes out what is due by `now`, tick by tick.
    void take(WallMs now, std::size_t at_once) {
        for (;;) {
            const auto more = slots.advance(now, 1'000);
            REQUIRE(more);
            if (!*more) {
                break;
            }
        }
        REQUIRE(slots.first_open() > now);
        while (slots.first_tick() <= now) {
            const WallMs tick = slots.first_tick();
            const auto found = slots.peek(tick, at_once);
            REQUIRE(found);
            REQUIRE_FALSE(found->empty());
            for (const TimerEntry& timer : *found) {
                CHECK(std::max(timer.tick(), floor) == tick);
                taken.push_back(timer);
            }
            slots.drop(tick, found->size());
        }
        floor = std::max(floor, now / kTimerTickMs * kTimerTickMs + kTimerTickMs);
    }

    TemporaryDirectory directory{fast_directory()};
    std::unique_ptr<FileSystem> files = make_posix_file_system();
    TimerSlots slots;
    WallMs floor = kNow;
    std::int64_t count = 0;
    std::vector<TimerEntry> added;
    std::vector<TimerEntry> taken;
};

/// Every entry once, in the order of ticks, and of additions within a tick.
void check_order(Fixture& f) {
    REQUIRE(f.taken.size() == f.added.size());
    for (std::size_t i = 1; i < f.taken.size(); ++i) {
        const TimerEntry& before = f.taken[i - 1];
        const TimerEntry& after = f.taken[i];
        const bool is_in_order =
            before.tick() < after.tick() || (before.tick() == after.tick() && before.at < after.at);
        REQUIRE(is_in_order);
    }
    CHECK(f.slots.size() == 0);
}

TEST_SUITE("storage/timers") {
    TEST_CASE("entries come out tick by tick, however far ahead they were added") {
        Random random(wire::test_seed("timer slots"));
        Fixture f;
        for (int i = 0; i < 20'000; ++i) {
            const auto range = static_cast<std::uint64_t>(
                random.below(2) == 0 ? 5'000 : (random.below(2) == 0 ? 7'200'000 : kYearMs));
            f.add(kNow + 10 + static_cast<WallMs>(random.below(range)));
        }
        CHECK(f.slots.size() == 20'000);
        WallMs now = kNow;
        for (const WallMs step : {15, 900, 3'000, 60'000, 600'000, 3'600'000, 86'400'000}) {
            f.take(now += step, 1 + random.below(500));
            for (int i = 0; i < 500; ++i) {
                f.add(now + 11 + static_cast<WallMs>(random.below(100'000)));
            }
        }
        f.take(kNow + kYearMs + 1'000, 100);
        check_order(f);
        CHECK(f.slots.next_event() == TimerSlots::kNever);
    }

    TEST_CASE("many entries of one tick go through files, not through memory") {
        Fixture f;
        const WallMs due = kNow + 100'000;
        const std::int64_t many = 3 * static_cast<std::int64_t>(TimerSlots::kBuffered);
        while (f.count < many) {
            f.add(due + f.count % 40);
            if (f.count % 4'096 == 0) {
                REQUIRE(f.slots.write());
            }
        }
        std::uintmax_t on_disk = 0;
        for (const auto& file : fs::directory_iterator(f.directory.path() / "timers")) {
            on_disk += file.file_size();
        }
        CHECK(on_disk >= 2 * TimerSlots::kBuffered * 24);
        f.take(due + 1'000, 8'192);
        check_order(f);
        CHECK(fs::is_empty(f.directory.path() / "timers"));
    }

    TEST_CASE("a file that is not what was written is told, and a new index starts empty") {
        Fixture f;
        for (std::size_t i = 0; i <= TimerSlots::kBuffered; ++i) {
            f.add(kNow + 86'400'000);
        }
        REQUIRE(f.slots.write());
        const fs::path file = fs::directory_iterator(f.directory.path() / "timers")->path();
        SUBCASE("changed") {
            std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
            bytes.seekp(1'000);
            bytes.put('x');
        }
        SUBCASE("cut") {
            fs::resize_file(file, 1'000);
        }
        SUBCASE("gone") {
            fs::remove(file);
        }
        const auto advanced = f.slots.advance(kNow + 86'400'000, 1'000'000);
        REQUIRE_FALSE(advanced);
        REQUIRE(f.slots.open(kNow));
        CHECK(f.slots.size() == 0);
        CHECK(fs::is_empty(f.directory.path() / "timers"));
    }

    TEST_CASE("the next event is when a slot comes near, then the tick") {
        Fixture f;
        CHECK(f.slots.next_event() == TimerSlots::kNever);
        f.add(kNow + 86'400'000);
        CHECK(f.slots.next_event() > kNow);
        CHECK(f.slots.next_event() < kNow + 86'400'000);
        f.add(kNow + 17);
        CHECK(f.slots.next_event() == timer_tick(kNow + 17));
    }
}

}  // namespace
}  // namespace gantry::storage

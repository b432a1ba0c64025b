// SPDX-License-Identifier: Apache-2.0
#include "storage/checkpoint.h"
#include "tests/harness/wait.h"
#include "tests/storage/damage/killed_store.h"
#include "tests/storage/faulty_file_system.h"

#include <algorithm>
#include <array>
#include <fstream>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> first_of(const std::vector<std::string>& all, std::size_t count) {
    return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count)};
}

/// Opens the store of `path`, which must succeed, and checks what it serves and that it goes on.
void check_served(const fs::path& path, const std::vector<std::string>& expected) {
    StoreFixture opened(path);
    opened.open();
    REQUIRE(opened.store->find_topic("t") != nullptr);
    Queue& queue = opened.queue("t");
    CHECK(read_bodies(*opened.store, queue) == expected);
    CHECK(opened.store->find_by_key({"t", "key", 0, opened.clock.wall_ms(), 1'000}).size() ==
          expected.size());
    const auto next = opened.append(queue, {{"next", "", ""}});
    REQUIRE(next);
    CHECK(next->queue_offset.value == static_cast<std::int64_t>(expected.size()));
}

TEST_SUITE("storage/recovery") {
    TEST_CASE("a clean stop starts again without a replay") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        CHECK(at.recovery.records_replayed == 0);
        std::vector<std::string> expected;
        for (std::size_t i = 0; i < 200; ++i) {
            expected.push_back(numbered_body(i, 700));
            REQUIRE(at.append(at.queue("t", 1), {{expected.back(), "", ""}}));
        }
        for (int round = 0; round < 3; ++round) {
            const LogOffset end = at.store->watermarks().appended;
            REQUIRE(at.store->close());
            CHECK_FALSE(fs::exists(directory.path() / "abort"));
            at.open();
            CHECK(fs::exists(directory.path() / "abort"));
            CHECK(at.recovery.was_clean);
            CHECK(at.recovery.records_replayed == 0);
            CHECK(at.recovery.bytes_cut == 0);
            CHECK(at.store->watermarks().appended == end);
            CHECK(at.store->watermarks().flushed == end);
            CHECK(read_bodies(*at.store, at.queue("t", 1)) == expected);
            expected.push_back("round " + std::to_string(round));
            REQUIRE(at.append(at.queue("t", 1), {{expected.back(), "", ""}}));
        }
    }

    TEST_CASE("a kill loses nothing that was appended") {
        const Killed killed(300, false, 900);
        StoreFixture opened(killed.copy());
        opened.open();
        CHECK_FALSE(opened.recovery.was_clean);
        CHECK(opened.recovery.bytes_cut == 0);
        CHECK(opened.recovery.records_replayed == 301);
        CHECK(opened.store->watermarks().appended == killed.places.back().end);
        opened.store.reset();
        check_served(killed.image, killed.bodies);
    }

    TEST_CASE("a start after a checkpoint replays only what is behind it") {
        const TemporaryDirectory directory;
        const fs::path image = directory.path() / "image";
        StoreFixture at(directory.path() / "live");
        // Due once, so that none is being written while the files are copied.
        at.options.checkpoint_bytes = 400'000;
        at.options.flush_interval_ms = 1;
        at.open();
        std::vector<std::string> expected;
        for (std::size_t i = 0; i < 600; ++i) {
            expected.push_back(numbered_body(i, 900));
            REQUIRE(at.append(at.queue("t"), {{expected.back(), "", "key"}}));
        }
        REQUIRE(harness::wait_until(kPatience, [&] {
            const auto found = load_checkpoint(*at.posix, directory.path() / "live/checkpoint");
            return found && *found && (*found)->at > LogOffset(0);
        }));
        copy_store(at.options.directory, image);
        StoreFixture opened(image);
        opened.open();
        CHECK_FALSE(opened.recovery.was_clean);
        CHECK(opened.recovery.records_replayed < expected.size());
        CHECK(read_bodies(*opened.store, opened.queue("t")) == expected);
        CHECK(opened.store->find_by_key({"t", "key", 0, opened.clock.wall_ms(), 2'000}).size() ==
              expected.size());
    }

    TEST_CASE("a tail torn at any byte is cut at the last whole record, and bytes are zeroed") {
        const Killed killed(4);
        const Appended& last = killed.places[3];
        const Appended& before = killed.places[2];
        const auto end = last.end.value;
        for (std::int64_t keep = before.first.value; keep < end; ++keep) {
            CAPTURE(keep);
            const fs::path path = killed.copy();
            overwrite(
                segment_path(path), keep, std::string(static_cast<std::size_t>(end - keep), '\0'));
            const bool before_is_whole = keep >= before.end.value;
            {
                StoreFixture opened(path);
                opened.open();
                const Appended& cut = before_is_whole ? last : before;
                CHECK(opened.store->watermarks().appended == cut.first);
                CHECK((opened.recovery.bytes_cut > 0) == !opened.recovery.note.empty());
                const std::string rest =
                    read_bytes(segment_path(path),
                               cut.first.value,
                               static_cast<std::size_t>(end - cut.first.value));
                CHECK(rest == std::string(rest.size(), '\0'));
            }
            check_served(path, first_of(killed.bodies, before_is_whole ? 3 : 2));
        }
    }

    TEST_CASE("a tail of garbage is cut and reported") {
        const Killed killed(4);
        const fs::path path = killed.copy();
        overwrite(segment_path(path), killed.places[3].first.value + 10, std::string(500, 'g'));
        {
            StoreFixture opened(path);
            opened.open();
            CHECK(opened.recovery.cut_at == killed.places[3].first);
            CHECK(opened.recovery.bytes_cut == 510);
            CHECK_FALSE(opened.recovery.note.empty());
        }
        check_served(path, first_of(killed.bodies, 3));
    }

    TEST_CASE("a stop while whole segments are cut off leaves no gap between those that stay") {
        const Killed killed(60, false, 4'000);
        REQUIRE(killed.places.back().first > LogOffset(3 * kTestSegmentBytes));
        for (std::uint64_t removal = 1; removal <= 3; ++removal) {
            CAPTURE(removal);
            const fs::path path = killed.copy();
            // Nothing says that more than the first message was durable.
            fs::remove_all(path / "checksum");
            fs::remove(path / "checkpoint");
            overwrite(segment_path(path), killed.places[1].first.value, std::string(8, '\0'));
            {
                FaultyFileSystem faulty;
                faulty.fail({.call = Call::kRemove, .path_part = "commitlog", .nth = removal});
                StoreFixture stopped(path);
                stopped.files = &faulty;
                CHECK(code_of(stopped.try_open()) == Errc::kIo);
                CHECK(faulty.failures() > 0);
            }
            check_served(path, first_of(killed.bodies, 1));
        }
    }

    TEST_CASE("stale records behind a cut never come back") {
        const Killed killed(6);
        const fs::path path = killed.copy();
        // The fourth record is torn; the fifth and sixth are whole, but not durable: cut as well.
        overwrite(segment_path(path), killed.places[3].first.value, std::string(8, '\0'));
        {
            StoreFixture opened(path);
            opened.open();
            CHECK(opened.store->watermarks().appended == killed.places[3].first);
            // A record of the same size as the torn one ends where the stale fifth began.
            const auto appended =
                opened.append(opened.queue("t"), {{numbered_body(77, 40), "tag", "key"}});
            REQUIRE(appended);
            CHECK(appended->end == killed.places[3].end);
            copy_store(path, killed.directory.path() / "again");
        }
        std::vector<std::string> expected = first_of(killed.bodies, 3);
        expected.push_back(numbered_body(77, 40));
        check_served(killed.directory.path() / "again", expected);
    }

    TEST_CASE("every prefix of a small log starts and serves its whole records") {
        const Killed killed(5);
        for (std::int64_t keep = 0; keep <= killed.places.back().end.value; keep += 5) {
            CAPTURE(keep);
            const fs::path path = killed.copy();
            fs::resize_file(segment_path(path), static_cast<std::uintmax_t>(keep));
            StoreFixture opened(path);
            opened.open();
            const auto whole = std::count_if(
                killed.places.begin(), killed.places.end(), [&](const Appended& place) {
                    return place.end.value <= keep;
                });
            const std::vector<std::string> expected =
                first_of(killed.bodies, static_cast<std::size_t>(whole));
            Topic* const topic = opened.store->find_topic("t");
            CHECK((topic != nullptr) == (keep >= killed.places[0].first.value));
            if (topic != nullptr) {
                CHECK(read_bodies(*opened.store, *topic->queue(0)) == expected);
            }
        }
    }

    TEST_CASE("told to refuse, any flipped byte of a durable log is refused or cut, never served") {
        const Killed killed(4, true);
        const auto end = killed.places.back().end.value;
        int refused = 0;
        for (std::int64_t flip = killed.places[0].first.value; flip < end; flip += 2) {
            CAPTURE(flip);
            const fs::path path = killed.copy();
            std::string byte = read_bytes(segment_path(path), flip, 1);
            byte[0] = static_cast<char>(byte[0] ^ 0x20);
            overwrite(segment_path(path), flip, byte);
            StoreFixture opened(path);
            opened.options.on_damage = OnDamage::kRefuse;
            auto result = opened.try_open();
            const auto hit = std::find_if(
                killed.places.begin(), killed.places.end(), [&](const Appended& place) {
                    return flip < place.end.value;
                });
            if (!result) {
                ++refused;
                CHECK(result.error().code == Errc::kCorrupt);
                CHECK(result.error().detail.find(segment_path(path).string()) != std::string::npos);
                continue;
            }
            // Only in the last record can damage be taken for a torn tail.
            REQUIRE(hit == killed.places.end() - 1);
            opened.store = std::move(result->store);
            CHECK(result->recovery.bytes_cut > 0);
            CHECK(result->recovery.note.find("durable") != std::string::npos);
            CHECK(read_bodies(*opened.store, opened.queue("t")) == first_of(killed.bodies, 3));
        }
        CHECK(refused > 0);
    }

    TEST_CASE("no flipped byte of a log that was never durable changes a body that is served") {
        const Killed killed(4);
        const auto end = killed.places.back().end.value;
        for (std::int64_t flip = killed.places[0].first.value; flip < end; flip += 3) {
            CAPTURE(flip);
            const fs::path path = killed.copy();
            std::string byte = read_bytes(segment_path(path), flip, 1);
            byte[0] = static_cast<char>(byte[0] ^ 0x01);
            overwrite(segment_path(path), flip, byte);
            StoreFixture opened(path);
            opened.open();
            const std::vector<std::string> bodies = read_bodies(*opened.store, opened.queue("t"));
            const auto whole = std::count_if(
                killed.places.begin(), killed.places.end(), [&](const Appended& place) {
                    return place.end.value <= flip;
                });
            REQUIRE(bodies.size() + 1 >= static_cast<std::size_t>(whole));
            // A flip in the queue id moves one message away; no body is ever changed.
            auto next = killed.bodies.begin();
            for (const std::string& body : bodies) {
                next = std::find(next, killed.bodies.end(), body);
                REQUIRE(next != killed.bodies.end());
                ++next;
            }
        }
    }

    TEST_CASE("lost index files are rebuilt from the log, after a clean stop and after a kill") {
        for (const bool clean : {true, false}) {
            CAPTURE(clean);
            Killed killed(50);
            fs::path path = killed.copy();
            if (clean) {
                StoreFixture opened(path);
                opened.open();
                REQUIRE(opened.store->close());
            }
            for (const char* part : {"consumequeue", "index", "state", "checkpoint"}) {
                fs::remove_all(path / part);
            }
            check_served(path, killed.bodies);
        }
    }

    TEST_CASE("told to refuse, a missing segment is kCorrupt and named") {
        const Killed killed(300, true, 900);
        SUBCASE("the last one") {
            const std::int64_t base = killed.places.back().first.value /
                                      std::int64_t{kTestSegmentBytes} *
                                      std::int64_t{kTestSegmentBytes};
            for (const auto& entry : fs::directory_iterator(killed.image / "commitlog")) {
                if (entry.path().filename() >= segment_path(killed.image, base).filename()) {
                    fs::remove(entry.path());
                }
            }
        }
        SUBCASE("one in the middle") {
            fs::remove(segment_path(killed.image, kTestSegmentBytes));
        }
        SUBCASE("one in the middle is empty") {
            fs::resize_file(segment_path(killed.image, kTestSegmentBytes), 0);
        }
        SUBCASE("all") {
            fs::remove_all(killed.image / "commitlog");
        }
        StoreFixture opened(killed.image);
        opened.options.on_damage = OnDamage::kRefuse;
        const auto result = opened.try_open();
        CHECK(code_of(result) == Errc::kCorrupt);
        CHECK(result.error().detail.find("commitlog") != std::string::npos);
    }

    TEST_CASE("left-overs of an interrupted segment creation do no harm") {
        const Killed killed(3);
        std::ofstream(segment_path(killed.image, kTestSegmentBytes).string() + ".new") << "half";
        std::ofstream(killed.image / "commitlog/notes.txt") << "not a segment";
        check_served(killed.image, killed.bodies);
        CHECK_FALSE(fs::exists(segment_path(killed.image, kTestSegmentBytes).string() + ".new"));
    }

    TEST_CASE("segments of another size are read on, new ones have the configured size") {
        const Killed killed(300, false, 900);
        {
            StoreFixture opened(killed.image);
            opened.options.segment_bytes = 2 * kTestSegmentBytes;
            opened.open();
            Queue& queue = opened.queue("t");
            for (std::size_t i = 0; i < 200; ++i) {
                REQUIRE(opened.append(queue, {{numbered_body(i, 900), "tag", "key"}}));
            }
            CHECK(read_bodies(*opened.store, queue).size() == 500);
        }
        StoreFixture opened(killed.image);
        opened.open();
        CHECK(opened.recovery.was_clean);
        CHECK(read_bodies(*opened.store, opened.queue("t")).size() == 500);
    }
}

}  // namespace
}  // namespace gantry::storage

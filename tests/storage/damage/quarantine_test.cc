// SPDX-License-Identifier: Apache-2.0
#include "storage/check/store_check.h"
#include "storage/damage/block_check.h"
#include "storage/log/lost_ranges.h"
#include "tests/storage/damage/killed_store.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <set>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

/// What a consumer that goes on behind lost messages gets of a queue.
struct Consumed {
    std::map<std::int64_t, std::string> bodies;
    std::set<std::int64_t> lost;

    bool operator==(const Consumed&) const = default;
};

Consumed consume(const Store& store, const Queue& queue) {
    Consumed consumed;
    QueueOffset at = queue.min();
    for (;;) {
        const ReadResult result = store.read(queue, {.from = at});
        if (result.status == ReadStatus::kAtEnd) {
            return consumed;
        }
        if (result.status == ReadStatus::kCorrupt) {
            REQUIRE(result.lost_from == at);
            REQUIRE(result.next > at);
            for (; at < result.next; at += 1) {
                consumed.lost.insert(at.value);
            }
            // All contiguous ones at once.
            REQUIRE(store.read(queue, {.from = at}).status != ReadStatus::kCorrupt);
            continue;
        }
        REQUIRE(result.status == ReadStatus::kFound);
        for (const LogRun& run : result.runs) {
            const std::string bytes = run_bytes(run);
            REQUIRE(wire::for_each_record(
                as_bytes(bytes), [&](const std::byte*, const wire::Record& record) -> Status {
                    REQUIRE(wire::body_crc_matches(record));
                    REQUIRE(record.queue_offset == at);
                    consumed.bodies[at.value] = as_text(record.body);
                    at += 1;
                    return ok();
                }));
        }
        REQUIRE(at == result.next);
    }
}

/// Requires that every message is served as it was or told as lost.
void require_all_told(const Consumed& consumed, const std::vector<std::string>& bodies) {
    REQUIRE(consumed.bodies.size() + consumed.lost.size() == bodies.size());
    for (const auto& served : consumed.bodies) {
        const std::int64_t at = served.first;
        CAPTURE(at);
        REQUIRE(served.second == bodies[static_cast<std::size_t>(at)]);
    }
}

Consumed open_and_consume(StoreFixture& at) {
    at.open();
    REQUIRE(at.store->find_topic("t") != nullptr);
    return consume(*at.store, at.queue("t"));
}

/// Opens the damaged store three times more: after a clean stop, after a kill, and with its indexes
/// gone. Nothing is reported as new, and the same is served.
void require_same_again(const fs::path& path, const Consumed& expected) {
    const TemporaryDirectory directory(fast_directory());
    const fs::path killed = directory.path() / "killed";
    copy_store(path, killed);
    for (const char* how : {"clean", "killed", "rebuilt"}) {
        CAPTURE(how);
        if (how == std::string("rebuilt")) {
            for (const char* part : {"consumequeue", "index", "checkpoint"}) {
                fs::remove_all(killed / part);
            }
        }
        StoreFixture again(how == std::string("clean") ? path : killed);
        const Consumed consumed = open_and_consume(again);
        CHECK(again.recovery.lost_ranges == 0);
        CHECK(consumed.bodies == expected.bodies);
        CHECK(consumed.lost == expected.lost);
        CHECK(again.metrics.values().at("gantry_store_lost_messages_total") ==
              static_cast<double>(expected.lost.size()));
    }
}

void flip(const fs::path& path, std::int64_t at, char bits = 0x20) {
    std::string byte = read_bytes(path, at, 1);
    byte[0] = static_cast<char>(byte[0] ^ bits);
    overwrite(path, at, byte);
}

/// Where the body of message `number` lies, in the first segment.
std::int64_t body_at(const Killed& killed, std::size_t number) {
    const Appended& place = killed.places[number];
    const std::string record = read_bytes(segment_path(killed.image),
                                          place.first.value,
                                          static_cast<std::size_t>(place.end - place.first));
    const std::size_t at = record.find(killed.bodies[number]);
    REQUIRE(at != std::string::npos);
    return place.first.value + static_cast<std::int64_t>(at);
}

TEST_SUITE("storage/quarantine") {
    TEST_CASE("any flipped byte of a durable log costs its message, or those of its block, alone") {
        constexpr std::size_t kBodyBytes = 40;
        const Killed killed(5, true, kBodyBytes, true);
        const std::int64_t end = killed.places[3].end.value;
        std::size_t alone = 0;
        for (std::int64_t at = killed.places[0].first.value; at < end; ++at) {
            CAPTURE(at);
            const auto hit = std::find_if(
                killed.places.begin(), killed.places.end(), [at](const Appended& place) {
                    return at < place.end.value;
                });
            const std::int64_t number = hit - killed.places.begin();
            const std::int64_t in_body = at - body_at(killed, static_cast<std::size_t>(number));
            const fs::path path = killed.copy();
            flip(segment_path(path), at);
            Consumed consumed;
            {
                StoreFixture opened(path);
                consumed = open_and_consume(opened);
                CHECK(opened.recovery.bytes_cut == 0);
                CHECK(opened.recovery.lost_ranges > 0);
                CHECK(opened.recovery.lost_messages == consumed.lost.size());
                REQUIRE(consumed.lost.count(number) == 1);
                require_all_told(consumed, killed.bodies);
                alone += consumed.lost.size() == 1 ? 1 : 0;
                if (in_body >= 0 && in_body < static_cast<std::int64_t>(kBodyBytes)) {
                    REQUIRE(consumed.lost == std::set<std::int64_t>{number});
                }
                // The bytes stay as they are.
                CHECK_FALSE(read_bytes(segment_path(path), at, 1) ==
                            read_bytes(segment_path(killed.image), at, 1));
                copy_store(path, killed.directory.path() / "again");
            }
            if (at % 7 == 0) {
                require_same_again(killed.directory.path() / "again", consumed);
            }
        }
        CHECK(alone >= 4 * kBodyBytes);
    }

    TEST_CASE("the last message of a queue keeps its offset when it is damaged") {
        constexpr std::size_t kBodyBytes = 40;
        Killed killed(5, true, kBodyBytes, true);
        // Others behind it, so that it is no torn tail.
        StoreFixture live(killed.image);
        live.open();
        REQUIRE(live.append(live.queue("u"), {{"behind", "", ""}}));
        live.store->flush_soon();
        const LogOffset end = live.store->watermarks().appended;
        REQUIRE(harness::wait_until(kPatience,
                                    [&] { return live.store->watermarks().flushed >= end; }));
        REQUIRE(harness::wait_until(kPatience, [&] {
            const BlockSums sums(*live.posix, killed.image / "checksum");
            const auto loaded = sums.load(LogOffset(0));
            return loaded && !loaded->empty() && loaded->back().end() >= end;
        }));
        const fs::path path = killed.copy();
        flip(segment_path(path), body_at(killed, 4) + 3);
        StoreFixture opened(path);
        const Consumed consumed = open_and_consume(opened);
        CHECK(consumed.lost == std::set<std::int64_t>{4});
        const auto next = opened.append(opened.queue("t"), {{"next", "", ""}});
        REQUIRE(next);
        CHECK(next->queue_offset == QueueOffset(5));
    }

    TEST_CASE("a damaged last message that was durable is lost and told, not a torn end") {
        const Killed killed(5, true, 40, true);
        const fs::path path = killed.copy();
        flip(segment_path(path), body_at(killed, 4) + 3);
        Consumed consumed;
        {
            StoreFixture opened(path);
            consumed = open_and_consume(opened);
            CHECK(opened.recovery.bytes_cut == 0);
            CHECK(opened.recovery.lost_messages == 1);
            CHECK(opened.store->watermarks().appended == killed.places[4].end);
            const auto next = opened.append(opened.queue("t"), {{"next", "", ""}});
            REQUIRE(next);
            CHECK(next->queue_offset == QueueOffset(5));
        }
        CHECK(consumed.bodies.size() == 4);
    }

    TEST_CASE("damage in a durable message leaves the whole one behind it that no sum covers yet") {
        const Killed killed(5, true, 40, true);
        const fs::path path = killed.copy();
        {
            StoreFixture live(killed.image);
            live.open();
            REQUIRE(live.append(live.queue("t"), {{"behind", "tag", "key"}}));
        }
        // As a kill leaves it before the newest sum is written: only the log has grown.
        fs::copy_file(
            segment_path(killed.image), segment_path(path), fs::copy_options::overwrite_existing);
        flip(segment_path(path), body_at(killed, 4) + 3);
        const Consumed consumed = [&] {
            StoreFixture opened(path);
            return open_and_consume(opened);
        }();
        CHECK(consumed.lost == std::set<std::int64_t>{4});
        CHECK(consumed.bodies.at(5) == "behind");
    }

    TEST_CASE("a piece of garbage costs exactly the messages it touches") {
        const Killed killed(300, true, 900, true);
        const fs::path path = killed.copy();
        const Appended& first = killed.places[20];
        const Appended& last = killed.places[23];
        const std::int64_t from = first.first.value + 500;
        overwrite(segment_path(path),
                  from,
                  std::string(static_cast<std::size_t>(last.first.value + 10 - from), 'g'));
        StoreFixture opened(path);
        const Consumed consumed = open_and_consume(opened);
        CHECK(consumed.lost == std::set<std::int64_t>{20, 21, 22, 23});
        require_all_told(consumed, killed.bodies);
        CHECK(opened.recovery.lost_messages == 4);
        CHECK(opened.store->record_at(killed.places[19].first));
        CHECK_FALSE(opened.store->record_at(first.first).has_value());
        CHECK(opened.store->find_by_key({"t", "key", 0, opened.clock.wall_ms(), 1'000}).size() ==
              killed.bodies.size() - 4);
        copy_store(path, killed.directory.path() / "again");
        require_same_again(killed.directory.path() / "again", consumed);
    }

    TEST_CASE("bytes in a body that look like a record are not taken for one behind damage") {
        StoreFixture at(TemporaryDirectory().path());
        Killed killed(3, true, 40, true);
        StoreFixture live(killed.image);
        live.open();
        Queue& queue = live.queue("t");
        // The body of the next message holds a record that says it is where it will be.
        const LogOffset next = live.store->watermarks().appended;
        std::string inner = stored("t", 0, {"inner", "", ""});
        const std::size_t head = stored("t", 0, {std::string(inner.size(), 'x'), "", ""}).find('x');
        wire::patch_record(reinterpret_cast<std::byte*>(inner.data()),
                           {QueueOffset(700),
                            next + static_cast<std::int64_t>(head),
                            live.clock.wall_ms(),
                            live.options.store_host});
        REQUIRE(live.append(queue, {{inner, "", ""}}));
        REQUIRE(live.append(queue, {{"behind", "", ""}}));
        REQUIRE(live.store->close());
        live.store.reset();
        fs::remove(killed.image / "checkpoint");
        flip(segment_path(killed.image), next.value + 1, 1);
        const Consumed consumed = open_and_consume(live);
        CHECK(consumed.lost == std::set<std::int64_t>{3});
        CHECK(consumed.bodies.at(4) == "behind");
    }

    TEST_CASE("without a segment in the middle the rest is served") {
        const Killed killed(300, true, 900, true);
        const fs::path path = killed.copy();
        const fs::path segment = segment_path(path, kTestSegmentBytes);
        SUBCASE("missing") {
            fs::remove(segment);
        }
        SUBCASE("empty") {
            fs::resize_file(segment, 0);
        }
        SUBCASE("short") {
            fs::resize_file(segment, 10'000);
        }
        Consumed consumed;
        {
            StoreFixture opened(path);
            consumed = open_and_consume(opened);
            require_all_told(consumed, killed.bodies);
            CHECK(opened.recovery.lost_messages == consumed.lost.size());
            CHECK(opened.store->watermarks().appended == killed.places.back().end);
        }
        for (std::size_t i = 0; i < killed.places.size(); ++i) {
            const LogOffset at = killed.places[i].first;
            const LogOffset end = killed.places[i].end;
            const bool has_file = fs::exists(segment) && fs::file_size(segment) > 0;
            const LogOffset gap(kTestSegmentBytes + (has_file ? 10'000 : 0));
            const bool is_lost = end > gap && at < LogOffset(2 * kTestSegmentBytes);
            CHECK(consumed.lost.count(static_cast<std::int64_t>(i)) == (is_lost ? 1 : 0));
        }
        copy_store(path, killed.directory.path() / "again");
        require_same_again(killed.directory.path() / "again", consumed);
    }

    TEST_CASE("without a segment in the middle a clean stop starts too") {
        const Killed killed(300, true, 900, true);
        {
            StoreFixture opened(killed.image);
            opened.open();
            REQUIRE(opened.store->close());
        }
        fs::remove(segment_path(killed.image, kTestSegmentBytes));
        StoreFixture opened(killed.image);
        const Consumed consumed = open_and_consume(opened);
        CHECK(opened.recovery.was_clean);
        CHECK(opened.recovery.records_replayed == 0);
        CHECK(opened.recovery.lost_bytes == kTestSegmentBytes);
        CHECK(opened.recovery.lost_messages == consumed.lost.size());
        CHECK_FALSE(consumed.lost.empty());
        require_all_told(consumed, killed.bodies);
    }

    TEST_CASE("the log goes on behind a lost end, and gives no log offset out again") {
        const Killed killed(300, true, 900, true);
        const fs::path path = killed.copy();
        const std::int64_t base = killed.places.back().first.value /
                                  std::int64_t{kTestSegmentBytes} * std::int64_t{kTestSegmentBytes};
        for (const auto& entry : fs::directory_iterator(path / "commitlog")) {
            if (entry.path().filename() >= segment_path(path, base).filename()) {
                fs::remove(entry.path());
            }
        }
        std::size_t served = 0;
        {
            StoreFixture opened(path);
            const Consumed consumed = open_and_consume(opened);
            served = consumed.bodies.size();
            CHECK(served > 200);
            CHECK(opened.recovery.lost_ranges > 0);
            const auto next = opened.append(opened.queue("t"), {{"next", "", ""}});
            REQUIRE(next);
            CHECK(next->first >= killed.places.back().end);
            REQUIRE(opened.store->close());
        }
        StoreFixture again(path);
        const Consumed consumed = open_and_consume(again);
        CHECK(again.recovery.lost_ranges == 0);
        CHECK(consumed.bodies.size() == served + 1);
    }

    TEST_CASE("a store whose log is gone, and files that are none of it, are refused by name") {
        const Killed killed(300, true, 900, true);
        const fs::path path = killed.copy();
        std::string named = "commitlog";
        SUBCASE("all segments gone") {
            fs::remove_all(path / "commitlog");
        }
        SUBCASE("a copy that overlaps") {
            named = segment_path(path, kTestSegmentBytes + 1).string();
            fs::copy_file(segment_path(path, kTestSegmentBytes), named);
        }
        SUBCASE("two segments have each other's names") {
            named = segment_path(path, kTestSegmentBytes).string();
            const fs::path other = segment_path(path, 2 * kTestSegmentBytes);
            fs::rename(named, path / "aside");
            fs::rename(other, named);
            fs::rename(path / "aside", other);
        }
        SUBCASE("a segment behind the end") {
            named = segment_path(path, 100 * kTestSegmentBytes).string();
            fs::copy_file(segment_path(path, kTestSegmentBytes), named);
        }
        StoreFixture opened(path);
        const auto result = opened.try_open();
        CHECK(code_of(result) == Errc::kCorrupt);
        CAPTURE(result.error().detail);
        CHECK(result.error().detail.find(named) != std::string::npos);
    }

    TEST_CASE("a lost change of the state does not keep the rest from being served") {
        const Killed killed(5, true);
        const fs::path path = killed.copy();
        // The first record makes the topic.
        overwrite(segment_path(path), 5, "xxxx");
        StoreFixture opened(path);
        opened.open();
        CHECK(opened.recovery.lost_ranges == 1);
        CHECK(opened.store->find_topic("t") == nullptr);
        CHECK(read_bodies(*opened.store, opened.queue("t")) == killed.bodies);
    }

    TEST_CASE("a damaged list of lost ranges is made anew from the log") {
        const Killed killed(300, true, 900, true);
        const fs::path path = killed.copy();
        overwrite(segment_path(path), killed.places[20].first.value + 300, "damage");
        Consumed consumed;
        {
            StoreFixture opened(path);
            consumed = open_and_consume(opened);
            REQUIRE(consumed.lost == std::set<std::int64_t>{20});
            REQUIRE(opened.store->close());
        }
        flip(path / "lost", 20);
        StoreFixture opened(path);
        CHECK(open_and_consume(opened) == consumed);
        CHECK(opened.recovery.lost_ranges == 1);
        CHECK(opened.recovery.lost_messages == 1);
    }

    TEST_CASE("told to refuse, a store starts with what is quarantined already") {
        const Killed killed(300, true, 900, true);
        const fs::path path = killed.copy();
        overwrite(segment_path(path), killed.places[20].first.value + 300, "damage");
        fs::remove(segment_path(path, 2 * kTestSegmentBytes));
        StoreFixture opened(path);
        opened.options.on_damage = OnDamage::kRefuse;
        CHECK(code_of(opened.try_open()) == Errc::kCorrupt);
        opened.options.on_damage = OnDamage::kQuarantine;
        const Consumed consumed = open_and_consume(opened);
        const TemporaryDirectory directory(fast_directory());
        copy_store(path, directory.path() / "killed");
        StoreFixture again(directory.path() / "killed");
        again.options.on_damage = OnDamage::kRefuse;
        CHECK(open_and_consume(again) == consumed);
    }

    TEST_CASE("a check of a store tells quarantined damage from new damage") {
        const Killed killed(300, true, 900, true);
        const fs::path path = killed.copy();
        overwrite(segment_path(path), killed.places[20].first.value + 300, "damage");
        {
            StoreFixture opened(path);
            opened.open();
            REQUIRE(opened.store->close());
        }
        const auto files = make_posix_file_system();
        const auto known = check_store(*files, {.directory = path});
        REQUIRE(known);
        CHECK(known->is_good);
        REQUIRE(known->findings.size() == 1);
        CHECK(known->findings[0].kind == Finding::Kind::kLost);
        CHECK(known->findings[0].at == killed.places[20].first);
        overwrite(segment_path(path), killed.places[30].first.value + 300, "damage");
        const auto fresh = check_store(*files, {.directory = path});
        REQUIRE(fresh);
        CHECK_FALSE(fresh->is_good);
        CHECK(fresh->findings.size() == 2);
    }

    TEST_CASE("offsets are found by time although messages are lost") {
        const TemporaryDirectory directory(fast_directory());
        StoreFixture at(directory.path() / "live");
        at.open();
        at.queue("t");
        REQUIRE(at.store->close());
        at.open();
        std::vector<Appended> places;
        for (std::int64_t i = 0; i < 200; ++i) {
            at.clock.set(1'700'000'000'000 + 1'000 * i);
            places.push_back(at.append(at.queue("t"), {{numbered_body(7, 900), "", ""}}).value());
        }
        REQUIRE(at.store->close());
        at.store.reset();
        // Lost are the messages around the middle, where the search begins.
        fs::remove(segment_path(at.options.directory, kTestSegmentBytes));
        const Consumed consumed = open_and_consume(at);
        REQUIRE_FALSE(consumed.lost.empty());
        for (const auto& served : consumed.bodies) {
            const std::int64_t offset = served.first;
            CAPTURE(offset);
            CHECK(at.store->offset_by_time(at.queue("t"),
                                           1'700'000'000'000 + 1'000 * offset,
                                           false) <= QueueOffset(offset));
            const auto found =
                at.store->offset_by_time(at.queue("t"), 1'700'000'000'000 + 1'000 * offset, false);
            // Nothing but lost messages may lie between.
            for (QueueOffset between = found; between < QueueOffset(offset); between += 1) {
                CHECK(consumed.lost.count(between.value) == 1);
            }
        }
    }

    TEST_CASE("messages that a filter leaves out before lost ones are not told as lost") {
        const Killed killed(300, true, 900, true);
        const fs::path path = killed.copy();
        overwrite(segment_path(path), killed.places[20].first.value + 300, "damage");
        StoreFixture opened(path);
        opened.open();
        const std::vector<std::int64_t> nothing{1};
        const ReadResult result =
            opened.store->read(opened.queue("t"), {.from = QueueOffset(0), .tag_hashes = &nothing});
        CHECK(result.status == ReadStatus::kCorrupt);
        CHECK(result.lost_from == QueueOffset(20));
        CHECK(result.next == QueueOffset(21));
    }

    TEST_CASE("properties are sound when each has a name and all but the last an end") {
        using namespace std::string_literals;
        CHECK(are_properties_sound(""));
        CHECK(are_properties_sound("a\1b\2"s));
        CHECK(are_properties_sound("a\1b\2c\1d"s));
        CHECK_FALSE(are_properties_sound("a"));
        CHECK_FALSE(are_properties_sound("a\2b\1"s));
        CHECK_FALSE(are_properties_sound("a\1b\2\0"s));
    }
}

}  // namespace
}  // namespace gantry::storage

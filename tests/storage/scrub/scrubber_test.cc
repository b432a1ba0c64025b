// SPDX-License-Identifier: Apache-2.0
#include "storage/scrub/scrubber.h"

#include "storage/index/queue_index.h"
#include "storage/scrub/scrub_mark.h"
#include "storage/store_parts.h"
#include "tests/storage/damage/killed_store.h"
#include "tests/storage/faulty_file_system.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMessages = 300;

/// A running store with messages of topic "t" in some segments, all durable with their sums.
struct Scrubbed {
    explicit Scrubbed(OnDamage on_damage = OnDamage::kQuarantine, FileSystem* files = nullptr)
        : at(directory.path() / "live") {
        at.options.on_damage = on_damage;
        at.files = files != nullptr ? files : at.files;
        at.options.scrub.is_direct = files == nullptr;
        at.open();
        for (std::size_t i = 0; i < kMessages; ++i) {
            bodies.push_back(numbered_body(i, 900));
            places.push_back(at.append(at.queue("t"), {{bodies.back(), "tag", "key"}}).value());
        }
        flush();
    }

    void flush() {
        at.store->flush_soon();
        const LogOffset end = at.store->watermarks().appended;
        REQUIRE(
            harness::wait_until(kPatience, [&] { return at.store->watermarks().flushed >= end; }));
        REQUIRE(harness::wait_until(kPatience, [&] { return sums_cover(end); }));
    }

    bool sums_cover(LogOffset end) const {
        const BlockSums sums(*at.posix, at.options.directory / "checksum");
        const LogOffset base((end.value - 1) / std::int64_t{kTestSegmentBytes} *
                             std::int64_t{kTestSegmentBytes});
        const auto loaded = sums.load(base);
        return loaded && !loaded->empty() && loaded->back().end() >= end;
    }

    /// Changes a byte of a message while the store runs; returns its log offset.
    LogOffset flip(std::size_t number, std::int64_t inside, char bits = 0x20) const {
        const std::int64_t place = places[number].first.value + inside;
        const std::int64_t base =
            place / std::int64_t{kTestSegmentBytes} * std::int64_t{kTestSegmentBytes};
        const fs::path path = segment_path(at.options.directory, base);
        std::string byte = read_bytes(path, place - base, 1);
        byte[0] = static_cast<char>(byte[0] ^ bits);
        overwrite(path, place - base, byte);
        return LogOffset(place);
    }

    ScrubReport scrub() {
        const Result<ScrubReport> report = at.store->scrub();
        REQUIRE_MESSAGE(report.has_value(), (report ? "" : to_string(report.error())));
        return *report;
    }

    double value(const std::string& name) { return at.metrics.values().at(name); }

    /// Queue offsets that a consumer is not given; all others must be as they were sent.
    std::set<std::int64_t> missing() {
        std::set<std::int64_t> gone;
        const std::vector<std::string> served = read_bodies_behind_damage();
        std::size_t next = 0;
        for (std::size_t i = 0; i < bodies.size(); ++i) {
            if (next < served.size() && served[next] == bodies[i]) {
                ++next;
            } else {
                gone.insert(static_cast<std::int64_t>(i));
            }
        }
        CHECK(next == served.size());
        return gone;
    }

    std::vector<std::string> read_bodies_behind_damage() {
        std::vector<std::string> found;
        Queue& queue = at.queue("t");
        QueueOffset next = queue.min();
        for (;;) {
            const ReadResult result = at.store->read(queue, {.from = next});
            if (result.status == ReadStatus::kAtEnd) {
                return found;
            }
            for (const LogRun& run : result.runs) {
                const std::string bytes = run_bytes(run);
                REQUIRE(wire::for_each_record(
                    as_bytes(bytes), [&](const std::byte*, const wire::Record& record) -> Status {
                        found.emplace_back(as_text(record.body));
                        return ok();
                    }));
            }
            next = result.next;
        }
    }

    TemporaryDirectory directory{fast_directory()};
    StoreFixture at;
    std::vector<std::string> bodies;
    std::vector<Appended> places;
};

TEST_SUITE("storage/scrubber") {
    TEST_CASE("a sound store is read whole and nothing is reported") {
        Scrubbed store;
        const ScrubReport report = store.scrub();
        CHECK(report.from == LogOffset(0));
        CHECK(report.to == store.at.store->watermarks().flushed);
        CHECK(report.records == kMessages + 1);  // the topic's own
        CHECK(report.units == kMessages + 1);
        CHECK(report.blocks >= kMessages * 900 / BlockSums::kBlockBytes);
        CHECK(report.damage + report.wrong_units + report.rereads == 0);
        CHECK(store.value("gantry_store_scrub_findings_total") == 0);
        CHECK(store.value("gantry_store_scrub_rounds_total") == 1);
        CHECK(store.value("gantry_store_scrub_position") == double(report.to.value));
        CHECK(store.value("gantry_store_scrubbed_bytes_total") == double(report.bytes));
        CHECK(store.value("gantry_store_scrub_last_round_seconds") ==
              double(store.at.clock.wall_ms()) / 1'000);
        CHECK(store.missing().empty());
    }

    TEST_CASE("a byte that changes in a running store costs its message, and is told once") {
        Scrubbed store;
        std::int64_t inside = 0;
        bool is_alone = true;
        SUBCASE("in the body") {
            inside = 300;
        }
        SUBCASE("in the magic") {
            inside = 5;
        }
        SUBCASE("in the size") {
            inside = 1;
        }
        SUBCASE("in the log offset") {
            inside = 30;
        }
        SUBCASE("in the body's length") {
            inside = 85;
        }
        SUBCASE("in a field without a CRC") {
            inside = 41;
            is_alone = false;
        }
        store.flip(150, inside);
        const ScrubReport report = store.scrub();
        CHECK(report.damage == 1);
        CHECK(report.wrong_units == 0);
        const std::set<std::int64_t> gone = store.missing();
        CHECK(gone.count(150) == 1);
        CHECK((gone.size() == 1) == is_alone);
        CHECK(gone.size() <= BlockSums::kBlockBytes / 900 + 2);
        CHECK(store.value("gantry_store_lost_messages_total") == double(gone.size()));
        CHECK(store.value("gantry_store_scrub_findings_damage_total") == 1);
        CHECK_FALSE(store.at.store->record_at(store.places[150].first).has_value());
        CHECK(store.scrub().damage == 0);
        REQUIRE(store.at.store->close());
        store.at.open();
        CHECK(store.at.recovery.lost_ranges == 0);
        CHECK(store.missing() == gone);
    }

    TEST_CASE("any byte that changes in a running store is found by its next round") {
        constexpr std::size_t kBodyBytes = 40;
        const Killed killed(5, true, kBodyBytes, true);
        const std::int64_t end = killed.places[3].end.value;
        for (std::int64_t at = killed.places[0].first.value; at < end; at += 5) {
            CAPTURE(at);
            const auto hit = std::find_if(
                killed.places.begin(), killed.places.end(), [at](const Appended& place) {
                    return at < place.end.value;
                });
            const auto number = static_cast<std::size_t>(hit - killed.places.begin());
            StoreFixture opened(killed.copy());
            opened.open();
            const fs::path segment = segment_path(opened.options.directory);
            std::string byte = read_bytes(segment, at, 1);
            byte[0] = static_cast<char>(byte[0] ^ 0x20);
            overwrite(segment, at, byte);
            const Result<ScrubReport> report = opened.store->scrub();
            REQUIRE(report);
            CHECK(report->damage >= 1);
            CHECK(report->wrong_units == 0);
            CHECK_FALSE(opened.store->record_at(killed.places[number].first).has_value());
            std::uint64_t served = 0;
            for (std::size_t i = 0; i < killed.places.size(); ++i) {
                const Result<std::string> bytes = opened.store->record_at(killed.places[i].first);
                served += bytes ? 1 : 0;
                CHECK((!bytes || bytes->find(killed.bodies[i]) != std::string::npos));
            }
            const double lost = opened.metrics.values().at("gantry_store_lost_messages_total");
            CHECK(served + static_cast<std::uint64_t>(lost) >= killed.places.size());
            CHECK(opened.store->scrub()->damage == 0);
        }
    }

    TEST_CASE("several damaged places cost the messages they touch and no other") {
        Scrubbed store;
        for (const std::size_t number : {0U, 66U, 67U, 150U, 299U}) {
            store.flip(number, 400);
        }
        CHECK(store.scrub().damage == 4);
        CHECK(store.missing() == std::set<std::int64_t>{0, 66, 67, 150, 299});
    }

    TEST_CASE("told to refuse, damage is told each round and left to be served or refused") {
        Scrubbed store(OnDamage::kRefuse);
        store.flip(20, 300);
        CHECK(store.scrub().damage == 1);
        CHECK(store.scrub().damage == 1);
        CHECK(store.value("gantry_store_scrub_findings_total") == 2);
        CHECK(store.value("gantry_store_lost_ranges") == 0);
        CHECK_FALSE(fs::exists(store.at.options.directory / "lost"));
    }

    TEST_CASE("a wrong unit of a consume queue is written again, but the first of a queue") {
        Scrubbed store;
        QueueIndex& index = *store.at.queue("t").index;
        const QueueUnit right = *index.unit_at(QueueOffset(100));
        SUBCASE("another place") {
            REQUIRE(index.rewrite(QueueOffset(100), *index.unit_at(QueueOffset(90))));
        }
        SUBCASE("another size") {
            REQUIRE(index.rewrite(QueueOffset(100), {right.at, right.size + 1, right.tag}));
        }
        SUBCASE("another tag") {
            REQUIRE(index.rewrite(QueueOffset(100), {right.at, right.size, 7}));
        }
        SUBCASE("a hole") {
            REQUIRE(index.rewrite(QueueOffset(100), {right.at, QueueUnit::kHoleSize, 0}));
        }
        const ScrubReport report = store.scrub();
        CHECK(report.wrong_units == 1);
        CHECK(report.mended_units == 1);
        CHECK(report.damage == 0);
        CHECK(index.unit_at(QueueOffset(100)) == right);
        CHECK(store.value("gantry_store_scrub_findings_index_total") == 1);
        CHECK(store.scrub().wrong_units == 0);
        CHECK(store.missing().empty());

        const QueueUnit first = *index.unit_at(QueueOffset(0));
        REQUIRE(index.rewrite(QueueOffset(0), {first.at + 1, first.size, first.tag}));
        const ScrubReport told = store.scrub();
        CHECK(told.wrong_units == 1);
        CHECK(told.mended_units == 0);
    }

    TEST_CASE("messages of a topic's former life are no findings") {
        Scrubbed store;
        wire::StateRecord changes;
        changes.add_changes()->set_topicdelete("t");
        REQUIRE(store.at.store->state().commit(changes));
        CHECK(store.scrub().wrong_units == 0);
        for (int i = 0; i < 3; ++i) {
            REQUIRE(store.at.append(store.at.queue("t"), {{"again", "", ""}}));
        }
        store.flush();
        const ScrubReport report = store.scrub();
        CHECK(report.wrong_units == 0);
        CHECK(report.damage == 0);
        CHECK(read_bodies(*store.at.store, store.at.queue("t")) ==
              std::vector<std::string>{"again", "again", "again"});
    }

    TEST_CASE("what the disk does not give is quarantined as a read error") {
        FaultyFileSystem files;
        Scrubbed store(OnDamage::kQuarantine, &files);
        const LogOffset bad = store.places[100].first + 200;
        const std::uint64_t page =
            static_cast<std::uint64_t>(bad.value) % kTestSegmentBytes / 4'096 * 4'096;
        const LogOffset base(bad.value / std::int64_t{kTestSegmentBytes} *
                             std::int64_t{kTestSegmentBytes});
        files.fail({.call = Call::kRead,
                    .path_part = "commitlog/" + segment_name(base),
                    .from = page,
                    .to = page + 4'096});
        const ScrubReport report = store.scrub();
        CHECK(report.damage >= 1);
        CHECK(report.read_errors == report.damage);
        const std::set<std::int64_t> gone = store.missing();
        const LogOffset begin = base + static_cast<std::int64_t>(page);
        for (std::size_t i = 0; i < kMessages; ++i) {
            const bool is_touched =
                store.places[i].first < begin + 4'096 && store.places[i].end > begin;
            CHECK(gone.count(static_cast<std::int64_t>(i)) == (is_touched ? 1 : 0));
        }
        const ScrubReport again = store.scrub();
        CHECK(again.damage == 0);
        CHECK(again.rereads == 0);
    }

    TEST_CASE("appends meanwhile are no findings") {
        Scrubbed store;
        std::atomic<bool> is_over{false};
        Queue& queue = store.at.queue("t", 1);
        std::thread writer([&] {
            for (std::size_t i = 0; i < 3'000 && !is_over.load(); ++i) {
                if (!store.at.append(queue, {{numbered_body(i, 700), "tag", ""}})) {
                    return;
                }
                if (i % 50 == 0) {
                    store.at.store->flush_soon();
                }
            }
        });
        ScrubReport all;
        for (int i = 0; i < 20; ++i) {
            const Result<ScrubReport> report = store.at.store->scrub();
            all.damage += report ? report->damage + report->rereads : 1;
            all.wrong_units += report ? report->wrong_units : 1;
        }
        is_over.store(true);
        writer.join();
        CHECK(all.damage == 0);
        CHECK(all.wrong_units == 0);
    }

    TEST_CASE("the limit of bytes a second holds, round after round") {
        Scrubbed store;
        REQUIRE(store.at.store->close());
        store.at.store.reset();
        constexpr std::uint64_t kRate = 40'000;
        StoreOptions options = store.at.options;
        MetricRegistry metrics;
        Store::Parts parts(*store.at.posix, store.at.clock, metrics, options);
        RecoveryReport recovery;
        REQUIRE(parts.open(recovery));
        // Its own thread has no work: the rate of the store is 0.
        options.scrub.bytes_per_second = kRate;
        options.scrub.interval = std::chrono::hours(1);
        {
            Scrubber scrubber(parts, options.scrub);
            const SteadyTime begin{std::chrono::hours(100)};
            Counter& read = metrics.counter("gantry_store_scrubbed_bytes_total", "");
            Counter& rounds = metrics.counter("gantry_store_scrub_rounds_total", "");
            SteadyTime now = begin;
            while (rounds.value() == 0) {
                const std::uint64_t before = read.value();
                const SteadyTime next = scrubber.step(now);
                const double passed = std::chrono::duration<double>(now - begin).count();
                REQUIRE(double(before) <= passed * kRate + kTestSegmentBytes);
                REQUIRE((next > now || rounds.value() > 0));
                now = std::max(next, now);
            }
            const std::uint64_t whole = read.value();
            CHECK(whole >= kMessages * 900);
            CHECK(std::chrono::duration<double>(now - begin).count() * kRate >=
                  double(whole - kTestSegmentBytes));
            // Called early, it does nothing.
            CHECK(scrubber.step(begin) > begin);
            CHECK(read.value() == whole);
        }
        REQUIRE(parts.close());
    }

    TEST_CASE("segments that are deleted meanwhile are no findings, and the round goes on behind") {
        constexpr std::uint64_t kSegmentBytes = 1 << 20;
        const TemporaryDirectory directory(fast_directory());
        StoreFixture live(directory.path() / "live");
        live.options.segment_bytes = kSegmentBytes;
        live.open();
        for (std::size_t i = 0; i < 4'000; ++i) {
            REQUIRE(live.append(live.queue("t"), {{numbered_body(i, 900), "", ""}}));
        }
        REQUIRE(live.store->close());
        live.store.reset();
        StoreOptions options = live.options;
        options.retention.bytes_max = 2 * kSegmentBytes;
        options.retention.check_ms = 3'600'000;
        MetricRegistry metrics;
        Store::Parts parts(*live.posix, live.clock, metrics, options);
        RecoveryReport recovery;
        REQUIRE(parts.open(recovery));
        options.scrub.bytes_per_second = 1'000'000'000;
        {
            Scrubber scrubber(parts, options.scrub);
            SteadyTime now{std::chrono::hours(100)};
            now = scrubber.step(now);
            const Counter& read = metrics.counter("gantry_store_scrubbed_bytes_total", "");
            CHECK(read.value() == ScrubFile::kReadBytes);
            // Not read yet, and never a finding.
            overwrite(segment_path(options.directory), 600'000, "damage");
            REQUIRE(parts.retention->run());
            const LogOffset first = parts.log->first();
            REQUIRE(first > LogOffset(0));
            const Counter& rounds = metrics.counter("gantry_store_scrub_rounds_total", "");
            while (rounds.value() == 0) {
                now = scrubber.step(now);
            }
            CHECK(metrics.values().at("gantry_store_scrub_findings_total") == 0);
            CHECK(metrics.values().at("gantry_store_scrub_position") ==
                  double(parts.log->flushed().value));
            CHECK(read.value() > bytes_between(first, parts.log->flushed()));
        }
        REQUIRE(parts.close());
    }

    TEST_CASE("the thread goes on where the last process was") {
        Scrubbed store;
        const LogOffset third(2 * kTestSegmentBytes);
        const LogOffset end = store.at.store->watermarks().flushed;
        REQUIRE(store.at.store->close());
        const fs::path path = store.at.options.directory / "scrub";
        REQUIRE(
            save_scrub_mark(*store.at.posix, path, {store.at.clock.wall_ms(), 5'000, third, end}));
        store.at.options.scrub.bytes_per_second = 1'000'000'000;
        store.at.open();
        REQUIRE(harness::wait_until(
            kPatience, [&] { return store.value("gantry_store_scrub_rounds_total") == 1; }));
        CHECK(store.value("gantry_store_scrubbed_bytes_total") < double(end - third) + 1);
        REQUIRE(store.at.store->close());
        const auto mark = load_scrub_mark(*store.at.posix, path);
        REQUIRE(mark);
        CHECK(mark->segment == mark->end);
        CHECK(mark->done_ms == store.at.clock.wall_ms());
        // The round is over: the next one is a day away.
        store.at.open();
        REQUIRE(store.at.store->close());
        CHECK(load_scrub_mark(*store.at.posix, path)->done_ms == mark->done_ms);
    }

    TEST_CASE("a damaged mark begins a new round") {
        const TemporaryDirectory directory(fast_directory());
        const auto files = make_posix_file_system();
        const fs::path path = directory.path() / "scrub";
        CHECK_FALSE(load_scrub_mark(*files, path));
        REQUIRE(save_scrub_mark(*files, path, {1, 2, LogOffset(3), LogOffset(4)}));
        const auto mark = load_scrub_mark(*files, path);
        REQUIRE(mark);
        CHECK(mark->begun_ms == 1);
        CHECK(mark->done_ms == 2);
        CHECK(mark->segment == LogOffset(3));
        CHECK(mark->end == LogOffset(4));
        for (std::int64_t at = 0; at < 48; ++at) {
            REQUIRE(save_scrub_mark(*files, path, *mark));
            std::string byte = read_bytes(path, at, 1);
            byte[0] = static_cast<char>(byte[0] ^ 1);
            overwrite(path, at, byte);
            CHECK_FALSE(load_scrub_mark(*files, path));
        }
    }
}

}  // namespace
}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/cold/cold_reader.h"

#include "storage/index/queue_index.h"
#include "tests/storage/faulty_file_system.h"
#include "tests/storage/store_fixture.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <future>
#include <memory>
#include <string>
#include <vector>

namespace gantry::storage {
namespace {

constexpr std::chrono::seconds kPatience{60};

/// A store's log, taken as not being in the page cache, whatever the system has kept of it.
class ColdLog final : public ColdSource {
public:
    ColdLog() { at.files = &files; }

    void open() {
        at.options.segment_bytes = 4 << 20;
        at.open();
    }

    ReadResult find(const Queue& queue, const ReadRequest& request) override {
        ReadRequest cold = request;
        cold.bytes_max = std::min(request.bytes_max, request.cold_bytes_max);
        cold.is_fresh = true;
        ReadResult result = at.store->read(queue, cold);
        result.is_cold = result.status == ReadStatus::kFound;
        const MutexLock lock(mutex);
        if (result.is_cold) {
            for (const LogRun& run : result.runs) {
                segment_ = std::static_pointer_cast<const Segment>(run.pin);
            }
        }
        return result;
    }

    SegmentPtr segment(LogOffset where) override {
        const MutexLock lock(mutex);
        return segment_ && where < segment_->end() ? segment_ : nullptr;
    }

    LogOffset end() override { return at.store->watermarks().appended; }

    void damage_found(LogOffset from, LogOffset to, std::string) override {
        const MutexLock lock(mutex);
        damage.emplace_back(from, to);
    }

    std::pair<std::uint64_t, std::uint64_t> flushes() override { return {}; }

    /// Appends messages and remembers their bodies.
    void fill(Queue& queue, std::size_t count, std::size_t bytes) {
        for (std::size_t i = 0; i < count; ++i) {
            bodies.push_back(numbered_body(bodies.size(), bytes));
            REQUIRE(at.append(queue, {{bodies.back(), "", ""}}));
        }
    }

    TemporaryDirectory directory;
    FaultyFileSystem files;
    StoreFixture at{directory.path()};
    std::vector<std::string> bodies;
    SystemClock clock;
    Mutex mutex;
    std::vector<std::pair<LogOffset, LogOffset>> damage GANTRY_GUARDED_BY(mutex);

private:
    SegmentPtr segment_ GANTRY_GUARDED_BY(mutex);
};

/// A cold reader over such a log, with one queue. The log is a member, whole until the reader's
/// threads have ended.
class ColdFixture {
public:
    explicit ColdFixture(ColdOptions cold = {}) : options(cold) {
        options.memory_bytes = 8 << 20;
        log.open();
        queue = &at.queue("t");
    }

    void start() {
        reader = std::make_unique<ColdReader>(log, clock, metrics, options);
        reader->start();
    }

    void fill(Queue& to, std::size_t count, std::size_t bytes) { log.fill(to, count, bytes); }

    /// `tags` empty: all.
    std::future<Result<ReadResult>> begin(QueueOffset from,
                                          std::string group = "g",
                                          const std::vector<std::int64_t>& tags = {}) {
        ColdRequest request;
        request.queue = queue;
        request.units.from = from;
        request.units.count_max = 1'000'000;
        request.units.bytes_max = 8 << 20;
        if (!tags.empty()) {
            request.tags = std::make_shared<const std::vector<std::int64_t>>(tags);
        }
        request.group = std::move(group);
        request.stream = std::hash<std::string>{}(request.group);
        auto done = std::make_shared<std::promise<Result<ReadResult>>>();
        auto result = done->get_future();
        const Status taken = reader->read(
            std::move(request), [done](Result<ReadResult> r) { done->set_value(std::move(r)); });
        if (!taken) {
            done->set_value(taken.error());
        }
        return result;
    }

    Result<ReadResult> read(QueueOffset from,
                            std::string group = "g",
                            const std::vector<std::int64_t>& tags = {}) {
        auto result = begin(from, std::move(group), tags);
        REQUIRE(result.wait_for(kPatience) == std::future_status::ready);
        return result.get();
    }

    /// Bodies of the whole queue.
    std::vector<std::string> read_all(const std::string& group = "g") {
        std::vector<std::string> all;
        QueueOffset from = queue->min();
        while (from < queue->max()) {
            const Result<ReadResult> got = read(from, group);
            REQUIRE(got.has_value());
            REQUIRE(got->status == ReadStatus::kFound);
            CHECK_FALSE(got->is_cold);
            for (const LogRun& run : got->runs) {
                REQUIRE(wire::for_each_record(
                    run.memory, [&](const std::byte*, const wire::Record& record) -> Status {
                        CHECK(record.queue_offset == from);
                        all.emplace_back(as_text(record.body));
                        from += 1;
                        return ok();
                    }));
            }
            REQUIRE(got->next == from);
        }
        return all;
    }

    double metric(const std::string& name) { return metrics.values().at(name); }

    ColdLog log;
    const TemporaryDirectory& directory = log.directory;
    FaultyFileSystem& files = log.files;
    StoreFixture& at = log.at;
    const std::vector<std::string>& bodies = log.bodies;
    SystemClock& clock = log.clock;
    ColdOptions options;
    MetricRegistry metrics;
    Queue* queue = nullptr;
    std::unique_ptr<ColdReader> reader;  ///< the last: its threads use what is above
};

/// Where a record's body starts; its first byte can be flipped.
void damage_body(ColdFixture& f, LogOffset record) {
    const auto file = f.at.posix->open(f.directory.path() / "commitlog/00000000000000000000",
                                       FileSystem::Open::kReadWrite);
    REQUIRE(file);
    REQUIRE((*file)->write_at(static_cast<std::uint64_t>(record.value) + 100, as_bytes("\x01")));
    REQUIRE((*file)->sync_data());
}

TEST_SUITE("storage/cold/cold_reader") {
    TEST_CASE_FIXTURE(ColdFixture,
                      "cold reads give exactly the bytes, past the page cache or not") {
        SUBCASE("direct") {}
        SUBCASE("through the page cache") {
            options.is_direct = false;
        }
        SUBCASE("one thread") {
            options.threads = 1;
        }
        fill(*queue, 1'500, 2'000);
        start();
        CHECK(read_all() == bodies);
        CHECK(metric("gantry_store_cold_errors_total") == 0);
        CHECK(metric("gantry_store_cold_bytes_total") >= 1'500 * 2'000);
    }

    TEST_CASE_FIXTURE(ColdFixture, "records among those of other queues are found") {
        Queue& other = at.queue("other");
        for (int i = 0; i < 300; ++i) {
            fill(*queue, 1, 500);
            REQUIRE(at.append(other, {{numbered_body(7, 9'000), "", ""}}));
        }
        start();
        CHECK(read_all() == bodies);
    }

    TEST_CASE_FIXTURE(ColdFixture, "a few records far apart are read without what is between") {
        Queue& other = at.queue("other");
        for (int i = 0; i < 3; ++i) {
            fill(*queue, 1, 500);
            for (int k = 0; k < 100; ++k) {
                REQUIRE(at.append(other, {{numbered_body(7, 9'000), "", ""}}));
            }
        }
        start();
        CHECK(read_all() == bodies);
        CHECK(metric("gantry_store_cold_disk_bytes_total") <= 3 * 8'192);
    }

    TEST_CASE_FIXTURE(ColdFixture, "readers of the same bytes share the reads of the disk") {
        fill(*queue, 1'500, 2'000);
        start();
        for (int i = 0; i < 10; ++i) {
            CHECK(read_all("group-" + std::to_string(i)) == bodies);
        }
        const double log_bytes = static_cast<double>(log.end().value);
        CHECK(metric("gantry_store_cold_bytes_total") >= 10 * 1'500 * 2'000);
        CHECK(metric("gantry_store_cold_disk_bytes_total") <= 2 * log_bytes + (4 << 20));
        CHECK(metric("gantry_store_cold_memory_bytes") <= 8 << 20);
    }

    TEST_CASE_FIXTURE(ColdFixture,
                      "a damaged record ends the reply, is told, and is stepped over") {
        fill(*queue, 20, 2'000);
        const LogOffset tenth = queue->index->unit_at(QueueOffset(10))->at;
        damage_body(*this, tenth);
        start();
        Result<ReadResult> got = read(QueueOffset(0));
        REQUIRE(got.has_value());
        CHECK(got->status == ReadStatus::kFound);
        CHECK(got->count == 10);
        CHECK(got->next == QueueOffset(10));
        got = read(QueueOffset(10));
        REQUIRE(got.has_value());
        CHECK(got->status == ReadStatus::kCorrupt);
        CHECK(got->lost_from == QueueOffset(10));
        CHECK(got->next == QueueOffset(11));
        CHECK(got->runs.empty());
        got = read(QueueOffset(11));
        REQUIRE(got.has_value());
        CHECK(got->count == 9);
        const MutexLock lock(log.mutex);
        REQUIRE(log.damage.size() == 2);
        CHECK(log.damage[0] == log.damage[1]);
        CHECK(log.damage[0].first == tenth);
        CHECK(log.damage[0].second == queue->index->unit_at(QueueOffset(10))->end());
    }

    TEST_CASE_FIXTURE(ColdFixture, "what a filter leaves out around a damaged record is not lost") {
        for (int i = 0; i < 20; ++i) {
            const std::string tag = i % 5 == 0 ? "wanted" : "other";
            REQUIRE(at.append(*queue, {{numbered_body(0, 2'000), tag, ""}}));
        }
        damage_body(*this, queue->index->unit_at(QueueOffset(10))->at);
        start();
        const std::vector<std::int64_t> wanted{wire::tag_hash("wanted")};
        Result<ReadResult> got = read(QueueOffset(0), "g", wanted);
        REQUIRE(got.has_value());
        CHECK(got->status == ReadStatus::kFound);
        CHECK(got->count == 2);
        CHECK(got->next == QueueOffset(10));
        got = read(QueueOffset(7), "g", wanted);
        REQUIRE(got.has_value());
        CHECK(got->status == ReadStatus::kCorrupt);
        CHECK(got->lost_from == QueueOffset(10));
        CHECK(got->next == QueueOffset(11));
        got = read(QueueOffset(11), "g", wanted);
        REQUIRE(got.has_value());
        CHECK(got->count == 1);
    }

    TEST_CASE_FIXTURE(ColdFixture, "a read error of the disk is told as such, and others go on") {
        options.is_direct = false;
        fill(*queue, 20, 2'000);
        start();
        files.fail({.call = Call::kRead, .path_part = "commitlog/0"});
        const Result<ReadResult> failed = read(QueueOffset(0));
        CHECK(code_of(failed) == Errc::kIo);
        CHECK(failed.error().detail.find("injected failure") != std::string::npos);
        CHECK(metric("gantry_store_cold_errors_total") >= 1);
        CHECK(at.store->read(*queue, {.from = QueueOffset(5), .count_max = 1}).count == 1);
        files.heal();
        CHECK(read_all() == bodies);
    }

    TEST_CASE_FIXTURE(ColdFixture, "a group beyond its rate waits while another is served") {
        options.group_bytes_per_second = 1'000;
        options.threads = 1;
        fill(*queue, 20, 2'000);
        start();
        REQUIRE(read(QueueOffset(0), "limited").has_value());
        // Owes forty seconds now.
        auto waiting = begin(QueueOffset(0), "limited");
        CHECK(read(QueueOffset(0), "other").has_value());
        CHECK(waiting.wait_for(std::chrono::seconds(0)) == std::future_status::timeout);
        reader->stop();
        REQUIRE(waiting.wait_for(kPatience) == std::future_status::ready);
        CHECK(code_of(waiting.get()) == Errc::kClosed);
        CHECK(code_of(read(QueueOffset(0))) == Errc::kClosed);
    }

    TEST_CASE_FIXTURE(ColdFixture, "answers that are not taken shrink, and readers still go on") {
        options.memory_bytes = 8 << 20;
        fill(*queue, 2'000, 2'000);
        start();
        std::vector<ReadResult> kept;
        std::uint32_t least = UINT32_MAX;
        for (int i = 0; i < 40; ++i) {
            Result<ReadResult> got = read(QueueOffset(i * 10), "g" + std::to_string(i));
            REQUIRE(got.has_value());
            REQUIRE(got->count >= 1);
            least = std::min(least, got->count);
            kept.push_back(std::move(got).value());
        }
        CHECK(kept.front().count > 100);
        CHECK(least == 1);
    }
}

}  // namespace
}  // namespace gantry::storage

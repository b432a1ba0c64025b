// SPDX-License-Identifier: Apache-2.0
#include "common/unique_fd.h"
#include "storage/log/run_bytes.h"
#include "storage/log/segment.h"
#include "tests/harness/wait.h"
#include "tests/storage/store_fixture.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fcntl.h>
#include <fstream>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <thread>

namespace gantry::storage {
namespace {

constexpr std::chrono::seconds kPatience{60};
constexpr std::size_t kPageBytes = 4'096;

bool is_in_memory(const std::filesystem::path& path) {
    struct statfs system {};

    REQUIRE(::statfs(path.c_str(), &system) == 0);
    return system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC;
}

/// Pages of a segment that are in the page cache.
std::size_t resident_pages(const std::filesystem::path& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    void* const at = ::mmap(nullptr, kTestSegmentBytes, PROT_READ, MAP_SHARED, file.get(), 0);
    REQUIRE(at != MAP_FAILED);
    std::vector<unsigned char> pages(kTestSegmentBytes / kPageBytes);
    REQUIRE(::mincore(at, kTestSegmentBytes, pages.data()) == 0);
    ::munmap(at, kTestSegmentBytes);
    return static_cast<std::size_t>(
        std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return page & 1U; }));
}

std::vector<TestMessage> plain(const std::vector<std::string>& bodies) {
    std::vector<TestMessage> messages;
    for (const std::string& body : bodies) {
        messages.push_back({body, "", ""});
    }
    return messages;
}

TEST_SUITE("storage/store_read") {
    TEST_CASE("what the cache has no room for is read from the disk, byte by byte the same") {
        TemporaryDirectory directory;
        StoreFixture at(directory.path() / "store");
        at.options.cache_bytes = 2 * kTestSegmentBytes;
        at.options.flush_interval_ms = 1;
        at.open();
        Queue& queue = at.queue("t");
        std::vector<std::string> bodies;
        for (std::size_t i = 0; i < 2'000; ++i) {
            bodies.push_back(numbered_body(i, 900));
            REQUIRE(at.append(queue, {{bodies.back(), "", ""}}));
        }
        const std::filesystem::path first =
            at.options.directory / "commitlog" / segment_name(LogOffset(0));
        const auto is_dropped = [&] {
            bodies.push_back(numbered_body(bodies.size(), 900));
            REQUIRE(at.append(queue, {{bodies.back(), "", ""}}));
            return resident_pages(first) < kTestSegmentBytes / kPageBytes / 2;
        };
        // A file system in memory has nowhere else to keep them.
        CHECK((is_in_memory(first) || harness::wait_until(kPatience, is_dropped)));
        CHECK(read_bodies(*at.store, queue) == bodies);
        at.open();
        CHECK(read_bodies(*at.store, at.queue("t")) == bodies);
    }

    TEST_CASE("records adjacent in the log come as one run, others as one run each") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& one = at.queue("t", 0);
        Queue& two = at.queue("t", 1);
        REQUIRE(at.append(one, plain({"a", "b", "c"})));
        REQUIRE(at.append(one, plain({"d"})));
        REQUIRE(at.append(two, plain({"x"})));
        REQUIRE(at.append(one, plain({"e"})));
        const ReadResult result = at.store->read(one, {.from = QueueOffset(0)});
        CHECK(result.status == ReadStatus::kFound);
        CHECK(result.count == 5);
        CHECK(result.next == QueueOffset(5));
        CHECK(result.max == QueueOffset(5));
        REQUIRE(result.runs.size() == 2);
        CHECK(result.runs[0].length + result.runs[1].length == result.bytes);
        CHECK(result.runs[0].length > result.runs[1].length);
        CHECK_FALSE(result.is_cold);
        for (const LogRun& run : result.runs) {
            std::string file(run.length, '\0');
            REQUIRE(::pread(run.fd, file.data(), run.length, static_cast<off_t>(run.file_offset)) ==
                    static_cast<ssize_t>(run.length));
            CHECK(file == as_text(run.memory));
        }
    }

    TEST_CASE("where a read starts decides its status and where to go on") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        ReadResult result = at.store->read(queue, {.from = QueueOffset(0)});
        CHECK(result.status == ReadStatus::kAtEnd);
        CHECK(result.next == QueueOffset(0));
        REQUIRE(at.append(queue, plain({"a", "b"})));
        result = at.store->read(queue, {.from = QueueOffset(2)});
        CHECK(result.status == ReadStatus::kAtEnd);
        result = at.store->read(queue, {.from = QueueOffset(3)});
        CHECK(result.status == ReadStatus::kTooLarge);
        CHECK(result.next == QueueOffset(2));
        result = at.store->read(queue, {.from = QueueOffset(-1)});
        CHECK(result.status == ReadStatus::kTooSmall);
        CHECK(result.next == QueueOffset(0));
    }

    TEST_CASE("limits on count and bytes hold, but one record is always given") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        REQUIRE(at.append(queue, plain({std::string(1'000, 'a'), std::string(1'000, 'b'), "c"})));
        ReadResult result =
            at.store->read(queue, {.from = QueueOffset(0), .bytes_max = 10, .count_max = 32});
        CHECK(result.count == 1);
        CHECK(result.next == QueueOffset(1));
        result = at.store->read(queue, {.from = QueueOffset(0), .bytes_max = 2'200});
        CHECK(result.count == 2);
        CHECK(result.bytes <= 2'200);
        result = at.store->read(queue, {.from = QueueOffset(0), .count_max = 1});
        CHECK(result.count == 1);
        CHECK(result.next == QueueOffset(1));
    }

    TEST_CASE("a tag filter skips what does not match and says where to go on") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        REQUIRE(at.append(queue,
                          {{"a", "red", ""}, {"b", "blue", ""}, {"c", "red", ""}, {"d", "", ""}}));
        const std::vector<std::int64_t> red{wire::tag_hash("red")};
        ReadResult result = at.store->read(queue, {.from = QueueOffset(0), .tag_hashes = &red});
        CHECK(result.status == ReadStatus::kFound);
        CHECK(result.count == 2);
        CHECK(result.runs.size() == 2);
        CHECK(result.next == QueueOffset(4));

        const std::vector<std::int64_t> green{wire::tag_hash("green")};
        result = at.store->read(queue, {.from = QueueOffset(0), .tag_hashes = &green});
        CHECK(result.status == ReadStatus::kNoMatch);
        CHECK(result.next == QueueOffset(4));
        CHECK(result.runs.empty());
        result =
            at.store->read(queue, {.from = QueueOffset(0), .tag_hashes = &green, .scan_max = 3});
        CHECK(result.status == ReadStatus::kNoMatch);
        CHECK(result.next == QueueOffset(3));
    }

    TEST_CASE("runs stay readable when their segment has left the hot window") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        REQUIRE(at.append(queue, plain({"first"})));
        const ReadResult early = at.store->read(queue, {.from = QueueOffset(0)});
        REQUIRE(early.runs.size() == 1);
        std::vector<std::string> expected{"first"};
        for (std::size_t i = 0; i < 400; ++i) {
            expected.push_back(numbered_body(i, 2'000));
            REQUIRE(at.append(queue, plain({expected.back()})));
        }
        // The preparer unmaps in its own time.
        ReadResult late = at.store->read(queue, {.from = QueueOffset(0), .count_max = 1});
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        for (std::size_t i = 400; !late.runs[0].memory.empty(); ++i) {
            REQUIRE(std::chrono::steady_clock::now() < deadline);
            expected.push_back(numbered_body(i, 2'000));
            REQUIRE(at.append(queue, plain({expected.back()})));
            late = at.store->read(queue, {.from = QueueOffset(0), .count_max = 1});
        }
        CHECK(run_bytes(late.runs[0]) == run_bytes(early.runs[0]));
        CHECK(as_text(early.runs[0].memory) == run_bytes(late.runs[0]));
        at.store->warm_up(late);
        CHECK_FALSE(at.store->read(queue, {.from = QueueOffset(0), .count_max = 1}).is_cold);
        CHECK(read_bodies(*at.store, queue) == expected);
    }

    TEST_CASE("a record whose bytes were damaged is never served") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        REQUIRE(at.append(queue, plain({"a", "b"})));
        const auto third = at.append(queue, plain({"c"}));
        REQUIRE(third);
        REQUIRE(at.append(queue, plain({"d"})));
        const auto file = at.posix->open(directory.path() / "commitlog/00000000000000000000",
                                         FileSystem::Open::kReadWrite);
        REQUIRE(file);
        REQUIRE((*file)->write_at(static_cast<std::uint64_t>(third->first.value) + 4,
                                  as_bytes("\x01")));
        ReadResult result = at.store->read(queue, {.from = QueueOffset(0)});
        CHECK(result.status == ReadStatus::kFound);
        CHECK(result.count == 2);
        CHECK(result.next == QueueOffset(2));
        result = at.store->read(queue, {.from = QueueOffset(2), .count_max = 1});
        CHECK(result.status == ReadStatus::kCorrupt);
        CHECK(result.next == QueueOffset(3));
        CHECK(result.runs.empty());
        result = at.store->read(queue, {.from = QueueOffset(3)});
        CHECK(result.status == ReadStatus::kFound);
        CHECK(code_of(at.store->record_at(third->first)) == Errc::kNotFound);
    }

    TEST_CASE("record_at finds records only where one starts") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        const std::string inner = stored("t", 0, {"inner", "", ""});
        const auto outer = at.append(queue, plain({inner}));
        REQUIRE(outer);
        CHECK(at.store->record_at(outer->first));
        CHECK(code_of(at.store->record_at(outer->first + 1)) == Errc::kNotFound);
        CHECK(code_of(at.store->record_at(outer->end)) == Errc::kNotFound);
        CHECK(code_of(at.store->record_at(LogOffset(-5))) == Errc::kNotFound);

        // A body that forges a record, log offset included, is not one.
        std::string forged = inner;
        const LogOffset inside = outer->end + 88;
        wire::patch_record(reinterpret_cast<std::byte*>(forged.data()),
                           {QueueOffset(0), inside, 0, at.options.store_host});
        REQUIRE(at.append(queue, plain({forged})));
        CHECK(code_of(at.store->record_at(inside)) == Errc::kNotFound);
    }

    TEST_CASE("offsets are found by store time") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        const WallMs base = 1'800'000'000'000;
        for (const WallMs offset : {10, 20, 20, 30, 50}) {
            at.clock.set(base + offset);
            REQUIRE(at.append(queue, plain({"x"})));
        }
        const auto lower = [&](WallMs time) {
            return at.store->offset_by_time(queue, base + time, false).value;
        };
        const auto upper = [&](WallMs time) {
            return at.store->offset_by_time(queue, base + time, true).value;
        };
        CHECK(lower(0) == 0);
        CHECK(lower(10) == 0);
        CHECK(lower(11) == 1);
        CHECK(lower(20) == 1);
        CHECK(lower(21) == 3);
        CHECK(lower(51) == 5);
        CHECK(upper(9) == 0);
        CHECK(upper(20) == 2);
        CHECK(upper(29) == 2);
        CHECK(upper(100) == 4);
        CHECK(at.store->store_time_at(queue, QueueOffset(3)) == base + 30);
        CHECK(at.store->store_time_at(queue, QueueOffset(5)) == -1);
    }

    TEST_CASE("messages are found by exact key, newest first, within a time range") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        Queue& other = at.queue("u");
        std::vector<LogOffset> expected;
        for (int i = 0; i < 5; ++i) {
            at.clock.set(1'800'000'000'000 + i * 10'000);
            expected.insert(
                expected.begin(),
                at.append(queue, {{"x", "", "alpha beta" + std::to_string(i)}}).value().first);
            REQUIRE(at.append(other, {{"y", "", "alpha"}}));
        }
        const WallMs end = at.clock.wall_ms();
        CHECK(at.store->find_by_key({"t", "alpha", 0, end}) == expected);
        CHECK(at.store->find_by_key({"t", "alpha", 0, end, 2}) ==
              std::vector<LogOffset>(expected.begin(), expected.begin() + 2));
        CHECK(at.store->find_by_key({"t", "beta3", 0, end}) == std::vector<LogOffset>{expected[1]});
        CHECK(at.store->find_by_key({"t", "alp", 0, end}).empty());
        CHECK(at.store->find_by_key({"t", "alpha", 0, end - 15'000}).size() == 3);
    }

    TEST_CASE("with sync flush readers see only what is durable") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.options.flush = FlushMode::kSync;
        at.options.flush_interval_ms = 3'600'000;
        at.open();
        Queue& queue = at.queue("t");
        REQUIRE(at.append(queue, plain({"a", "b"})));
        CHECK(queue.max() == QueueOffset(2));
        CHECK(at.store->confirmed_max(queue) == QueueOffset(0));
        CHECK(at.store->read(queue, {.from = QueueOffset(0)}).status == ReadStatus::kAtEnd);
        std::atomic<bool> progressed{false};
        at.store->on_progress([&] { progressed = true; });
        const LogOffset end = at.store->watermarks().appended;
        at.store->flush_soon();
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (at.store->watermarks().flushed < end || !progressed) {
            REQUIRE(std::chrono::steady_clock::now() < deadline);
            std::this_thread::yield();
        }
        CHECK(at.store->confirmed_max(queue) == QueueOffset(2));
        CHECK(at.store->read(queue, {.from = QueueOffset(0)}).count == 2);
    }

    TEST_CASE("a run is read to its last byte, and one that its file does not hold is an error") {
        const TemporaryDirectory directory;
        const std::filesystem::path path = directory.path() / "file";
        std::ofstream(path) << "0123456789";
        const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        LogRun run;
        run.fd = file.get();
        run.file_offset = 4;
        run.length = 6;
        run.at = LogOffset(1'004);
        std::string bytes(6, ' ');
        REQUIRE(read_run(run, MutableBytes(reinterpret_cast<std::byte*>(bytes.data()), 6)));
        CHECK(bytes == "456789");
        run.file_offset = 5;
        const Status cut =
            read_run(run, MutableBytes(reinterpret_cast<std::byte*>(bytes.data()), 6));
        REQUIRE_FALSE(cut);
        CHECK(cut.error().code == Errc::kIo);
        CHECK(cut.error().detail == "read of 6 B at log offset 1004: file too short");
        run.fd = -1;
        CHECK_FALSE(read_run(run, MutableBytes(reinterpret_cast<std::byte*>(bytes.data()), 6)));
    }
}

}  // namespace
}  // namespace gantry::storage

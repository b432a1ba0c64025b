// SPDX-License-Identifier: Apache-2.0
#include "storage/index/consume_queues.h"

#include "storage/index/extent_files.h"
#include "tests/storage/temporary_directory.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace gantry::storage {
namespace {

QueueUnit unit_of(std::int64_t log_offset) {
    return {LogOffset(log_offset), 100, log_offset * 7 - 3};
}

/// Consume queues in a directory of their own, with a log that is only an offset.
struct Fixture {
    TemporaryDirectory directory;
    std::unique_ptr<FileSystem> files = make_posix_file_system();
    std::unique_ptr<ConsumeQueues> queues;
    std::int64_t log_end = 0;
    bool helper_thread = true;

    ConsumeQueues::Opened open() {
        queues.reset();
        auto opened = ConsumeQueues::open(*files,
                                          {.directory = directory.path() / "consumequeue",
                                           .first_file_blocks = 2,
                                           .file_blocks_max = 8,
                                           .blocks_ahead = 2,
                                           .helper_thread = helper_thread});
        REQUIRE(opened.has_value());
        queues = std::move(opened->queues);
        return std::move(opened).value();
    }

    Fixture() { open(); }

    void append(QueueIndex& queue, std::uint32_t count = 1) {
        if (!queue.has_room(count)) {
            REQUIRE(queue.ensure_room(count).has_value());
        }
        const QueueOffset first = queue.reserve(count);
        for (std::uint32_t i = 0; i < count; ++i) {
            queue.put(first + i, unit_of(log_end));
            log_end += 100;
        }
        queue.publish(first + count);
    }

    void flush() {
        REQUIRE(queues->flush([this] { return LogOffset(log_end); }).has_value());
    }

    std::filesystem::path path_of(const std::string& name) const {
        return directory.path() / "consumequeue" / name;
    }

    void flip(const std::string& name, std::uint64_t at) const {
        std::fstream file(path_of(name), std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(static_cast<std::streamoff>(at));
        const char byte = static_cast<char>(file.get() ^ 1);
        file.seekp(static_cast<std::streamoff>(at));
        file.put(byte);
    }
};

std::vector<QueueUnit> all_units(const QueueIndex& queue) {
    std::vector<QueueUnit> units(static_cast<std::size_t>(queue.max() - queue.min()));
    REQUIRE(queue.read(queue.min(), units) == units.size());
    return units;
}

}  // namespace

TEST_SUITE("storage/consume_queues") {
    TEST_CASE("units are read back over all extent classes and survive a flush and reopening") {
        Fixture f;
        QueueIndex& queue = f.queues->queue("orders", 3);
        constexpr std::int64_t kCount = 200'000;
        for (std::int64_t i = 0; i < kCount; ++i) {
            f.append(queue);
        }
        const auto check = [&](const QueueIndex& q) {
            CHECK(q.min() == QueueOffset(0));
            CHECK(q.max() == QueueOffset(kCount));
            const std::vector<QueueUnit> units = all_units(q);
            for (std::int64_t i = 0; i < kCount; ++i) {
                REQUIRE(units[static_cast<std::size_t>(i)] == unit_of(i * 100));
            }
        };
        check(queue);
        f.flush();
        CHECK_FALSE(f.open().needs_rebuild);
        QueueIndex* const again = f.queues->find("orders", 3);
        REQUIRE(again != nullptr);
        check(*again);
        CHECK(f.queues->find("orders", 2) == nullptr);
        f.append(*again, 5);
        CHECK(again->max() == QueueOffset(kCount + 5));
    }

    TEST_CASE("readers see no unit before it is published") {
        Fixture f;
        QueueIndex& queue = f.queues->queue("t", 0);
        CHECK_FALSE(queue.has_room(1));
        REQUIRE(queue.ensure_room(2).has_value());
        const QueueOffset first = queue.reserve(2);
        queue.put(first, unit_of(0));
        CHECK_FALSE(queue.unit_at(first).has_value());
        queue.put(first + 1, unit_of(100));
        queue.publish(first + 1);
        CHECK(queue.unit_at(first) == unit_of(0));
        CHECK_FALSE(queue.unit_at(first + 1).has_value());
    }

    TEST_CASE("a queue is found by log offset") {
        Fixture f;
        QueueIndex& queue = f.queues->queue("t", 0);
        f.append(queue, 1'000);
        CHECK(queue.lower_bound(LogOffset(0)) == QueueOffset(0));
        CHECK(queue.lower_bound(LogOffset(50'000)) == QueueOffset(500));
        CHECK(queue.lower_bound(LogOffset(50'001)) == QueueOffset(501));
        CHECK(queue.lower_bound(LogOffset(1'000'000)) == QueueOffset(1'000));
    }
}

}  // namespace gantry::storage

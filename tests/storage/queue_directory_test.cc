// SPDX-License-Identifier: Apache-2.0
#include "storage/index/queue_directory.h"

#include "common/checksum.h"

#include <doctest/doctest.h>

#include <string>

namespace gantry::storage {
namespace {

std::string example() {
    DirectoryWriter writer;
    const ExtentEntry extents[] = {{47, {0, 8}}, {94, {3, 16U << 3U | 1U}}};
    writer.begin_topic("orders", 2);
    writer.add_queue({0, 7, 50, 120}, extents);
    writer.add_queue({3, 9, 12, 12}, {});
    writer.begin_topic("", 0);
    return std::move(writer).finish(11, LogOffset(12'345));
}

/// The example with one field changed and the checksum made right again.
std::string forged(std::size_t at, std::uint32_t value) {
    std::string file = example();
    auto* const bytes = reinterpret_cast<std::byte*>(file.data());
    store_be(bytes + at, value);
    store_be(bytes + file.size() - 8, xxh3(as_bytes(file).first(file.size() - 8)));
    return file;
}

constexpr std::size_t kFirstQueue = 28 + 2 + 6 + 4;  // header, name, number of queues

}  // namespace

TEST_SUITE("storage/queue_directory") {
    TEST_CASE("what was written is read back") {
        const Result<Directory> read = parse_directory(as_bytes(example()));
        REQUIRE(read.has_value());
        CHECK(read->next_uid == 11);
        CHECK(read->published == LogOffset(12'345));
        REQUIRE(read->topics.size() == 2);
        CHECK(read->topics[0].name == "orders");
        REQUIRE(read->topics[0].queues.size() == 2);
        const Directory::Queue& queue = read->topics[0].queues[0];
        CHECK(queue.entry.queue_id == 0);
        CHECK(queue.entry.uid == 7);
        CHECK(queue.entry.min == 50);
        CHECK(queue.entry.max == 120);
        REQUIRE(queue.extents.size() == 2);
        CHECK(queue.extents[0].base == 47);
        CHECK(queue.extents[0].end() == 95);
        CHECK(queue.extents[1].base == 95);
        CHECK(queue.extents[1].place.file == 3);
        CHECK(queue.extents[1].place.extent_class() == 1);
        CHECK(queue.extents[1].place.block_offset() == 16'384);
        CHECK(read->topics[0].queues[1].extents.empty());
        CHECK(read->topics[0].queues[1].entry.max == 12);
        CHECK(read->topics[1].queues.empty());
    }

    TEST_CASE("every flipped bit and every truncation is found") {
        const std::string good = example();
        for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
            std::string bad = good;
            bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
            REQUIRE_FALSE(parse_directory(as_bytes(bad)).has_value());
        }
        for (std::size_t size = 0; size < good.size(); ++size) {
            REQUIRE_FALSE(parse_directory(as_bytes(good.substr(0, size))).has_value());
        }
        REQUIRE_FALSE(parse_directory(as_bytes(good + '\0')).has_value());
    }

    TEST_CASE("entries that contradict themselves are refused although the checksum is right") {
        REQUIRE(parse_directory(as_bytes(forged(kFirstQueue, 1))).has_value());
        const auto is_refused = [](std::size_t at, std::uint32_t value) {
            const Result<Directory> read = parse_directory(as_bytes(forged(at, value)));
            return !read && read.error().code == Errc::kCorrupt;
        };
        CHECK(is_refused(0, 1));                           // magic
        CHECK(is_refused(4, 2));                           // version
        CHECK(is_refused(24, 3));                          // topics
        CHECK(is_refused(24, 1));                          // left-over bytes
        CHECK(is_refused(kFirstQueue + 12, 0xFFFFFFFFU));  // min below 0
        CHECK(is_refused(kFirstQueue + 16, 40));           // min before the first extent
        CHECK(is_refused(kFirstQueue + 24, 1'000));        // max behind the last extent
        CHECK(is_refused(kFirstQueue + 36, 0xFFFFFFFFU));  // extents
        CHECK(is_refused(kFirstQueue + 44, 6));            // extent class
    }
}

}  // namespace gantry::storage

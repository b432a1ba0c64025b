// SPDX-License-Identifier: Apache-2.0
// The bytes of docs/formats/{consume-queue,key-index,state}.md, made by an independent script.
#include "storage/index/consume_queues.h"
#include "storage/index/extent_files.h"
#include "storage/index/key_index.h"
#include "storage/index/queue_directory.h"
#include "storage/state_snapshot.h"
#include "tests/storage/scratch_directory.h"

#include <doctest/doctest.h>

#include <array>
#include <string>

namespace gantry::storage {
namespace {

std::string hex(Bytes bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (const std::byte byte : bytes) {
        text += kDigits[std::to_integer<unsigned>(byte) >> 4U];
        text += kDigits[std::to_integer<unsigned>(byte) & 15U];
    }
    return text;
}

std::string hex_of_file(FileSystem& files,
                        const std::filesystem::path& path,
                        std::size_t at,
                        std::size_t size) {
    const Result<std::string> content = read_file(files, path, 64U << 20U);
    REQUIRE(content.has_value());
    return hex(as_bytes(*content).subspan(at, size));
}

}  // namespace

TEST_SUITE("storage/index formats") {
    TEST_CASE("extent header") {
        std::array<std::byte, kExtentHeaderBytes> bytes{};
        write_extent_header(bytes.data(), {0, 7, 0});
        CHECK(hex(bytes) ==
              "47435145000000010000000000000000"
              "00000000000000070000000000000000" +
                  std::string(48, '0') + "f84e1ae149ffae8f");
        CHECK(extent_header_matches(bytes.data(), {0, 7, 0}));
        CHECK_FALSE(extent_header_matches(bytes.data(), {0, 7, 1}));
        CHECK_FALSE(extent_header_matches(bytes.data(), {0, 8, 0}));
        CHECK_FALSE(extent_header_matches(bytes.data(), {1, 7, 0}));
    }

    TEST_CASE("extent file and unit") {
        const ScratchDirectory scratch;
        const auto files = make_posix_file_system();
        {
            const auto opened = ConsumeQueues::open(
                *files,
                {.directory = scratch.path(), .first_file_blocks = 2, .helper_thread = false});
            REQUIRE(opened.has_value());
            REQUIRE(opened->queues->queue("TopicA", 1)
                        .restore(QueueOffset(0), {LogOffset(0), 201, 0x27a807})
                        .has_value());
        }
        const auto path = scratch.path() / "00000000";
        CHECK(hex_of_file(*files, path, 0, 64) ==
              "47435146000000010000000000000002"
              "00100000" +
                  std::string(72, '0') + "962c0c2ffb86a66a");
        CHECK(hex_of_file(*files, path, 4'096 + 64, 20) ==
              "0000000000000000000000c9000000000027a807");
    }

    TEST_CASE("directory") {
        DirectoryWriter writer;
        const std::array<ExtentEntry, 2> extents = {{{47, {0, 8}}, {95, {3, 16U << 3U | 1U}}}};
        writer.begin_topic("orders", 2);
        writer.add_queue({0, 7, 50, 120}, extents);
        writer.add_queue({3, 9, 12, 12}, {});
        writer.begin_topic("", 0);
        CHECK(hex(as_bytes(std::move(writer).finish(11, LogOffset(12'345)))) ==
              "4743514400000001000000000000000b0000000000003039"
              "00000002"
              "00066f726465727300000002"
              "000000000000000000000007000000000000003200000000000000780000000000"
              "00002f0000000200000000000000080000000300000081"
              "000000030000000000000009000000000000000c000000000000000c0000000000"
              "00000c00000000"
              "000000000000"
              "8cb60c012b4317b0");
    }

    TEST_CASE("key index file") {
        const ScratchDirectory scratch;
        const auto files = make_posix_file_system();
        const auto opened =
            KeyIndex::open(*files, {.directory = scratch.path(), .first_file_entries = 50});
        REQUIRE(opened.has_value());
        const std::uint64_t hash = key_hash("orders", "order-4711");
        CHECK(hash == 0xf64e23886ceaf9b6U);
        REQUIRE(opened->index->put(hash, LogOffset(1'024), 1'700'000'000'000).has_value());
        REQUIRE(opened->index->flush().has_value());
        const auto path = scratch.path() / "00000000000000000000";
        CHECK(hex_of_file(*files, path, 0, 128) ==
              "474b4958000000010000001a000000320000000100000002"
              "0000018bcfe568000000018bcfe568000000018bcfe56800"
              "0000000000000400" +
                  std::string(128, '0') + "d12525ee7e4cd6f2");
        CHECK(hex_of_file(*files, path, 4'096 + ((hash >> 32U) * 26 >> 32U) * 4, 4) == "00000001");
        CHECK(hex_of_file(*files, path, 4'096 + 26 * 4, 24) ==
              "f64e23886ceaf9b600000000000004000000000000000000");
    }

    TEST_CASE("state snapshot") {
        const ScratchDirectory scratch;
        const auto files = make_posix_file_system();
        wire::StateSnapshot snapshot;
        snapshot.set_logoffset(100);
        REQUIRE(save_snapshot(*files, scratch.path(), snapshot).has_value());
        CHECK(hex_of_file(*files, scratch.path() / "00000000000000000100.snapshot", 0, 18) ==
              "47535450000000010864f66703484d0866c2");
    }
}

}  // namespace gantry::storage

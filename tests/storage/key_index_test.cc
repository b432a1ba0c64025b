// SPDX-License-Identifier: Apache-2.0
#include "storage/index/key_index.h"

#include "common/random.h"
#include "tests/storage/scratch_directory.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace gantry::storage {
namespace {

constexpr WallMs kStart = 1'700'000'000'000;
constexpr KeyIndex::Query kAlways{0,
                                  std::numeric_limits<WallMs>::min(),
                                  std::numeric_limits<WallMs>::max(),
                                  std::numeric_limits<std::uint32_t>::max()};

struct Fixture {
    ScratchDirectory scratch;
    std::unique_ptr<FileSystem> files = make_posix_file_system();
    std::unique_ptr<KeyIndex> index;

    Fixture() { open(); }

    std::filesystem::path directory() const { return scratch.path() / "index"; }

    KeyIndex::Opened open() {
        index.reset();
        auto opened = KeyIndex::open(
            *files, {.directory = directory(), .first_file_entries = 50, .file_entries_max = 400});
        REQUIRE(opened.has_value());
        index = std::move(opened->index);
        return std::move(opened).value();
    }

    void put(std::uint64_t hash, std::int64_t at, WallMs store_ms = kStart) {
        REQUIRE(index->put(hash, LogOffset(at), store_ms).has_value());
    }

    std::vector<LogOffset> find(std::uint64_t hash) const {
        KeyIndex::Query query = kAlways;
        query.hash = hash;
        return index->find(query);
    }
};

std::vector<LogOffset> offsets(std::initializer_list<std::int64_t> values) {
    std::vector<LogOffset> made;
    for (const std::int64_t value : values) {
        made.emplace_back(value);
    }
    return made;
}

/// Few hashes that share slots and many entries for each.
std::uint64_t hash_of(std::uint64_t n) {
    return (n << 40U) | n;
}

void flip_bit(const std::filesystem::path& path, std::uint64_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
}

}  // namespace

TEST_SUITE("storage/key_index") {
    TEST_CASE("a key's hash covers topic and key with a mark between") {
        CHECK(key_hash("a", "bc") == key_hash("a", "bc"));
        CHECK(key_hash("a", "bc") != key_hash("ab", "c"));
        CHECK(key_hash("a", "bc") != key_hash("a", "bd"));
        const std::string longest(30'000, 'k');
        CHECK(key_hash("topic", longest) != key_hash("topic", longest + 'k'));
        CHECK(key_hash("topic", longest) == key_hash("topic", longest));
    }

    TEST_CASE("messages of a key are found newest first, over several files") {
        Fixture f;
        for (std::int64_t i = 0; i < 2'000; ++i) {
            f.put(hash_of(static_cast<std::uint64_t>(i % 7)), i * 100);
        }
        const std::vector<LogOffset> found = f.find(hash_of(3));
        REQUIRE(found.size() == 286);
        CHECK(found.front() == LogOffset(1'998 * 100));
        CHECK(std::is_sorted(found.rbegin(), found.rend()));
        CHECK(f.find(hash_of(8)).empty());
        KeyIndex::Query few = kAlways;
        few.hash = hash_of(3);
        few.count_max = 5;
        const std::vector<LogOffset> newest = f.index->find(few);
        CHECK(newest == std::vector<LogOffset>(found.begin(), found.begin() + 5));
    }

    TEST_CASE("a search keeps to its times, also when the clock stepped back") {
        Fixture f;
        for (std::int64_t i = 0; i < 200; ++i) {
            f.put(1, i, kStart + i * 1'000);
        }
        f.put(1, 200, kStart - 5'000);
        KeyIndex::Query query{1, kStart + 10'000, kStart + 12'000, 64};
        CHECK(f.index->find(query) == offsets({12, 11, 10}));
        query = {1, kStart - 5'000, kStart - 4'000, 64};
        CHECK(f.index->find(query) == offsets({200}));
        query = {1, kStart + 1'000'000, kStart + 2'000'000, 64};
        CHECK(f.index->find(query).empty());
    }

    TEST_CASE("a clean stop keeps every entry, a crash keeps those of the last flush") {
        Fixture f;
        for (std::int64_t i = 0; i < 300; ++i) {
            f.put(hash_of(static_cast<std::uint64_t>(i % 10)), i);
        }
        REQUIRE(f.index->flush().has_value());
        CHECK_FALSE(f.open().needs_rebuild);
        CHECK(f.index->entry_count() == 300);
        CHECK(f.find(hash_of(4)).size() == 30);
        for (std::int64_t i = 300; i < 320; ++i) {
            f.put(hash_of(static_cast<std::uint64_t>(i % 10)), i);
        }
        CHECK_FALSE(f.open().needs_rebuild);
        CHECK(f.index->entry_count() == 300);
        const std::vector<LogOffset> found = f.find(hash_of(4));
        CHECK(found.size() == 30);
        CHECK(found.front() == LogOffset(294));
    }

    TEST_CASE("a flushed index without keys needs no rebuild, one never flushed does") {
        Fixture f;
        CHECK(f.open().needs_rebuild);
        f.put(1, 5);
        CHECK(f.open().needs_rebuild);
        CHECK(f.index->entry_count() == 0);
        REQUIRE(f.index->flush().has_value());
        CHECK_FALSE(f.open().needs_rebuild);
        f.put(1, 5);
        CHECK_FALSE(f.open().needs_rebuild);
    }

    TEST_CASE("truncation and replay from any checkpoint give the same entries, each once") {
        const std::uint64_t seed = test_seed();
        Random random(seed);
        for (int run = 0; run < 5; ++run) {
            Fixture f;
            std::map<std::uint64_t, std::vector<LogOffset>> model;
            std::vector<std::uint64_t> log;
            std::int64_t checkpoint = 0;
            for (int step = 0; step < 1'500; ++step) {
                const std::uint64_t hash = hash_of(random.below(20));
                f.put(hash, static_cast<std::int64_t>(log.size()));
                model[hash].insert(model[hash].begin(),
                                   LogOffset(static_cast<std::int64_t>(log.size())));
                log.push_back(hash);
                if (random.below(100) == 0) {
                    checkpoint = static_cast<std::int64_t>(log.size());
                    REQUIRE(f.index->flush().has_value());
                }
                if (random.below(150) == 0) {
                    const bool rebuild = f.open().needs_rebuild;
                    const std::int64_t from = rebuild ? 0 : checkpoint;
                    REQUIRE(f.index->truncate_after(LogOffset(from)).has_value());
                    for (auto at = static_cast<std::size_t>(from); at < log.size(); ++at) {
                        f.put(log[at], static_cast<std::int64_t>(at));
                    }
                }
            }
            for (const auto& [hash, expected] : model) {
                REQUIRE(f.find(hash) == expected);
            }
        }
    }

    TEST_CASE("files whose messages are gone are deleted") {
        Fixture f;
        for (std::int64_t i = 0; i < 1'000; ++i) {
            f.put(1, i);
        }
        const std::uint64_t bytes = f.index->file_bytes();
        REQUIRE(f.index->remove_before(LogOffset(700)).has_value());
        CHECK(f.index->file_bytes() < bytes);
        const std::vector<LogOffset> found = f.find(1);
        CHECK(found.size() >= 300);
        CHECK(found.size() < 1'000);
        REQUIRE(f.index->flush().has_value());
        f.open();
        CHECK(f.find(1) == found);
        f.put(1, 1'000);
        CHECK(f.find(1).front() == LogOffset(1'000));
    }

    TEST_CASE("a file whose header a power cut kept from the disk costs no rebuild") {
        Fixture f;
        for (std::int64_t at = 0; at < 20; ++at) {
            f.put(1, at);
        }
        REQUIRE(f.index->flush().has_value());
        const std::vector<LogOffset> flushed = f.find(1);
        f.index.reset();
        const auto path = f.directory() / "00000000000000000009";
        std::ofstream(path) << std::string(5'000, '\0');
        CHECK_FALSE(f.open().needs_rebuild);
        CHECK(f.find(1) == flushed);
        CHECK_FALSE(std::filesystem::exists(path));
    }

    TEST_CASE("a damaged header or a short file asks for a rebuild and starts empty") {
        Fixture f;
        const std::uint64_t seed = test_seed();
        Random random(seed);
        for (int i = 0; i < 16; ++i) {
            for (std::int64_t at = 0; at < 120; ++at) {
                f.put(1, at);
            }
            REQUIRE(f.index->flush().has_value());
            f.index.reset();
            const auto path = f.directory() / "00000000000000000001";
            if (i % 2 == 0) {
                flip_bit(path, random.below(128));
            } else {
                std::filesystem::resize_file(
                    path, 1 + random.below(std::filesystem::file_size(path) - 1));
            }
            const auto opened = f.open();
            CHECK(opened.needs_rebuild);
            CHECK(opened.rebuild_reason.find("index file") != std::string::npos);
            CHECK(f.index->entry_count() == 0);
        }
    }

    TEST_CASE(
        "damaged slots and entries cost matches at most, never a crash or an endless search") {
        Fixture f;
        Random random(test_seed());
        for (std::int64_t at = 0; at < 400; ++at) {
            f.put(hash_of(static_cast<std::uint64_t>(at % 5)), at);
        }
        REQUIRE(f.index->flush().has_value());
        for (int i = 0; i < 200; ++i) {
            f.index.reset();
            const auto path = f.directory() / "00000000000000000001";
            flip_bit(path, 4'096 + random.below(std::filesystem::file_size(path) - 4'096));
            f.open();
            for (std::uint64_t key = 0; key < 5; ++key) {
                CHECK(f.find(hash_of(key)).size() <= 400);
            }
        }
    }

    TEST_CASE("searches run while another thread puts and a third flushes") {
        Fixture f;
        std::atomic<bool> is_done{false};
        std::thread searcher([&] {
            while (!is_done) {
                const std::vector<LogOffset> found = f.find(hash_of(3));
                if (!std::is_sorted(found.rbegin(), found.rend())) {
                    std::abort();
                }
            }
        });
        std::thread flusher([&] {
            while (!is_done) {
                static_cast<void>(f.index->flush());
            }
        });
        for (std::int64_t i = 0; i < 5'000; ++i) {
            f.put(hash_of(static_cast<std::uint64_t>(i % 50)), i);
        }
        is_done = true;
        searcher.join();
        flusher.join();
        CHECK(f.find(hash_of(3)).size() == 100);
        REQUIRE(f.index->flush().has_value());
        f.open();
        CHECK(f.index->entry_count() == 5'000);
    }
}

}  // namespace gantry::storage

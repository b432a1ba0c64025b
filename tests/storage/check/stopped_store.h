// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "storage/log/segment.h"
#include "tests/storage/store_fixture.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

namespace gantry::storage {

/// A store with numbered messages in four queues of two topics and in several segments, stopped
/// cleanly.
struct StoppedStore {
    explicit StoppedStore(std::size_t messages, std::size_t body_bytes = 300)
        : folder(fast_directory()), at(folder.path() / "store") {
        at.open();
        for (std::size_t i = 0; i < messages; ++i) {
            at.clock.set(1'700'000'000'000 + static_cast<WallMs>(i) * 1'000);
            Queue& queue =
                at.queue(i % 3 == 0 ? "orders" : "payments", static_cast<std::int32_t>(i % 2));
            const auto appended = at.append(
                queue, {{numbered_body(i, body_bytes), "tag", "key-" + std::to_string(i)}});
            REQUIRE(appended.has_value());
            places.push_back(*appended);
        }
        stop();
    }

    void stop() {
        REQUIRE(at.store->close());
        at.store.reset();
    }

    const std::filesystem::path& directory() const { return at.options.directory; }

    /// File and position in it of a byte of the log.
    std::filesystem::path segment(LogOffset of) const {
        const auto bytes = static_cast<std::int64_t>(kTestSegmentBytes);
        return directory() / "commitlog" / segment_name(LogOffset(of.value / bytes * bytes));
    }

    void flip(LogOffset of) const {
        flip(segment(of), static_cast<std::uint64_t>(of.value) % kTestSegmentBytes);
    }

    static void flip(const std::filesystem::path& path, std::uint64_t at_byte) {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(static_cast<std::streamoff>(at_byte));
        const int before = file.get();
        file.seekp(static_cast<std::streamoff>(at_byte));
        file.put(static_cast<char>(before ^ 0x20));
        REQUIRE(file.good());
    }

    static std::string content_of(const std::filesystem::path& path) {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }

    /// Every file of the store and what is in it.
    std::map<std::string, std::string> contents() const {
        std::map<std::string, std::string> all;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(directory())) {
            all[entry.path().string()] = entry.is_regular_file() ? content_of(entry.path()) : "";
        }
        return all;
    }

    TemporaryDirectory folder;
    StoreFixture at;
    std::vector<Appended> places;
};

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "storage/log/block_sums.h"
#include "tests/harness/wait.h"
#include "tests/storage/store_fixture.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace gantry::storage {

inline constexpr std::chrono::seconds kPatience{60};

inline std::filesystem::path segment_path(const std::filesystem::path& store,
                                          std::int64_t base = 0) {
    std::string name = std::to_string(base);
    return store / "commitlog" / (std::string(20 - name.size(), '0') + name);
}

inline void overwrite(const std::filesystem::path& path,
                      std::int64_t at,
                      const std::string& bytes) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    REQUIRE(file.is_open());
    file.seekp(at);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    REQUIRE(file.good());
}

inline std::string read_bytes(const std::filesystem::path& path,
                              std::int64_t at,
                              std::size_t count) {
    std::ifstream file(path, std::ios::binary);
    file.seekg(at);
    std::string bytes(count, '\0');
    file.read(bytes.data(), static_cast<std::streamsize>(count));
    REQUIRE(file.gcount() == static_cast<std::streamsize>(count));
    return bytes;
}

/// A store with a few messages of topic "t", killed: `image` is what is left. `with_sums`: they
/// were durable; `with_checkpoint`: the topic is in a snapshot.
struct Killed {
    explicit Killed(std::size_t messages,
                    bool with_sums = false,
                    std::size_t body_bytes = 40,
                    bool with_checkpoint = false)
        : at(directory.path() / "live"), image(directory.path() / "image") {
        if (!with_sums) {
            at.options.flush_interval_ms = 3'600'000;
        }
        at.open();
        if (with_checkpoint) {
            at.queue("t");
            REQUIRE(at.store->close());
            at.open();
        }
        Queue& queue = at.queue("t");
        for (std::size_t i = 0; i < messages; ++i) {
            bodies.push_back(numbered_body(i, body_bytes));
            places.push_back(at.append(queue, {{bodies.back(), "tag", "key"}}).value());
        }
        if (with_sums) {
            at.store->flush_soon();
            const LogOffset end = places.back().end;
            REQUIRE(harness::wait_until(kPatience,
                                        [&] { return at.store->watermarks().flushed >= end; }));
            // The sums are written right after the watermark moves.
            REQUIRE(harness::wait_until(kPatience, [&] { return sums_cover(end); }));
        }
        copy_store(at.options.directory, image);
        at.store.reset();
    }

    bool sums_cover(LogOffset end) const {
        BlockSums sums(*at.posix, at.options.directory / "checksum");
        const LogOffset base((end.value - 1) / std::int64_t{kTestSegmentBytes} *
                             std::int64_t{kTestSegmentBytes});
        const auto loaded = sums.load(base);
        return loaded && !loaded->empty() && loaded->back().end() >= end;
    }

    /// A fresh copy of what is left.
    std::filesystem::path copy() const {
        std::filesystem::path path = directory.path() / "copy";
        copy_store(image, path);
        return path;
    }

    TemporaryDirectory directory{fast_directory()};
    StoreFixture at;
    std::filesystem::path image;
    std::vector<std::string> bodies;
    std::vector<Appended> places;
};

}  // namespace gantry::storage

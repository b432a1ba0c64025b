// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "storage/index/consume_queues.h"
#include "tests/storage/scratch_directory.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {

/// Every message of the tests' log takes 100 bytes.
inline constexpr std::int64_t kMessageBytes = 100;

inline QueueUnit unit_at_log(std::int64_t log_offset) {
    return {LogOffset(log_offset), kMessageBytes, log_offset * 7 - 3};
}

/// Changes one bit of a file.
inline void flip_bit(const std::filesystem::path& path, std::uint64_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
}

/// Consume queues in a directory of their own, over a log that is only an end offset.
struct QueueFixture {
    ScratchDirectory scratch;
    std::unique_ptr<FileSystem> posix = make_posix_file_system();
    FileSystem* files = posix.get();
    bool helper_thread = true;
    std::unique_ptr<ConsumeQueues> queues;
    std::int64_t log_end = 0;

    QueueFixture() { open(); }

    std::filesystem::path directory() const { return scratch.path() / "consumequeue"; }

    /// Closes and opens the queues; what open said, without the queues.
    ConsumeQueues::Opened open() {
        queues.reset();
        auto opened = ConsumeQueues::open(*files,
                                          {.directory = directory(),
                                           .first_file_blocks = 2,
                                           .file_blocks_max = 8,
                                           .blocks_ahead = 2,
                                           .helper_thread = helper_thread});
        REQUIRE(opened.has_value());
        queues = std::move(opened->queues);
        return std::move(opened).value();
    }

    /// Appends `count` messages as the store does.
    void append(QueueIndex& queue, std::uint32_t count = 1) {
        if (!queue.has_room(count)) {
            REQUIRE(queue.ensure_room(count).has_value());
        }
        const QueueOffset first = queue.reserve(count);
        for (std::uint32_t i = 0; i < count; ++i) {
            queue.put(first + i, unit_at_log(log_end));
            log_end += kMessageBytes;
        }
        queue.publish(first + count);
    }

    void flush() {
        LogOffset synced;
        const Status flushed = queues->flush([this] { return LogOffset(log_end); },
                                             [&](LogOffset end) {
                                                 synced = end;
                                                 return ok();
                                             });
        REQUIRE(flushed.has_value());
        CHECK(synced == LogOffset(log_end));
    }
};

/// Everything readers see of a queue.
inline std::vector<QueueUnit> all_units(const QueueIndex& queue) {
    std::vector<QueueUnit> units(static_cast<std::size_t>(queue.max() - queue.min()));
    REQUIRE(queue.read(queue.min(), units) == units.size());
    return units;
}

}  // namespace gantry::storage

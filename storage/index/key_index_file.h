// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/index/key_index.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <vector>

namespace gantry::storage {

/// One file of the key index, mapped whole. Layout: docs/formats/key-index.md.
///
/// Threads   KeyIndex's mutex around everything but walk (entries below a head never change while
///           puts go on) and make_durable.
class KeyIndexFile {
public:
    /// Makes an empty file with room for `entries`. kDiskFull, kIo.
    static Result<std::shared_ptr<KeyIndexFile>> create(FileSystem& files,
                                                        const std::filesystem::path& path,
                                                        std::uint32_t entries);
    /// Entries put since its last flush are forgotten. kCorrupt: short, or a bad header. kNotFound:
    /// its header is zeros, as a power cut before the first flush leaves it.
    static Result<std::shared_ptr<KeyIndexFile>> open(FileSystem& files,
                                                      const std::filesystem::path& path);
    ~KeyIndexFile();
    KeyIndexFile(const KeyIndexFile&) = delete;
    KeyIndexFile& operator=(const KeyIndexFile&) = delete;

    bool is_full() const noexcept { return facts_.count == facts_.entries; }

    std::uint32_t count() const noexcept { return facts_.count; }

    std::uint32_t capacity() const noexcept { return facts_.entries; }

    std::uint64_t bytes() const noexcept { return mapping_.size(); }

    /// Whether a flush has ever made it durable.
    bool was_flushed() const noexcept { return facts_.was_flushed; }

    /// Highest log offset of an entry; -1 when there is none.
    LogOffset last() const noexcept { return LogOffset(facts_.last); }

    const std::filesystem::path& path() const noexcept { return path_; }

    /// Adds an entry; the file must not be full.
    void put(std::uint64_t hash, LogOffset at, WallMs store_ms) noexcept;

    /// The newest entry that may have that hash and be within the times; 0 when there is none.
    std::uint32_t head_of(const KeyIndex::Query& query) const noexcept;
    /// Adds the matches of the chain that starts at `head`, newest first, up to query.count_max.
    void walk(std::uint32_t head,
              const KeyIndex::Query& query,
              std::vector<LogOffset>* found) const;

    /// Removes entries at or above `end`.
    void truncate_after(LogOffset end) noexcept;

    /// What a flush has to write; taken under the mutex, nothing when it is durable already.
    struct Flush {
        std::array<std::byte, 128> header{};
        std::uint64_t changes = 0;
        bool is_due = false;
    };

    Flush begin_flush() const noexcept;
    /// Makes the entries that `flush` counts durable, then the header that counts them. Blocks.
    Status make_durable(const Flush& flush);

    /// Notes that what `flush` counts is durable; after make_durable.
    void end_flush(const Flush& flush) noexcept {
        flushed_changes_ = flush.changes;
        facts_.was_flushed = true;
    }

private:
    /// The numbers in the header.
    struct Facts {
        std::uint32_t slots = 0;
        std::uint32_t entries = 0;  ///< room for them
        std::uint32_t count = 0;
        bool slots_are_exact = false;  ///< on disk: no put since count was written
        bool was_flushed = false;      ///< false: of an index whose making was not finished
        std::int64_t base_ms = 0;      ///< entries' seconds count from here
        std::int64_t begin_ms = std::numeric_limits<std::int64_t>::max();
        std::int64_t end_ms = std::numeric_limits<std::int64_t>::min();
        std::int64_t last = -1;
    };

    KeyIndexFile(std::filesystem::path path, std::unique_ptr<File> file, Mapping mapping)
        : path_(std::move(path)), file_(std::move(file)), mapping_(std::move(mapping)) {}

    static std::array<std::byte, 128> encode(const Facts& facts) noexcept;
    static bool decode(Bytes header, Facts* facts) noexcept;
    static std::uint64_t file_bytes(const Facts& facts) noexcept;
    std::byte* slot_of(std::uint64_t hash) const noexcept;
    std::byte* entry_at(std::uint32_t number) const noexcept;
    void rebuild_slots() noexcept;

    const std::filesystem::path path_;
    const std::unique_ptr<File> file_;
    const Mapping mapping_;
    Facts facts_;
    std::uint64_t changes_ = 0;  ///< puts and truncations since it was opened
    std::uint64_t flushed_changes_ = 0;
};

}  // namespace gantry::storage

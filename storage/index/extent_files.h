// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/mutex.h"
#include "common/result.h"

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace gantry::storage {

inline constexpr std::uint32_t kExtentClasses = 6;
inline constexpr std::uint32_t kExtentHeaderBytes = 64;
inline constexpr std::size_t kExtentFileHeaderBytes = 4'096;  ///< before the first block
inline constexpr std::uint32_t kBlockBytes = 1U << 20U;
inline constexpr std::uint32_t kExtentFilesMax = 4'096;
inline constexpr std::uint32_t kFileBlocksMax = 1'000;

/// Bytes of an extent of class 0..5: 1, 4, 16, 64, 256, 1024 KiB.
constexpr std::uint32_t extent_bytes(std::uint32_t extent_class) noexcept {
    return 1'024U << (2 * extent_class);
}

/// Units an extent of that class holds.
constexpr std::int64_t extent_units(std::uint32_t extent_class) noexcept {
    return (extent_bytes(extent_class) - kExtentHeaderBytes) / 20;
}

/// Where an extent lies. `at`: KiB behind the file's header page, times 8, plus the class.
struct ExtentPlace {
    std::uint32_t file = 0;
    std::uint32_t at = 0;

    std::uint32_t extent_class() const noexcept { return at & 7U; }

    std::uint64_t block_offset() const noexcept { return std::uint64_t{at >> 3U} << 10U; }
};

/// One extent of a queue and the queue offset of its first unit.
struct ExtentEntry {
    std::int64_t base = 0;
    ExtentPlace place;

    std::int64_t end() const noexcept { return base + extent_units(place.extent_class()); }
};

/// The extents of one queue, adjacent in queue offsets.
struct ExtentList {
    std::uint64_t uid = 0;
    std::vector<ExtentEntry> entries;
};

/// Who owns an extent: written into its first 64 bytes.
struct ExtentHeader {
    std::uint32_t extent_class = 0;
    std::uint64_t queue_uid = 0;
    std::int64_t base = 0;  ///< queue offset of the first unit
};

/// Writes the header into the first 64 bytes of the extent.
void write_extent_header(std::byte* extent, const ExtentHeader& header) noexcept;
/// Whether the extent starts with exactly that header, checksum included.
bool extent_header_matches(const std::byte* extent, const ExtentHeader& header) noexcept;

/// The files that hold the extents of all consume queues, mapped whole, and who gets which extent.
///
/// Open      claim() each extent that the directory lists, then finish_loading(): all else is free.
/// Threads   take, give_back, data, sync, begin_flush, end_flush: any. A helper thread allocates
///           files and faults blocks in ahead, so that take is a few loads mostly.
/// Errors    take: kDiskFull, kIo, kRefused (4 096 files). sync: kIo, final.
class ExtentFiles {
public:
    /// Where the files are and how they grow.
    struct Options {
        std::filesystem::path directory;
        std::uint32_t first_file_blocks = 8;
        std::uint32_t file_blocks_max = 64;
        std::uint32_t blocks_ahead = 4;
        bool helper_thread = true;
    };

    /// Maps the files that are there; damaged ones are left out, so that claims in them fail.
    static Result<std::unique_ptr<ExtentFiles>> open(FileSystem& files, const Options& options);
    ~ExtentFiles();
    ExtentFiles(const ExtentFiles&) = delete;
    ExtentFiles& operator=(const ExtentFiles&) = delete;

    /// Marks an extent as owned. False: no such place, or it overlaps another claim.
    bool claim(ExtentPlace place);
    /// Frees what was not claimed and starts the helper.
    void finish_loading();

    /// A free extent of that class; its bytes are anything.
    Result<ExtentPlace> take(std::uint32_t extent_class);
    /// Frees an extent, for use after the next successful flush.
    void give_back(ExtentPlace place);

    std::byte* data(ExtentPlace place) const noexcept {
        return bases_[place.file].load(std::memory_order_acquire) + place.block_offset();
    }

    /// Before the owners are listed: extents given back until now may be reused once the list is
    /// durable, which end_flush(true) says.
    void begin_flush();
    void end_flush(bool done);
    /// Makes all stores into extents durable.
    Status sync();

    std::uint64_t file_bytes() const;

private:
    struct MappedFile {
        std::unique_ptr<File> file;
        Mapping mapping;
        std::uint32_t blocks = 0;
    };

    struct Block {
        std::uint32_t file = 0;
        std::uint32_t index = 0;
    };

    /// The block a class is being cut from: extents [next, end) are free.
    struct Cut {
        Block block;
        std::uint32_t next = 0;
        std::uint32_t end = 0;
    };

    /// What claim() learns of one block.
    struct Claims {
        std::uint32_t extent_class = kExtentClasses;  ///< none yet
        std::vector<bool> taken;
    };

    enum class HelperWork : std::uint8_t { kStop, kFaultIn, kAddFile };

    ExtentFiles(FileSystem& files, const Options& options);
    Status open_file(std::uint32_t number);
    Status create_file(std::uint32_t number, std::uint32_t blocks);
    /// Adds a file unless there are free blocks; ahead of need also while prepared ones remain.
    Status add_file(bool is_ahead);
    bool try_take(std::uint32_t extent_class, ExtentPlace* place);
    bool take_block(Block* block) GANTRY_REQUIRES(mutex_);
    void prepare_in_thread();
    HelperWork wait_for_work(Block* block);
    void fault_in(Block block);
    std::filesystem::path path_of(std::uint32_t number) const;

    FileSystem& files_;
    const Options options_;
    std::unique_ptr<std::atomic<std::byte*>[]> bases_;  ///< first block of each mapped file
    std::vector<std::vector<Claims>> claims_;           ///< only while loading

    Mutex grow_mutex_;  ///< one file is made at a time; before mutex_
    mutable Mutex mutex_;
    std::vector<std::unique_ptr<MappedFile>> mapped_ GANTRY_GUARDED_BY(mutex_);  ///< null: damaged
    std::vector<Block> free_blocks_ GANTRY_GUARDED_BY(mutex_);
    std::vector<Block> ready_blocks_ GANTRY_GUARDED_BY(mutex_);  ///< free and faulted in
    std::array<std::vector<ExtentPlace>, kExtentClasses> free_ GANTRY_GUARDED_BY(mutex_);
    std::array<Cut, kExtentClasses> cuts_ GANTRY_GUARDED_BY(mutex_);
    std::vector<ExtentPlace> cooling_ GANTRY_GUARDED_BY(mutex_);
    std::vector<ExtentPlace> cooled_ GANTRY_GUARDED_BY(mutex_);
    bool has_new_file_ GANTRY_GUARDED_BY(mutex_) = false;
    std::optional<Error> sync_failure_ GANTRY_GUARDED_BY(mutex_);
    bool is_stopping_ GANTRY_GUARDED_BY(mutex_) = false;
    std::condition_variable wake_helper_;
    std::thread helper_;
};

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/ids.h"
#include "common/mutex.h"

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace gantry::storage {

/// Memory at page addresses, as reads past the page cache need it.
class PageBuffer {
public:
    static constexpr std::size_t kPageBytes = 4'096;

    /// Empty when there is no memory.
    explicit PageBuffer(std::size_t bytes);

    MutableBytes bytes() const noexcept { return {memory_.get(), size_}; }

private:
    struct Free {
        void operator()(std::byte* memory) const noexcept;
    };

    std::unique_ptr<std::byte, Free> memory_;
    std::size_t size_ = 0;
};

/// Memory of replies, used again and again: pages that are new to the process cost more than what
/// is copied into them.
///
/// Threads   any. Limits: keeps kKept buffers of kReplyBytes; larger ones come and go.
/// Lifetime  a reply may outlive the pool.
class ReplyMemory {
public:
    static constexpr std::size_t kReplyBytes = 256U << 10U;

    ReplyMemory();

    /// Room for `bytes`, not zeroed, given back when the last pointer goes. Null: no memory.
    std::shared_ptr<PageBuffer> take(std::size_t bytes);
    /// Bytes of replies not given back yet.
    std::uint64_t taken_bytes() const;

private:
    struct Shelf;
    std::shared_ptr<Shelf> shelf_;
};

/// Pieces of the log that were read lately, each kChunkBytes but for a segment's last one, within a
/// limit of memory. Who finds a piece missing reads it; who finds it being read waits for it.
///
/// Units     a chunk is known by the log offset of its first byte.
/// Threads   one at a time. Chunks that were handed out stay valid as long as their pointer.
/// Limits    `bytes_max`, and one chunk more for each that is being read or copied from.
class ChunkCache {
public:
    static constexpr std::uint64_t kChunkBytes = std::uint64_t{1} << 20U;

    /// One piece; whoever reads it fills it before others see it.
    struct Chunk {
        LogOffset at;
        std::size_t valid = 0;  ///< bytes, from the start
        PageBuffer memory{kChunkBytes};
    };

    using ChunkPtr = std::shared_ptr<Chunk>;

    explicit ChunkCache(std::uint64_t bytes_max) noexcept : bytes_max_(bytes_max) {}

    /// The chunk at `at` when it is there, and used now.
    ChunkPtr find(LogOffset at);

    bool is_reading(LogOffset at) const { return reading_.contains(at.value); }

    bool contains(LogOffset at) const { return chunks_.contains(at.value) || is_reading(at); }

    /// Memory to read the chunk into, that of the one used longest ago if need be; is_reading()
    /// until put() or give_up(). Null: no memory, and nothing is being read.
    ChunkPtr begin(LogOffset at);
    /// What begin() gave, filled.
    void put(ChunkPtr chunk);

    void give_up(LogOffset at) { reading_.erase(at.value); }

    /// Gives the memory back, but for what is being read or copied from.
    void drop_all();

    std::uint64_t bytes() const noexcept { return chunks_.size() * kChunkBytes; }

private:
    struct Entry {
        ChunkPtr chunk;
        std::list<std::int64_t>::iterator use;
    };

    ChunkPtr take_oldest();

    const std::uint64_t bytes_max_;
    std::unordered_map<std::int64_t, Entry> chunks_;
    std::unordered_set<std::int64_t> reading_;
    std::list<std::int64_t> uses_;  ///< longest ago first
};

}  // namespace gantry::storage

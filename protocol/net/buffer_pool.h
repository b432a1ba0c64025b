// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gantry::net {

/// Memory that a connection receives into: `begin` to `end` holds bytes not yet handled.
///
/// Threads   the loop's thread; only `pins` is counted down elsewhere, when the last user of a
///           pinned frame lets go.
struct ReceiveBuffer {
    explicit ReceiveBuffer(std::size_t size)
        : bytes(std::make_unique_for_overwrite<std::byte[]>(size)), capacity(size) {}

    bool is_pinned() const noexcept { return pins.load(std::memory_order_acquire) != 0; }

    std::size_t held() const noexcept { return end - begin; }

    std::size_t room() const noexcept { return capacity - end; }

    std::unique_ptr<std::byte[]> bytes;
    std::size_t capacity = 0;
    std::size_t begin = 0;
    std::size_t end = 0;
    std::atomic<std::uint32_t> pins{0};
};

/// The free list of one loop: connections hold receive buffers and output chunks only while bytes
/// are in them, so an idle connection costs neither.
///
/// Threads   the loop's thread only.
/// Limits    keeps a few buffers and chunks; what is given beyond that is freed.
class BufferPool {
public:
    /// An empty buffer of at least `bytes`.
    std::shared_ptr<ReceiveBuffer> take(std::size_t bytes);
    /// Takes a buffer back; a pinned one is used again when its users are done.
    void give(std::shared_ptr<ReceiveBuffer> buffer);

    /// An empty string with room for kChunkBytes.
    std::string take_chunk();
    void give_chunk(std::string chunk);

    static constexpr std::size_t kChunkBytes = std::size_t{64} << 10U;

private:
    static constexpr std::size_t kBuffersMax = 4;
    static constexpr std::size_t kBufferBytesMax = std::size_t{2} << 20U;
    static constexpr std::size_t kChunksMax = 16;

    std::vector<std::shared_ptr<ReceiveBuffer>> buffers_;  // free, or pinned until later
    std::vector<std::string> chunks_;
};

}  // namespace gantry::net

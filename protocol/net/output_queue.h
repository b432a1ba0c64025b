// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gantry::net {

class BufferPool;

/// Bytes of an open file that go out by sendfile. `pin` keeps file and blocks alive.
struct FileRange {
    int fd = -1;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::shared_ptr<const void> pin{};
};

/// What waits to be written to one socket, in order: owned bytes, references to memory that stays
/// put (a mapped segment), and file ranges. Small owned pieces grow together into one chunk; a run
/// of memory pieces leaves in one sendmsg, a file range in sendfile calls, the memory before a file
/// range in the same packets as the file.
///
///   pieces   | head  | file range | head | reference | head | owned body | tail -> grows
///   chunks   | head head head tail ...                  |            up to 64 KiB each
///
/// Threads   one: the connection's loop.
/// Errors    write_to: kIo for anything but a full socket buffer; kGone when the peer is away.
class OutputQueue {
public:
    /// Chunks come from `pool` and go back there; without one they are allocated.
    explicit OutputQueue(BufferPool* pool = nullptr) : pool_(pool) {}

    OutputQueue(const OutputQueue&) = delete;
    OutputQueue& operator=(const OutputQueue&) = delete;
    ~OutputQueue();

    /// The chunk that the next owned bytes go to: append only. Valid until the next call on this
    /// object. `expected_bytes` is a hint: a chunk with less room than that is left alone.
    std::string& tail(std::size_t expected_bytes = 512);
    /// Takes the string as a chunk of its own: no copy, but for a short one.
    void append_owned(std::string bytes);
    /// Copies.
    void append_copy(Bytes bytes);
    void append_reference(Bytes memory, std::shared_ptr<const void> pin);
    void append_file(FileRange range);

    /// Writes until everything is gone or the socket is full; true when empty. Writes at most
    /// kWriteBytesMax a call, so that one peer does not hold up the others.
    Result<bool> write_to(int socket);

    /// Drops everything that waits.
    void clear();

    bool empty() const noexcept { return bytes() == 0; }

    /// Bytes that wait.
    std::uint64_t bytes() const noexcept { return sealed_bytes_ + open_bytes(); }

    /// Bytes of memory of its own that it holds: not what lies in files or elsewhere.
    std::uint64_t owned_bytes() const noexcept;

    /// Bytes handed to the kernel so far; written() + bytes() is the position in the stream at
    /// which the next byte appended goes out.
    std::uint64_t written() const noexcept { return written_; }

    static constexpr std::uint64_t kWriteBytesMax = std::uint64_t{8} << 20U;

private:
    // A piece is a file range (fd >= 0), foreign memory (memory set), or part of a chunk.
    struct Piece {
        const std::byte* memory = nullptr;
        std::uint64_t offset = 0;  // in the file or chunk
        std::uint64_t length = 0;
        std::shared_ptr<const void> pin;
        int fd = -1;
        std::uint32_t chunk = 0;
    };

    std::uint64_t open_bytes() const noexcept {
        return is_open_ ? chunks_.back().size() - open_begin_ : 0;
    }

    std::string& chunk(std::uint32_t number) { return chunks_[number - first_chunk_]; }

    void seal();
    void push(Piece piece);
    Result<bool> write_memory(int socket, std::uint64_t& budget);
    Result<bool> write_file(int socket, std::uint64_t& budget);
    void consume(std::uint64_t bytes);
    void drop_front();
    void release_chunks();

    BufferPool* pool_ = nullptr;
    std::vector<Piece> pieces_;
    std::size_t front_ = 0;
    std::vector<std::string> chunks_;  // the last one is the tail
    std::uint32_t first_chunk_ = 0;    // number of chunks_[0]
    std::uint64_t open_begin_ = 0;     // where the unsealed bytes of the tail start
    bool is_open_ = false;
    std::uint64_t sealed_bytes_ = 0;
    std::uint64_t written_ = 0;
};

}  // namespace gantry::net

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/result.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <string>

namespace gantry::net {

/// Bytes of an open file that go out by sendfile. `pin` keeps file and blocks alive.
struct FileRange {
    int fd = -1;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::shared_ptr<const void> pin;
};

/// What waits to be written to one socket, in order: owned bytes, references to memory that stays
/// put (a mapped segment), and file ranges. Small owned pieces grow together into one chunk; a run
/// of memory pieces leaves in one writev, a file range in sendfile calls.
///
/// Threads   one: the connection's loop.
/// Errors    write_to: kIo for anything but a full socket buffer; kGone when the peer is away.
class OutputQueue {
public:
    /// The chunk that the next owned bytes go to. Valid until the next call on this object.
    std::string& tail();
    /// Takes the string as a chunk of its own: no copy.
    void append_owned(std::string bytes);
    void append_reference(Bytes memory, std::shared_ptr<const void> pin);
    void append_file(FileRange range);

    /// Writes until everything is gone or the socket is full; true when empty.
    Result<bool> write_to(int socket);

    bool empty() const noexcept;
    std::uint64_t bytes() const noexcept;

private:
    struct Piece {
        std::string owned;
        Bytes memory;          // of `owned`, or referenced
        FileRange file;        // fd < 0: memory
        std::size_t sent = 0;  // of owned or memory
    };

    Result<std::size_t> write_memory(int socket);
    Result<std::size_t> write_file(int socket);
    void consume(std::size_t bytes);

    std::deque<Piece> pieces_;
    std::uint64_t referenced_bytes_ = 0;
};

}  // namespace gantry::net

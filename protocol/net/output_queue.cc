// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/output_queue.h"

#include "common/check.h"
#include "protocol/net/buffer_pool.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <utility>

namespace gantry::net {

namespace {

constexpr std::size_t kShortBytes = 2'048;  // below: copying is cheaper than a piece of its own
constexpr std::size_t kPiecesPerWrite = 256;
static_assert(kPiecesPerWrite <= IOV_MAX);
constexpr std::size_t kConsumedKept = 64;

Error socket_error(const char* what, int errno_value) {
    Error error = io_error(what, errno_value);
    if (errno_value == EPIPE || errno_value == ECONNRESET || errno_value == ETIMEDOUT) {
        error.code = Errc::kGone;
    }
    return error;
}

}  // namespace

OutputQueue::~OutputQueue() {
    clear();
}

std::string& OutputQueue::tail(std::size_t expected_bytes) {
    const bool is_full = !chunks_.empty() &&
                         chunks_.back().size() + expected_bytes > BufferPool::kChunkBytes &&
                         !chunks_.back().empty();
    if (chunks_.empty() || is_full) {
        seal();
        if (chunks_.empty()) {
            first_chunk_ = 0;
        }
        chunks_.push_back(pool_ != nullptr ? pool_->take_chunk() : std::string());
    }
    if (!is_open_) {
        is_open_ = true;
        open_begin_ = chunks_.back().size();
    }
    return chunks_.back();
}

std::uint64_t OutputQueue::owned_bytes() const noexcept {
    std::uint64_t bytes = 0;
    for (const std::string& chunk : chunks_) {
        bytes += chunk.size();
    }
    return bytes;
}

void OutputQueue::seal() {
    if (!is_open_) {
        return;
    }
    Piece piece;
    piece.offset = open_begin_;
    piece.length = open_bytes();
    piece.chunk = first_chunk_ + static_cast<std::uint32_t>(chunks_.size() - 1);
    is_open_ = false;
    if (piece.length > 0) {
        push(std::move(piece));
    }
}

void OutputQueue::push(Piece piece) {
    sealed_bytes_ += piece.length;
    pieces_.push_back(std::move(piece));
}

void OutputQueue::append_copy(Bytes bytes) {
    tail(bytes.size()).append(as_text(bytes));
}

void OutputQueue::append_owned(std::string bytes) {
    if (bytes.size() <= kShortBytes) {
        append_copy(as_bytes(bytes));
        return;
    }
    const auto owned = std::make_shared<const std::string>(std::move(bytes));
    append_reference(as_bytes(*owned), owned);
}

void OutputQueue::append_reference(Bytes memory, std::shared_ptr<const void> pin) {
    if (memory.empty()) {
        return;
    }
    seal();
    Piece piece;
    piece.memory = memory.data();
    piece.length = memory.size();
    piece.pin = std::move(pin);
    push(std::move(piece));
}

void OutputQueue::append_file(FileRange range) {
    if (range.length == 0) {
        return;
    }
    GANTRY_ASSERT(range.fd >= 0);
    seal();
    Piece piece;
    piece.fd = range.fd;
    piece.offset = range.offset;
    piece.length = range.length;
    piece.pin = std::move(range.pin);
    push(std::move(piece));
}

Result<bool> OutputQueue::write_to(int socket) {
    seal();
    std::uint64_t budget = kWriteBytesMax;
    while (front_ < pieces_.size() && budget > 0) {
        const bool is_file = pieces_[front_].fd >= 0;
        GANTRY_ASSIGN_OR_RETURN(
            const bool is_all_written,
            is_file ? write_file(socket, budget) : write_memory(socket, budget));
        if (!is_all_written) {
            return false;
        }
    }
    if (front_ < pieces_.size()) {
        return false;
    }
    clear();
    return true;
}

Result<bool> OutputQueue::write_memory(int socket, std::uint64_t& budget) {
    std::array<iovec, kPiecesPerWrite> vectors;  // filled up to `count`
    std::size_t count = 0;
    std::uint64_t asked = 0;
    std::size_t next = front_;
    while (next < pieces_.size() && pieces_[next].fd < 0 && count < vectors.size() &&
           asked < budget) {
        const Piece& piece = pieces_[next++];
        const void* const at = piece.memory != nullptr
                                   ? static_cast<const void*>(piece.memory + piece.offset)
                                   : chunk(piece.chunk).data() + piece.offset;
        vectors[count++] = {.iov_base = const_cast<void*>(at), .iov_len = piece.length};
        asked += piece.length;
    }
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = count;
    // More follows: let the kernel fill its packets across the calls.
    const int more = next < pieces_.size() ? MSG_MORE : 0;
    ssize_t sent = 0;
    do {
        sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT | more);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return false;
        }
        return socket_error("send", errno);
    }
    const auto bytes = static_cast<std::uint64_t>(sent);
    consume(bytes);
    budget -= std::min(budget, bytes);
    return bytes == asked;
}

Result<bool> OutputQueue::write_file(int socket, std::uint64_t& budget) {
    const Piece& piece = pieces_[front_];
    const std::uint64_t asked = std::min(piece.length, budget);
    auto offset = static_cast<off_t>(piece.offset);
    ssize_t sent = 0;
    do {
        sent = ::sendfile(socket, piece.fd, &offset, asked);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return false;
        }
        return socket_error("sendfile", errno);
    }
    if (sent == 0) {
        return Error{Errc::kIo,
                     "sendfile: the file ends at " + std::to_string(piece.offset) + ", " +
                         std::to_string(piece.length) + " B before the range"};
    }
    const auto bytes = static_cast<std::uint64_t>(sent);
    consume(bytes);
    budget -= bytes;
    return bytes == asked;
}

void OutputQueue::consume(std::uint64_t bytes) {
    written_ += bytes;
    sealed_bytes_ -= bytes;
    while (bytes > 0) {
        Piece& piece = pieces_[front_];
        const std::uint64_t taken = std::min(bytes, piece.length);
        piece.offset += taken;
        piece.length -= taken;
        bytes -= taken;
        if (piece.length == 0) {
            drop_front();
        }
    }
    release_chunks();
}

void OutputQueue::drop_front() {
    pieces_[front_].pin.reset();
    ++front_;
    if (front_ >= kConsumedKept && front_ * 2 >= pieces_.size()) {
        pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(front_));
        front_ = 0;
    }
}

void OutputQueue::release_chunks() {
    if (chunks_.size() <= 1) {
        return;
    }
    // Pieces use chunks in order, so everything before the first one still used is free. The last
    // chunk stays: it may grow.
    std::uint32_t keep = first_chunk_ + static_cast<std::uint32_t>(chunks_.size()) - 1;
    for (std::size_t i = front_; i < pieces_.size(); ++i) {
        if (pieces_[i].fd < 0 && pieces_[i].memory == nullptr) {
            keep = pieces_[i].chunk;
            break;
        }
    }
    while (chunks_.size() > 1 && first_chunk_ != keep) {
        if (pool_ != nullptr) {
            pool_->give_chunk(std::move(chunks_.front()));
        }
        chunks_.erase(chunks_.begin());
        ++first_chunk_;
    }
}

void OutputQueue::clear() {
    pieces_.clear();
    if (pieces_.capacity() > kConsumedKept) {
        std::vector<Piece>().swap(pieces_);
    }
    front_ = 0;
    for (std::string& used : chunks_) {
        if (pool_ != nullptr) {
            pool_->give_chunk(std::move(used));
        }
    }
    chunks_.clear();
    is_open_ = false;
    sealed_bytes_ = 0;
}

}  // namespace gantry::net

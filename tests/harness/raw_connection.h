// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "common/unique_fd.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::harness {

/// A blocking TCP connection to 127.0.0.1 for tests that send what no client of ours would.
///
/// Errors    kGone: the peer closed or reset. kTimeout: nothing came in time. kIo: the rest.
class RawConnection {
public:
    static constexpr std::chrono::milliseconds kPatience{30'000};

    static Result<RawConnection> open(std::uint16_t port);

    /// Sends all of `bytes`.
    Status send(std::string_view bytes);
    /// Up to `bytes_max` bytes as they come, at least one.
    Result<std::string> receive(std::size_t bytes_max, std::chrono::milliseconds limit = kPatience);
    /// Exactly `count` bytes.
    Result<std::string> receive_exactly(std::size_t count);
    /// One whole frame of the wire protocol, length word included.
    Result<std::string> receive_frame();
    /// Everything until the peer closes.
    Result<std::string> receive_rest();
    /// No more is sent; the peer sees the end of the stream.
    void finish_sending();

    void close() { socket_.reset(); }

private:
    explicit RawConnection(UniqueFd socket) : socket_(std::move(socket)) {}

    UniqueFd socket_;
};

}  // namespace gantry::harness

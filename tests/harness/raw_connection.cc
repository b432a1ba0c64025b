// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/raw_connection.h"

#include "common/bytes.h"

#include <arpa/inet.h>
#include <cerrno>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

namespace gantry::harness {
namespace {

constexpr std::size_t kChunk = 65'536;

Error socket_error(std::string_view what, int reason) {
    Error error = io_error(what, reason);
    if (reason == ECONNRESET || reason == EPIPE || reason == ECONNREFUSED) {
        error.code = Errc::kGone;
    }
    return error;
}

}  // namespace

Result<RawConnection> RawConnection::open(std::uint16_t port) {
    UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) {
        return socket_error("socket", errno);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
        0) {
        return socket_error("connect to port " + std::to_string(port), errno);
    }
    return RawConnection(std::move(socket));
}

Status RawConnection::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR) {
                continue;
            }
            return socket_error("send", errno);
        }
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return ok();
}

Result<std::string> RawConnection::receive(std::size_t bytes_max, std::chrono::milliseconds limit) {
    pollfd waiting{socket_.get(), POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(limit.count()));
    if (ready == 0) {
        return Error{Errc::kTimeout,
                     "nothing received within " + std::to_string(limit.count()) + " ms"};
    }
    std::string bytes(bytes_max, '\0');
    const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (count < 0) {
        return socket_error("receive", errno);
    }
    if (count == 0) {
        return Error{Errc::kGone, "the peer closed the connection"};
    }
    bytes.resize(static_cast<std::size_t>(count));
    return bytes;
}

Result<std::string> RawConnection::receive_exactly(std::size_t count) {
    std::string all;
    while (all.size() < count) {
        GANTRY_ASSIGN_OR_RETURN(const std::string part, receive(count - all.size()));
        all += part;
    }
    return all;
}

Result<std::string> RawConnection::receive_frame() {
    GANTRY_ASSIGN_OR_RETURN(std::string frame, receive_exactly(sizeof(std::uint32_t)));
    const auto length = load_be<std::uint32_t>(as_bytes(frame).data());
    if (length > (std::uint32_t{64} << 20U)) {
        return Error{Errc::kCorrupt, "frame length " + std::to_string(length)};
    }
    GANTRY_ASSIGN_OR_RETURN(const std::string rest, receive_exactly(length));
    return frame + rest;
}

Result<std::string> RawConnection::receive_rest() {
    std::string all;
    while (true) {
        Result<std::string> part = receive(kChunk);
        if (!part) {
            if (part.error().code == Errc::kGone) {
                return all;
            }
            return std::move(part).error();
        }
        all += *part;
    }
}

void RawConnection::finish_sending() {
    ::shutdown(socket_.get(), SHUT_WR);
}

}  // namespace gantry::harness

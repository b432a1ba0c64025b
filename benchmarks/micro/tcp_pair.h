// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/unique_fd.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <utility>

namespace gantry {

/// The two ends of a TCP connection over 127.0.0.1, without delay; empty when there is none.
inline std::pair<UniqueFd, UniqueFd> connect_pair() {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM, 0));
    UniqueFd client(::socket(AF_INET, SOCK_STREAM, 0));
    auto* const address = reinterpret_cast<sockaddr*>(&at);
    if (::bind(listener.get(), address, length) != 0 || ::listen(listener.get(), 1) != 0 ||
        ::getsockname(listener.get(), address, &length) != 0 ||
        ::connect(client.get(), address, length) != 0) {
        return {};
    }
    UniqueFd server(::accept(listener.get(), nullptr, nullptr));
    const int one = 1;
    for (const int fd : {client.get(), server.get()}) {
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return {std::move(client), std::move(server)};
}

}  // namespace gantry

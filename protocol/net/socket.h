// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "common/unique_fd.h"
#include "protocol/wire/record.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <sys/socket.h>

namespace gantry::net {

/// An address and port as the system's calls want it. A plain value.
struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t length = 0;

    const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }

    sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
};

/// "host:port" taken apart; IPv6 addresses stand in brackets.
struct HostPort {
    std::string host;
    std::uint16_t port = 0;
};

/// kRefused: no port, or one outside [0, 65535].
Result<HostPort> split_host_port(std::string_view text);

/// kRefused when `host` is a name and not an address.
Result<SocketAddress> numeric_address(const std::string& host, std::uint16_t port);

/// "127.0.0.1:10911" or "[::1]:10911"; "?" for families other than IP.
std::string to_string(const SocketAddress& address);
/// In record form; an IPv4 address mapped into IPv6 comes out as IPv4.
wire::Host host_of(const SocketAddress& address);

/// The far end and this end of a socket; length 0 when the system does not know, as of a peer that
/// has gone.
SocketAddress peer_address(int socket) noexcept;
SocketAddress local_address(int socket) noexcept;

/// A non-blocking listening socket. kConflict: the port is in use. kRefused: `address` is no
/// numeric address. kIo: anything else. The texts name address and port.
Result<UniqueFd> listen_tcp(const std::string& address, std::uint16_t port);

/// A non-blocking TCP socket of the address's family, prepared. kIo: errno text.
Result<UniqueFd> open_tcp(const SocketAddress& address);

/// TCP_NODELAY, keepalive, and 30 s until unacknowledged data ends the connection. What the system
/// refuses stays as it is. Buffer sizes are left to the kernel's tuning.
void prepare_tcp(int socket) noexcept;

/// Whether two ends of a connection are on one machine: one address, or loopback ones.
bool is_one_machine(const SocketAddress& a, const SocketAddress& b);

/// Congestion control of a connected socket: inside one machine cubic, or else reno (bulk: three
/// times BBR's rate); over a network the system's, which whoever runs it chooses for the lines it
/// has: over one of 40 ms that loses 1 % of the packets BBR carries 40 times what cubic does.
void prepare_congestion_control(int socket) noexcept;

/// The connection ends when data stays unacknowledged, or the peer's window closed, for that long.
void set_user_timeout(int socket, std::chrono::milliseconds limit) noexcept;

}  // namespace gantry::net

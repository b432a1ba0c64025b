// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/socket.h"

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>

namespace gantry::net {

namespace {

constexpr int kBacklog = 4'096;
constexpr int kUserTimeoutMs = 30'000;
constexpr int kKeepaliveIdleS = 60;
constexpr int kKeepaliveIntervalS = 10;
constexpr int kKeepaliveProbes = 3;

void set_option(int socket, int level, int name, int value) noexcept {
    ::setsockopt(socket, level, name, &value, sizeof value);
}

}  // namespace

Result<HostPort> split_host_port(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    const auto refuse = [text](const char* why) {
        return Error{Errc::kRefused, "address \"" + std::string(text) + "\": " + why};
    };
    if (colon == std::string_view::npos || colon == 0) {
        return refuse("is not host:port");
    }
    std::string_view host = text.substr(0, colon);
    const std::string_view digits = text.substr(colon + 1);
    std::uint16_t port = 0;
    const char* const last = digits.data() + digits.size();
    const auto parsed = std::from_chars(digits.data(), last, port);
    if (digits.empty() || parsed.ec != std::errc() || parsed.ptr != last) {
        return refuse("the port is not a number up to 65535");
    }
    if (host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    } else if (host.find(':') != std::string_view::npos) {
        return refuse("an IPv6 address stands in brackets");
    }
    if (host.empty()) {
        return refuse("the host is empty");
    }
    return HostPort{std::string(host), port};
}

Result<SocketAddress> numeric_address(const std::string& host, std::uint16_t port) {
    SocketAddress address;
    sockaddr_in v4{};
    sockaddr_in6 v6{};
    if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&address.storage, &v4, sizeof v4);
        address.length = sizeof v4;
        return address;
    }
    if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        std::memcpy(&address.storage, &v6, sizeof v6);
        address.length = sizeof v6;
        return address;
    }
    return Error{Errc::kRefused, "\"" + host + "\" is not an IP address"};
}

std::string to_string(const SocketAddress& address) {
    const wire::Host host = host_of(address);
    if (address.storage.ss_family != AF_INET && address.storage.ss_family != AF_INET6) {
        return "?";
    }
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(host.is_v6 ? AF_INET6 : AF_INET, host.address.data(), text.data(), text.size());
    const std::string name(text.data());
    return (host.is_v6 ? "[" + name + "]" : name) + ":" + std::to_string(host.port);
}

wire::Host host_of(const SocketAddress& address) {
    wire::Host host;
    if (address.storage.ss_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address.storage, sizeof v4);
        std::memcpy(host.address.data(), &v4.sin_addr, 4);
        host.port = ntohs(v4.sin_port);
    } else if (address.storage.ss_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &address.storage, sizeof v6);
        host.port = ntohs(v6.sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
            std::memcpy(host.address.data(), &v6.sin6_addr.s6_addr[12], 4);
        } else {
            std::memcpy(host.address.data(), &v6.sin6_addr, 16);
            host.is_v6 = true;
        }
    }
    return host;
}

SocketAddress peer_address(int socket) noexcept {
    SocketAddress address;
    address.length = sizeof address.storage;
    if (::getpeername(socket, address.get(), &address.length) != 0) {
        address.length = 0;
    }
    return address;
}

SocketAddress local_address(int socket) noexcept {
    SocketAddress address;
    address.length = sizeof address.storage;
    if (::getsockname(socket, address.get(), &address.length) != 0) {
        address.length = 0;
    }
    return address;
}

Result<UniqueFd> listen_tcp(const std::string& address, std::uint16_t port) {
    GANTRY_ASSIGN_OR_RETURN(const SocketAddress where, numeric_address(address, port));
    UniqueFd fd(
        ::socket(where.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    const std::string name = "listen on " + to_string(where);
    if (!fd) {
        return io_error(name, errno);
    }
    set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    if (::bind(fd.get(), where.get(), where.length) != 0 || ::listen(fd.get(), kBacklog) != 0) {
        Error error = io_error(name, errno);
        if (errno == EADDRINUSE) {
            error.code = Errc::kConflict;
        }
        return error;
    }
    return fd;
}

Result<UniqueFd> open_tcp(const SocketAddress& address) {
    UniqueFd fd(::socket(
        address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!fd) {
        return io_error("socket for " + to_string(address), errno);
    }
    prepare_tcp(fd.get());
    return fd;
}

void set_user_timeout(int socket, std::chrono::milliseconds limit) noexcept {
    set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(limit.count()));
}

void prepare_tcp(int socket) noexcept {
    set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs);
    set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveIdleS);
    set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, kKeepaliveIntervalS);
    set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes);
}

bool is_one_machine(const SocketAddress& a, const SocketAddress& b) {
    constexpr std::uint8_t kLoopback = 127;
    const wire::Host one = host_of(a);
    const wire::Host other = host_of(b);
    const auto is_loopback = [](const wire::Host& host) {
        return !host.is_v6 && host.address[0] == kLoopback;
    };
    return one.is_v6 == other.is_v6 &&
           (one.address == other.address || (is_loopback(one) && is_loopback(other)));
}

void prepare_congestion_control(int socket) noexcept {
    const SocketAddress peer = peer_address(socket);
    if (peer.length == 0 || !is_one_machine(local_address(socket), peer)) {
        return;
    }
    for (const std::string_view name : {std::string_view("cubic"), std::string_view("reno")}) {
        if (::setsockopt(socket,
                         IPPROTO_TCP,
                         TCP_CONGESTION,
                         name.data(),
                         static_cast<socklen_t>(name.size())) == 0) {
            break;
        }
    }
}

}  // namespace gantry::net

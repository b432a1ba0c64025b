// SPDX-License-Identifier: Apache-2.0
#include "broker/serving/client_port.h"

#include "protocol/net/socket.h"

#include <cerrno>
#include <sys/socket.h>

namespace gantry::broker {

Result<ClientPort> ClientPort::take(const BrokerOptions& options) {
    const auto wanted = static_cast<std::uint16_t>(options.base.listen_port);
    // Listens for a moment: the kernel lets several sockets of one port be bound, not listen.
    GANTRY_ASSIGN_OR_RETURN(UniqueFd probe, net::listen_tcp(options.base.listen_address, wanted));
    const net::SocketAddress where = net::local_address(probe.get());
    const auto port = static_cast<std::uint16_t>(net::host_of(where).port);
    probe.reset();
    UniqueFd held(::socket(where.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(held.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!held || ::bind(held.get(), where.get(), where.length) != 0) {
        return io_error("bind to " + net::to_string(where), errno);
    }
    GANTRY_ASSIGN_OR_RETURN(
        Address address, choose_address(options.advertise_host, options.base.listen_address, port));
    return ClientPort(std::move(held), port, std::move(address));
}

}  // namespace gantry::broker

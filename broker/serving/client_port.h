// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/address.h"
#include "broker/settings.h"
#include "common/result.h"
#include "common/unique_fd.h"

#include <cstdint>

namespace gantry::broker {

/// The port on which clients reach this broker, taken for as long as the broker lives: a serving
/// layer listens on it, and so may the next one at once. In between connections are refused.
///
/// Threads   any; it does not change. Errors: kConflict: the port is in use. kRefused, kIo: those
/// of
///           net::listen_tcp and choose_address.
class ClientPort {
public:
    /// May ask the resolver.
    static Result<ClientPort> take(const BrokerOptions& options);

    std::uint16_t port() const noexcept { return port_; }

    /// As clients are told.
    const Address& address() const noexcept { return address_; }

private:
    ClientPort(UniqueFd held, std::uint16_t port, Address address)
        : held_(std::move(held)), port_(port), address_(std::move(address)) {}

    UniqueFd held_;  ///< bound, and never listening
    std::uint16_t port_;
    Address address_;
};

}  // namespace gantry::broker

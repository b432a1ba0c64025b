// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/record.h"

#include <cstdint>
#include <string>

namespace gantry::broker {

/// How clients reach this broker.
struct Address {
    std::string text;  ///< host:port as routed
    wire::Host host;   ///< the same, in record form
};

/// `advertised`, else `listened` unless that is a wildcard, else this machine's first address that
/// is not loopback, else 127.0.0.1. kRefused: a name that does not resolve. May ask the resolver.
Result<Address> choose_address(const std::string& advertised,
                               const std::string& listened,
                               std::uint16_t port);

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gantry::chaos {

/// The hosts of a cluster and the lines between them, which can be cut.
///
/// Threads   one.
/// Lifetime  what it made is gone with it; programs on its hosts have ended before.
class Network {
public:
    Network() = default;
    Network(const Network&) = delete;
    Network& operator=(const Network&) = delete;
    virtual ~Network() = default;

    virtual Status add_host(const std::string& host) = 0;
    /// What a program listens on there; this process reaches it by that too.
    virtual std::string listen_host(const std::string& host) const = 0;
    /// By which other hosts reach it.
    virtual std::string address(const std::string& host) const = 0;
    /// A port that nobody listens on: `wanted`, where every host has ports of its own.
    virtual Result<std::uint16_t> pick_port(std::uint16_t wanted) const = 0;
    /// Lets others reach a port of the host by its address.
    virtual Status publish(const std::string& host, std::uint16_t port) = 0;
    /// "host:port" by which programs on `from` are told to reach a port of `to`.
    virtual Result<std::string> way(const std::string& from,
                                    const std::string& to,
                                    std::uint16_t port) = 0;
    /// A command line in front of that of a program on the host; may be empty.
    virtual std::vector<std::string> launcher(const std::string& host) const = 0;

    /// Nothing that `from` sends reaches `to` any more; what `to` sends does.
    virtual Status cut(const std::string& from, const std::string& to) = 0;
    /// Every line of the host is slow and thin.
    virtual Status slow(const std::string& host) = 0;
    /// All is as it was.
    virtual Status heal() = 0;
};

/// Every host a network namespace with an address of its own, all on one bridge. A cut is exact: an
/// entry for the neighbour that leads nowhere, so that packets vanish, new connections' too.
///
/// kDenied: no root, no `ip`, or no namespaces here; says which.
Result<std::unique_ptr<Network>> make_namespace_network();

/// Every host a loopback address, programs on 127.0.0.1 behind proxies. Needs nothing. A cut
/// between two hosts of which neither was told a way to the other cuts what anybody sends to `to`,
/// and what `from` answers to anybody.
std::unique_ptr<Network> make_proxy_network();

}  // namespace gantry::chaos

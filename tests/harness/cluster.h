// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "tests/harness/daemon_process.h"
#include "tests/harness/temp_directory.h"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace gantry::harness {

/// Nameservers and brokers of one test, as real processes on the loopback. Killed, and their files
/// removed, with this object.
class Cluster {
    struct Private {};

public:
    /// What to start.
    struct Options {
        std::size_t nameservers = 1;
        std::size_t brokers = 1;  ///< masters "broker-0", "broker-1", ... with id 0
        Settings nameserver_settings;
        Settings broker_settings;
    };

    /// For start only.
    explicit Cluster(Private) {}

    /// Starts all and waits until every nameserver knows every broker.
    static Result<std::unique_ptr<Cluster>> start(const Options& options);

    NameserverProcess& nameserver(std::size_t index = 0) { return *nameservers_.at(index); }

    BrokerProcess& broker(std::size_t index = 0) { return *brokers_.at(index); }

    const std::filesystem::path& directory() const noexcept { return directory_.path(); }

    /// All nameservers, "host:port,host:port".
    std::string nameserver_addresses() const;

    /// Waits until every nameserver knows exactly `count` brokers.
    Status wait_for_brokers(std::size_t count);

private:
    TempDirectory directory_;
    std::vector<std::unique_ptr<NameserverProcess>> nameservers_;
    std::vector<std::unique_ptr<BrokerProcess>> brokers_;
};

}  // namespace gantry::harness

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/replication.pb.h"
#include "tests/chaos/world/daemon.h"
#include "tests/chaos/world/network.h"
#include "tests/harness/daemon_process.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace gantry::chaos {

/// A cluster in processes: nameservers, three etcd, and the brokers of one group; each on its host.
///
/// Threads   the one that made it; processes end with it.
class World {
    struct Private {};

public:
    static constexpr const char* kGroup = "chaos";

    /// What to start.
    struct Options {
        std::filesystem::path directory;
        std::size_t brokers = 3;
        std::size_t etcds = 3;
        std::vector<std::string> client_hosts{"client1", "client2"};
        harness::Settings broker_settings{};  ///< over the usual ones
        bool has_fake_time = false;           ///< brokers run under libfaketime
    };

    /// kNotFound: no etcd is installed.
    static Result<std::unique_ptr<World>> start(std::unique_ptr<Network> network,
                                                const Options& options);

    /// For start only.
    World(Private, std::unique_ptr<Network> network, Options options);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    Network& network() { return *network_; }

    std::vector<std::unique_ptr<Daemon>>& brokers() { return brokers_; }

    std::vector<std::unique_ptr<Daemon>>& etcds() { return etcds_; }

    Daemon& nameserver() { return *nameserver_; }

    const std::vector<std::string>& client_hosts() const { return options_.client_hosts; }

    /// How a program on that host is told to reach the nameserver.
    Result<std::string> nameserver_way(const std::string& from);

    /// What a broker says of its group; within `limit`.
    Result<wire::ReplicaStatus> status(
        std::size_t broker, std::chrono::milliseconds limit = std::chrono::milliseconds(500));
    /// The broker that says it is master, of several the one of the highest epoch.
    std::optional<std::size_t> master();
    /// The member of etcd that leads.
    std::optional<std::size_t> etcd_leader();
    /// Waits until there is a master with all brokers in its set; with `at_rest` also until all
    /// have the log to the same end.
    Status wait_whole(std::chrono::milliseconds limit, bool at_rest = false);

    /// Undone by mend(), the last first.
    void on_mend(std::function<Status()> undo) { undo_.push_back(std::move(undo)); }

    /// Takes back every fault: heals lines, thaws, starts what does not run. Tells the first error.
    Status mend();

    /// File that shifts the brokers' clocks, by libfaketime; empty: they have the real one.
    std::filesystem::path fake_time() const;

private:
    bool is_whole_now(bool at_rest, std::string& why);
    Status start_etcds();
    Status start_nameserver();
    Status start_broker(std::size_t index);

    std::unique_ptr<Network> network_;
    const Options options_;
    std::vector<std::unique_ptr<Daemon>> etcds_;
    std::vector<std::uint16_t> etcd_ports_;
    std::unique_ptr<Daemon> nameserver_;
    std::vector<std::unique_ptr<Daemon>> brokers_;
    std::vector<std::function<Status()>> undo_;
};

}  // namespace gantry::chaos

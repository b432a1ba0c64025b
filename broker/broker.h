// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/serving/client_port.h"
#include "broker/serving/progress_relay.h"
#include "broker/settings.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/metrics.h"
#include "common/result.h"
#include "protocol/net/daemon.h"
#include "protocol/net/http_server.h"
#include "storage/store.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace gantry::broker {

class AloneReplica;
class ReplicaInfo;
class ReplicaNode;
class Serving;

/// A running broker: its ports, and either a store and what serves clients from it, or with
/// replication.mode the member of a group that has both.
///
///   alone     Store <- Serving
///   member    ReplicaNode: Store <- Serving, one after the other as roles change
///
/// Threads   start, stop: any, but not a loop's.
/// Errors    start: kRefused for settings, kConflict when a port is in use or another process has
///           the store, what Store::open gives.
/// Lifetime  `clock` and `files` outlive it.
class Broker final : public net::Daemon {
    struct Private {};

public:
    /// For start only.
    Broker(Private,
           const BrokerOptions& options,
           Clock& clock,
           FileSystem& files,
           ReplicaInfo* replica);
    ~Broker() override;

    /// Opens the store, serves, and registers with the nameservers; waits for the first
    /// registration, and for a role in the group, at most two seconds each.
    /// `replica`, of a broker that is told what it is by a test, outlives it.
    static Result<std::unique_ptr<Broker>> start(const BrokerOptions& options,
                                                 Clock& clock,
                                                 FileSystem& files,
                                                 ReplicaInfo* replica = nullptr);

    std::uint16_t port() const override;
    std::uint16_t http_port() const override;
    /// host:port as clients are told.
    const std::string& address() const;

    const BrokerOptions& options() const noexcept { return options_; }

    /// A master hands over to a slave in sync, if there is one. Unregisters, answers what waits,
    /// flushes and closes the store.
    void stop() override;

    const MetricRegistry& metrics() const noexcept { return metrics_; }

    /// For tests and tools in the same process. Of a member: not while its role changes.
    storage::Store& store() noexcept;

private:
    Status open();
    Status open_alone();
    Status open_http();
    void stop_alone();
    std::string why_not_ready() const;

    const BrokerOptions options_;
    Clock& clock_;
    FileSystem& files_;
    MetricRegistry metrics_;
    std::optional<ClientPort> place_;
    std::unique_ptr<AloneReplica> alone_;
    ReplicaInfo& replica_;
    std::shared_ptr<ProgressRelay> progress_;
    std::unique_ptr<storage::Store> store_;
    std::unique_ptr<Serving> serving_;
    std::unique_ptr<ReplicaNode> node_;
    std::unique_ptr<net::HttpServer> http_;
    bool is_running_ = false;
};

}  // namespace gantry::broker

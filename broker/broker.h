// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/settings.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/metrics.h"
#include "common/result.h"
#include "protocol/net/connection.h"
#include "protocol/net/daemon.h"
#include "protocol/net/event_loop.h"
#include "protocol/net/http_server.h"
#include "protocol/net/server.h"
#include "storage/store.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gantry::broker {

struct Context;
class LoopState;
class ReplicaInfo;

/// A running broker: the store, the loops that serve clients, the links to the nameservers.
///
///   client --frame--> loop: Dispatcher -> handler -> Store::append / read -> reply
///                                          (pool: queries; store: cold reads)
///
/// Threads   start, stop: any, but not a loop's. Loops are called "broker-0" ..., the pool's
///           threads "query".
/// Errors    start: kRefused for settings, kConflict when a port is in use or another process has
///           the store, what Store::open gives.
/// Lifetime  `clock` and `files` outlive it.
class Broker final : public net::Daemon, private net::ConnectionHandler {
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
    /// registration at most two seconds.
    /// `replica` outlives it; null: there is no replication.
    static Result<std::unique_ptr<Broker>> start(const BrokerOptions& options,
                                                 Clock& clock,
                                                 FileSystem& files,
                                                 ReplicaInfo* replica = nullptr);

    std::uint16_t port() const override;
    std::uint16_t http_port() const override;
    /// host:port as clients are told.
    const std::string& address() const;

    const BrokerOptions& options() const noexcept { return options_; }

    /// Unregisters, answers what waits, flushes and closes the store.
    void stop() override;

    const MetricRegistry& metrics() const noexcept { return metrics_; }

    /// For tests and tools in the same process.
    storage::Store& store() noexcept { return *store_; }

private:
    struct Handlers;

    void on_open(net::Connection& connection) override;
    void on_frame(const net::Received& frame) override;
    void on_close(net::Connection& connection, const Error& why) override;

    Status open();
    Status open_loops();
    Status listen();
    Status open_store();
    Status open_http();
    void add_gauges();
    void start_serving();
    void wait_for_registration() const;
    void settle();
    void run_on(LoopState& loop, const std::function<void()>& work) const;
    std::string why_not_ready() const;

    const BrokerOptions options_;
    Clock& clock_;
    FileSystem& files_;
    ReplicaInfo* const replica_;
    MetricRegistry metrics_;
    std::vector<std::unique_ptr<net::EventLoop>> loops_;
    std::unique_ptr<storage::Store> store_;
    std::unique_ptr<Context> context_;
    std::unique_ptr<Handlers> handlers_;
    std::vector<std::unique_ptr<LoopState>> loop_states_;
    std::unique_ptr<net::Server> server_;
    std::unique_ptr<net::Server> vip_server_;
    std::unique_ptr<net::HttpServer> http_;
    bool is_running_ = false;
};

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/replica_info.h"
#include "broker/serving/client_port.h"
#include "broker/settings.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/result.h"
#include "protocol/net/connection.h"
#include "protocol/net/event_loop.h"
#include "protocol/net/server.h"
#include "storage/store.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace gantry::broker {

struct Context;
class LoopState;

/// What serves the clients of a broker in one role, on an open store: the loops, the handlers, what
/// delivers by itself, and the links to the nameservers. Where the role changes it is stopped and
/// another one is started; clients connect again.
///
///   client --frame--> loop: Dispatcher -> handler -> Store::append / read -> reply
///                                          (pool: queries; store: cold reads)
///
/// Roles     alone, master: everything. Slave: nothing runs that appends by itself, and requests
///           that would are refused.
/// Threads   start, stop, destruction: one and the same, not a loop's. Loops are called "broker-0"
///           ..., the pool's threads "query". on_store_progress, why_not_ready: any.
/// Errors    start: kConflict when the port is in use; those of appends.
/// Lifetime  what Parts name outlives it. Its gauges go with it.
class Serving final : private net::ConnectionHandler {
    struct Private {};

public:
    /// What it is made of.
    struct Parts {
        const BrokerOptions& options;
        Clock& clock;
        MetricRegistry& metrics;
        ReplicaInfo& replica;
        storage::Store& store;
        const ClientPort& place;
    };

    /// How much time an end takes.
    enum class Ending : std::uint8_t {
        kClean,       ///< leaves the nameservers, answers what waits as it becomes durable
        kRoleChange,  ///< answers what waits as well as can be now
    };

    /// For start only.
    Serving(Private, const Parts& parts);
    ~Serving() override;

    /// Serves from now on; does not wait for a nameserver.
    static Result<std::unique_ptr<Serving>> start(const Parts& parts);

    /// Ends it; the store stays open. Idempotent. Blocks.
    void stop(Ending ending);

    /// The store's watermarks moved.
    void on_store_progress();

    /// Waits until a nameserver knows this broker, at most `limit`.
    void wait_for_registration(std::chrono::milliseconds limit) const;

    /// Empty when it serves, else why not.
    std::string why_not_ready() const;

private:
    struct Handlers;

    void on_open(net::Connection& connection) override;
    void on_frame(const net::Received& frame) override;
    void on_close(net::Connection& connection, const Error& why) override;

    Status open();
    Status open_loops();
    Status listen();
    Status open_services();
    Status open_writers();
    void add_gauges();
    void add_delivery_gauges();
    void run();
    void settle(Ending ending);
    void stop_services();
    void answer_pending(Ending ending);
    void run_on(LoopState& loop, const std::function<void()>& work) const;

    const BrokerOptions& options_;
    Clock& clock_;
    MetricRegistry& metrics_;
    ReplicaInfo& replica_;
    storage::Store& store_;
    const ClientPort& place_;
    const bool is_slave_;
    const std::uint64_t gauges_;
    std::vector<std::unique_ptr<net::EventLoop>> loops_;
    std::unique_ptr<Context> context_;
    std::unique_ptr<Handlers> handlers_;
    std::vector<std::unique_ptr<LoopState>> loop_states_;
    std::unique_ptr<net::Server> server_;
    std::unique_ptr<net::Server> vip_server_;
    bool is_running_ = false;
};

}  // namespace gantry::broker

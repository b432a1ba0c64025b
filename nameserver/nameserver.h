// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/file_system.h"
#include "common/metrics.h"
#include "common/result.h"
#include "nameserver/kv_file.h"
#include "nameserver/request_handler.h"
#include "nameserver/settings.h"
#include "protocol/net/daemon.h"
#include "protocol/net/event_loop.h"
#include "protocol/net/http_server.h"
#include "protocol/net/server.h"

#include <cstdint>
#include <memory>

namespace gantry::nameserver {

/// A running nameserver: one event loop that holds all routes, and the HTTP endpoint.
///
/// It needs no state of its own to start: brokers register within seconds. Several run side by side
/// and know nothing of each other; every broker registers with all.
///
/// Threads   start, stop: any, but not the loop's. The loop's thread is called "nameserver".
class Nameserver final : public net::Daemon {
    struct Private {};

public:
    /// For start only.
    explicit Nameserver(Private) {}

    /// kConflict: a port is in use. kCorrupt, kIo: the KV file cannot be read.
    /// `clock` outlives the nameserver.
    static Result<std::unique_ptr<Nameserver>> start(const NameserverSettings& settings,
                                                     Clock& clock);
    ~Nameserver() override;

    std::uint16_t port() const override;
    std::uint16_t http_port() const override;
    void stop() override;

    const MetricRegistry& metrics() const noexcept { return metrics_; }

private:
    Status open(const NameserverSettings& settings, Clock& clock);

    MetricRegistry metrics_;
    std::unique_ptr<FileSystem> files_;
    std::unique_ptr<net::EventLoop> loop_;
    std::unique_ptr<RequestHandler> handler_;
    // Behind the handler: its thread calls into the handler until it is joined.
    std::unique_ptr<KvFile> kv_file_;
    std::unique_ptr<net::Server> server_;
    std::unique_ptr<net::HttpServer> http_;
    bool is_running_ = false;
};

}  // namespace gantry::nameserver

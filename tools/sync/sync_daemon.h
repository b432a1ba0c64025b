// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/metrics.h"
#include "common/mutex.h"
#include "common/result.h"
#include "common/settings.h"
#include "protocol/net/daemon.h"
#include "protocol/net/http_server.h"
#include "sync/config/config.h"
#include "sync/report/report_metrics.h"
#include "sync/route.h"

#include <condition_variable>
#include <map>
#include <memory>
#include <string>
#include <thread>

namespace gantry::sync {

/// The settings of the daemon itself; its routes are in a file of their own.
struct SyncSettings {
    SyncSettings() { base.http_port = 10'920; }

    net::DaemonSettings base;  ///< of which http.* and log.* are used
    std::string routes_file = "routes.toml";

    /// Adds them to `table`, bound to this object.
    void describe(SettingTable& table);
};

/// The daemon: runs the routes of a file, and follows the file's changes.
///
///   GET /api/v1/status   every route and queue, JSON
///
/// Reload    the file is looked at every half second. Routes that are the same go on; others are
///           stopped and started. A file that is wrong changes nothing, and /readyz says why.
/// Threads   `sync-watch`, those of the routes, and that of HTTP.
class SyncDaemon final : public net::Daemon {
public:
    /// kRefused, kNotFound: the routes' file. Errors of the HTTP port. Clusters that are away are
    /// waited for.
    static Result<std::unique_ptr<SyncDaemon>> start(const SyncSettings& settings);
    ~SyncDaemon() override;

    /// It listens for nothing but HTTP.
    std::uint16_t port() const override { return 0; }

    std::uint16_t http_port() const override { return http_->port(); }

    void stop() override;

    /// All routes as JSON.
    std::string status_json() const;

private:
    explicit SyncDaemon(const SyncSettings& settings) : settings_(settings) {}

    void watch();
    void reload();
    Status apply(const SyncConfig& config);
    void took(const Status& applied);
    std::string not_ready() const;

    const SyncSettings settings_;
    MetricRegistry metrics_;
    ReportMetrics reports_{metrics_};
    std::string file_state_;  // the watching thread's: time and size of what was loaded

    mutable Mutex mutex_;
    std::condition_variable changed_;
    bool is_stopping_ GANTRY_GUARDED_BY(mutex_) = false;
    std::string file_problem_ GANTRY_GUARDED_BY(mutex_);
    std::map<std::string, std::unique_ptr<Route>> routes_ GANTRY_GUARDED_BY(mutex_);
    std::unique_ptr<net::HttpServer> http_;
    std::thread thread_;
};

}  // namespace gantry::sync

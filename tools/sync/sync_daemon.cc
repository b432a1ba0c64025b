// SPDX-License-Identifier: Apache-2.0
#include "sync/sync_daemon.h"

#include "common/clock.h"
#include "common/log.h"
#include "sync/report/status.h"

#include <chrono>
#include <sys/stat.h>
#include <utility>
#include <vector>

namespace gantry::sync {
namespace {

constexpr Logger kLog("sync");
constexpr std::chrono::milliseconds kLookEvery{500};
constexpr SettingTable::Range kPorts = {0, 65'535};

/// Changes whenever the file is written.
std::string state_of(const std::string& path) {
    struct stat found {};

    if (::stat(path.c_str(), &found) != 0) {
        return {};
    }
    return std::to_string(found.st_mtim.tv_sec) + '.' + std::to_string(found.st_mtim.tv_nsec) +
           ' ' + std::to_string(found.st_size) + ' ' + std::to_string(found.st_ino);
}

/// Whether a route may start later: the nameservers that were to tell a dialect are away.
bool is_away(const Error& error) {
    return error.code == Errc::kGone || error.code == Errc::kTimeout ||
           error.code == Errc::kUnknown;
}

}  // namespace

void SyncSettings::describe(SettingTable& table) {
    table.add("routes.file", &routes_file, "The TOML file of routes; followed while it runs.");
    table.add("http.address", &base.http_address, "Address of the HTTP endpoint.");
    table.add("http.port", &base.http_port, kPorts, "Port of the HTTP endpoint; 0: any.");
    table.add_choice("log.level",
                     &base.log_level,
                     {"debug", "info", "warn", "error", "off"},
                     "The least severe lines to log.");
    table.add("log.file", &base.log_file, "Log file, rolled by size; empty: standard error.");
}

Result<std::unique_ptr<SyncDaemon>> SyncDaemon::start(const SyncSettings& settings) {
    auto daemon = std::unique_ptr<SyncDaemon>(new SyncDaemon(settings));
    SyncDaemon* const raw = daemon.get();
    net::HttpServer::Options http;
    http.address = settings.base.http_address;
    http.port = static_cast<std::uint16_t>(settings.base.http_port);
    GANTRY_ASSIGN_OR_RETURN(daemon->http_, net::HttpServer::listen(http, daemon->metrics_, [raw] {
                                return raw->not_ready();
                            }));
    daemon->http_->add("/api/v1/status", [raw](const std::string&) {
        return net::HttpReply{200, "application/json", raw->status_json()};
    });
    daemon->file_state_ = state_of(settings.routes_file);
    const Result<SyncConfig> config = load_config(settings.routes_file);
    if (!config) {
        return Error{config.error().code, "routes.file: " + config.error().detail};
    }
    const Status applied = daemon->apply(*config);
    if (!applied && !is_away(applied.error())) {
        return applied.error();
    }
    daemon->took(applied);
    daemon->http_->start();
    daemon->thread_ = std::thread([raw] { raw->watch(); });
    return daemon;
}

SyncDaemon::~SyncDaemon() {
    stop();
}

void SyncDaemon::stop() {
    {
        const MutexLock lock(mutex_);
        is_stopping_ = true;
        changed_.notify_all();
    }
    if (thread_.joinable()) {
        thread_.join();
    }
    if (http_ != nullptr) {
        http_->stop();
    }
    std::map<std::string, std::unique_ptr<Route>> routes;
    {
        const MutexLock lock(mutex_);
        routes.swap(routes_);
    }
    for (const auto& [name, route] : routes) {
        route->stop();
    }
}

void SyncDaemon::watch() {
    set_thread_name("sync-watch");
    const SystemClock clock;
    for (;;) {
        std::vector<RouteReport> reports;
        {
            const SteadyTime until = std::chrono::steady_clock::now() + kLookEvery;
            MutexLock lock(mutex_);
            while (!is_stopping_ && lock.wait_until(changed_, until)) {
            }
            if (is_stopping_) {
                return;
            }
            for (const auto& [name, route] : routes_) {
                reports.push_back(route->report());
            }
        }
        reports_.take(reports, clock.wall_ms());
        reload();
    }
}

void SyncDaemon::reload() {
    const std::string state = state_of(settings_.routes_file);
    if (state == file_state_ || state.empty()) {
        return;
    }
    file_state_ = state;
    const Result<SyncConfig> config = load_config(settings_.routes_file);
    took(config ? apply(*config) : Status(config.error()));
}

/// What came of a file; one with a cluster that is away is looked at again.
void SyncDaemon::took(const Status& applied) {
    if (!applied && is_away(applied.error())) {
        file_state_.clear();
    }
    std::string before = applied ? "" : applied.error().detail;
    {
        const MutexLock lock(mutex_);
        before.swap(file_problem_);
    }
    if (applied) {
        kLog.info("routes_loaded", {{"file", settings_.routes_file}});
    } else if (before != applied.error().detail) {
        kLog.error("routes_refused", {{"file", settings_.routes_file}, {"error", applied.error()}});
    }
}

/// Stops what is not in the file as it was, starts what is new.
Status SyncDaemon::apply(const SyncConfig& config) {
    std::map<std::string, std::unique_ptr<Route>> over;
    {
        const MutexLock lock(mutex_);
        over.swap(routes_);
        for (const RouteConfig& route : config.routes) {
            const auto found = over.find(route.name);
            if (found != over.end() && found->second->config().text == route.text) {
                routes_.insert(over.extract(found));
            }
        }
    }
    over.clear();
    Status all = ok();
    for (const RouteConfig& route : config.routes) {
        {
            const MutexLock lock(mutex_);
            if (routes_.count(route.name) != 0) {
                continue;
            }
        }
        Result<std::unique_ptr<Route>> started = Route::start(config, route);
        if (!started) {
            all =
                Error{started.error().code, "route " + route.name + ": " + started.error().detail};
            continue;
        }
        const MutexLock lock(mutex_);
        routes_[route.name] = std::move(started).value();
    }
    return all;
}

std::string SyncDaemon::not_ready() const {
    const MutexLock lock(mutex_);
    if (!file_problem_.empty()) {
        return file_problem_;
    }
    for (const auto& [name, route] : routes_) {
        const RouteReport report = route->report();
        if (!report.problem.empty()) {
            return "route " + name + ": " + report.problem;
        }
        for (const QueueReport& queue : report.queues) {
            if (queue.state == QueueCopier::State::kStands) {
                return "route " + name + ", queue " + std::to_string(queue.source.queue) +
                       " of topic " + queue.source.topic + " on " + queue.source.broker + ": " +
                       queue.reason;
            }
        }
    }
    return {};
}

std::string SyncDaemon::status_json() const {
    const SystemClock clock;
    std::vector<RouteReport> reports;
    const MutexLock lock(mutex_);
    for (const auto& [name, route] : routes_) {
        reports.push_back(route->report());
    }
    return sync::status_json(reports, clock.wall_ms());
}

}  // namespace gantry::sync

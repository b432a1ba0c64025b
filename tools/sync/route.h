// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/metrics.h"
#include "common/mutex.h"
#include "common/result.h"
#include "sync/config/config.h"
#include "sync/copy/route_worker.h"
#include "sync/copy/task_pool.h"
#include "sync/report/route_stats.h"
#include "sync/topics.h"

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace gantry::sync {

/// One running route: finds its topics, makes them at the target where asked, and has its workers
/// copy them.
///
/// Threads   `sync-route` of its own; the methods: any.
/// Lifetime  stop, or the destructor, waits for everything of it.
class Route {
public:
    /// Starts it; clusters that are away are waited for. Errors: of the route's options, and of a
    /// dialect that cannot be detected.
    static Result<std::unique_ptr<Route>> start(const SyncConfig& config, const RouteConfig& route);
    ~Route();
    Route(const Route&) = delete;
    Route& operator=(const Route&) = delete;

    const RouteConfig& config() const noexcept { return config_; }

    /// How it is doing, with the ends of queues as they were at most two seconds ago.
    RouteReport report() const;
    void stop();

private:
    Route(const SyncConfig& all, const RouteConfig& config) : all_(all), config_(config) {}

    void run();
    bool wait(std::chrono::milliseconds limit);
    Status make_groups();
    Status find_topics();
    Status prepare(const std::string& topic);
    void find_ends();
    std::string take_ends(const std::string& topic, const std::vector<client::QueueStatus>& status);
    void set_problem(const std::string& problem);
    void set_away(const std::string& away);
    void mirror();

    const SyncConfig all_;
    const RouteConfig config_;
    std::vector<std::unique_ptr<RouteWorker>> workers_;
    Ends ends_;                                  // the thread's
    bool has_groups_ = false;                    // the thread's: the source takes its commits
    SteadyTime mirror_due_{};                    // the thread's
    std::map<std::string, std::string> topics_;  // the thread's
    std::map<client::QueueId, int> behind_;      // the thread's: ticks below what was copied

    mutable Mutex mutex_;
    std::condition_variable changed_;
    bool is_stopping_ GANTRY_GUARDED_BY(mutex_) = false;
    std::string problem_ GANTRY_GUARDED_BY(mutex_);
    std::string away_ GANTRY_GUARDED_BY(mutex_);  ///< of the source, what was there before
    std::map<client::QueueId, std::int64_t> queue_ends_ GANTRY_GUARDED_BY(mutex_);
    std::atomic<bool> is_mirroring_{false};
    TaskPool mirrors_{1};
    std::thread thread_;
};

}  // namespace gantry::sync

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/metrics.h"
#include "common/mutex.h"
#include "sync/report/route_stats.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace gantry::sync {

/// Routes' reports as metrics: counters by route, and lag by route and queue.
///
/// Threads   any.
class ReportMetrics {
public:
    explicit ReportMetrics(MetricRegistry& metrics) : metrics_(metrics) {}

    /// What the routes have come to now.
    void take(const std::vector<RouteReport>& reports, WallMs now);

private:
    /// What gauges read; they keep it alive.
    struct Lag {
        Mutex mutex;
        double messages GANTRY_GUARDED_BY(mutex) = 0;
        double bytes GANTRY_GUARDED_BY(mutex) = 0;
        double seconds GANTRY_GUARDED_BY(mutex) = 0;
        double frames GANTRY_GUARDED_BY(mutex) = 0;
    };

    void count(const std::string& name,
               const std::string& labels,
               const std::string& help,
               std::uint64_t total);
    void set_lag(const std::string& labels, const QueueReport& sum, double seconds, double bytes);

    MetricRegistry& metrics_;
    std::map<std::string, std::uint64_t> totals_;       // by counter, as last taken
    std::map<std::string, std::shared_ptr<Lag>> lags_;  // by labels
};

}  // namespace gantry::sync

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/metrics.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>

namespace gantry::broker {

/// What both ends of replication links count. Without a registry they count for themselves.
///
/// Threads   counters: any. set_lag: one.
/// Lifetime  `registry` outlives it; gauges live as long as the registry.
class LinkMetrics {
public:
    explicit LinkMetrics(MetricRegistry* registry);
    LinkMetrics(const LinkMetrics&) = delete;
    LinkMetrics& operator=(const LinkMetrics&) = delete;

    /// Log bytes that a member has not acknowledged.
    void set_lag(std::int64_t member, std::int64_t bytes);

private:
    MetricRegistry own_;
    MetricRegistry& registry_;
    std::map<std::int64_t, std::shared_ptr<std::atomic<std::int64_t>>> lags_;

public:
    Counter& sent_frames;
    Counter& sent_bytes;
    Counter& window_stalls;
    Counter& acks;
    Counter& refused;
    Counter& received_frames;
    Counter& received_bytes;
    Counter& reconnects;
    Counter& checksum_errors;
};

}  // namespace gantry::broker

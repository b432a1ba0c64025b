// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/mutex.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace gantry {

/// A number that only grows. Threads: any.
class Counter {
public:
    void add(std::uint64_t n = 1) noexcept { value_.fetch_add(n, std::memory_order_relaxed); }

    std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

/// The metrics of one daemon, shown at /metrics as Prometheus text. A metric is named
/// gantry_<room>_<what>_<unit>[_total] and described once, where it is created.
///
/// Threads   any. Gauge callbacks run in the thread that renders: they read atomics or lock.
/// Lifetime  counters live as long as the registry; what a gauge callback captures must too, or the
///           gauge is removed before.
class MetricRegistry {
public:
    /// The counter of that name, made on first use.
    Counter& counter(const std::string& name, const std::string& help);
    /// A value computed when asked for.
    void gauge(const std::string& name, const std::string& help, std::function<double()> read);
    /// Says where the gauges that this thread makes from now on begin.
    std::uint64_t mark() const;
    /// Removes those made since, by that thread; none of them is being read when it returns.
    void remove_gauges(std::uint64_t mark);
    /// Prometheus text exposition format 0.0.4.
    std::string render() const;
    /// Name to value of everything, for tools.
    std::map<std::string, double> values() const;

private:
    struct Metric {
        std::string help;
        std::unique_ptr<Counter> counter;
        std::function<double()> gauge;
        std::uint64_t number = 0;  ///< of the gauge, in the order they were made
    };

    mutable Mutex mutex_;
    std::uint64_t gauges_made_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::map<std::string, Metric> metrics_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry

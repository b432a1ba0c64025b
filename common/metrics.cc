// SPDX-License-Identifier: Apache-2.0
#include "common/metrics.h"

#include <cmath>
#include <cstdio>
#include <unistd.h>

namespace gantry {
namespace {

std::string number(double value) {
    char text[64];
    const bool whole = std::abs(value) < 9e15 && value == std::floor(value);
    std::snprintf(text, sizeof(text), whole ? "%.0f" : "%.9g", value);
    return text;
}

/// Of a gauge: the thread that made it above, the order they were made in below.
std::uint64_t number_here(std::uint64_t order) {
    return (static_cast<std::uint64_t>(::gettid()) << 40U) | order;
}

}  // namespace

Counter& MetricRegistry::counter(const std::string& name, const std::string& help) {
    const MutexLock lock(mutex_);
    Metric& metric = metrics_[name];
    if (!metric.counter) {
        metric.help = help;
        metric.counter = std::make_unique<Counter>();
    }
    return *metric.counter;
}

void MetricRegistry::gauge(const std::string& name,
                           const std::string& help,
                           std::function<double()> read) {
    const MutexLock lock(mutex_);
    Metric& metric = metrics_[name];
    metric.help = help;
    metric.gauge = std::move(read);
    metric.number = number_here(++gauges_made_);
}

std::uint64_t MetricRegistry::mark() const {
    const MutexLock lock(mutex_);
    return number_here(gauges_made_);
}

void MetricRegistry::remove_gauges(std::uint64_t mark) {
    const MutexLock lock(mutex_);
    std::erase_if(metrics_, [mark](const auto& one) {
        const std::uint64_t number = one.second.number;
        return !one.second.counter && number > mark && number >> 40U == mark >> 40U;
    });
}

std::string MetricRegistry::render() const {
    const MutexLock lock(mutex_);
    std::string text;
    std::string described;
    for (const auto& [name, metric] : metrics_) {
        const double value =
            metric.counter ? static_cast<double>(metric.counter->value()) : metric.gauge();
        // Metrics that differ in their labels are one to Prometheus.
        if (const std::string family = name.substr(0, name.find('{')); family != described) {
            text += "# HELP " + family + ' ' + metric.help + '\n';
            text += "# TYPE " + family + (metric.counter ? " counter\n" : " gauge\n");
            described = family;
        }
        text += name + ' ' + number(value) + '\n';
    }
    return text;
}

std::map<std::string, double> MetricRegistry::values() const {
    const MutexLock lock(mutex_);
    std::map<std::string, double> all;
    for (const auto& [name, metric] : metrics_) {
        all[name] = metric.counter ? static_cast<double>(metric.counter->value()) : metric.gauge();
    }
    return all;
}

}  // namespace gantry

// SPDX-License-Identifier: Apache-2.0
#include "common/metrics.h"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <thread>

namespace gantry {
namespace {

TEST_SUITE("metrics") {
    TEST_CASE("gauges of what dies are removed, counters and other gauges stay") {
        MetricRegistry metrics;
        metrics.gauge("a", "Earlier.", [] { return 1.0; });
        const std::uint64_t mark = metrics.mark();
        metrics.gauge("b", "Later.", [] { return 2.0; });
        std::thread([&] { metrics.gauge("d", "Of another.", [] { return 5.0; }); }).join();
        metrics.counter("c", "A counter.").add(3);
        metrics.remove_gauges(mark);
        CHECK(metrics.values() == std::map<std::string, double>{{"a", 1}, {"c", 3}, {"d", 5}});
        metrics.gauge("b", "Made again.", [] { return 4.0; });
        CHECK(metrics.values().at("b") == 4);
    }
}

}  // namespace
}  // namespace gantry

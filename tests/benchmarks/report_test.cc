// SPDX-License-Identifier: Apache-2.0
#include "bench/report.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

namespace gantry::bench {

TEST_SUITE("benchmarks/report") {
    TEST_CASE("json is one line with the promised members") {
        Options options;
        options.command = "e2e";
        Report report;
        report.messages = 10;
        report.seconds = 2;
        report.latency.record(5'000);
        const std::string line = json_of(options, report);
        CHECK(line.find('\n') == line.size() - 1);
        const auto json = nlohmann::json::parse(line);
        CHECK(json["messages_per_second"] == 5.0);
        for (const char* member : {"p50", "p90", "p99", "p999", "max"}) {
            CHECK(json["latency_us"].contains(member));
        }
        for (const char* member : {"lost", "duplicates", "out_of_order", "bytes_per_second"}) {
            CHECK(json.contains(member));
        }
    }

    TEST_CASE("a run that lost, reordered, skipped or failed is not good") {
        Report good;
        good.messages = 1;
        CHECK(good.good());
        for (auto field :
             {&Report::lost, &Report::out_of_order, &Report::offset_gaps, &Report::failed}) {
            Report bad = good;
            bad.*field = 1;
            CHECK_FALSE(bad.good());
        }
        Report other = good;
        other.checksum_expected = 1;
        other.checksum = 2;
        CHECK_FALSE(other.good());
        CHECK_FALSE(Report{}.good());
    }
}

}  // namespace gantry::bench

// SPDX-License-Identifier: Apache-2.0
#include "bench/histogram.h"

#include "common/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace gantry::bench {

TEST_SUITE("benchmarks/histogram") {
    TEST_CASE("an empty histogram has no quantiles") {
        const Histogram histogram;
        CHECK(histogram.quantile(0.99) == 0);
        CHECK(histogram.max() == 0);
    }

    TEST_CASE("quantiles are within two per cent of the sorted values, over the whole range") {
        Random random(42);
        Histogram histogram;
        std::vector<std::uint64_t> values;
        for (int i = 0; i < 20'000; ++i) {
            const std::uint64_t value = random.next() >> random.below(64);
            values.push_back(value);
            histogram.record(value);
        }
        std::sort(values.begin(), values.end());
        for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999}) {
            const auto exact = static_cast<double>(
                values[static_cast<std::size_t>(share * static_cast<double>(values.size()))]);
            const auto found = static_cast<double>(histogram.quantile(share));
            CHECK(found >= exact);
            CHECK(found <= exact * 1.02 + 1);
        }
        CHECK(histogram.quantile(1.0) == values.back());
    }

    TEST_CASE("small values are exact and merging adds up") {
        Histogram a;
        Histogram b;
        for (std::uint64_t v = 0; v < 64; ++v) {
            a.record(v);
        }
        b.record(1'000);
        a.merge(b);
        CHECK(a.total() == 65);
        CHECK(a.max() == 1'000);
        CHECK(a.quantile(0.5) == 32);
    }
}

}  // namespace gantry::bench

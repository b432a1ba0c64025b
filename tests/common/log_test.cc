// SPDX-License-Identifier: Apache-2.0
#include "common/log.h"

#include <doctest/doctest.h>

namespace gantry {
namespace {

using std::chrono::milliseconds;

SteadyTime at(milliseconds since) {
    return SteadyTime{} + std::chrono::hours(1) + since;
}

TEST_SUITE("common/log") {
    TEST_CASE("so many lines in a second pass, the next one says how many were left out") {
        LogRate rate(2);
        CHECK(rate.take(at(milliseconds(0))) == 0);
        CHECK(rate.take(at(milliseconds(999))) == 0);
        CHECK_FALSE(rate.take(at(milliseconds(999))));
        CHECK_FALSE(rate.take(at(milliseconds(999))));
        CHECK(rate.take(at(milliseconds(1'000))) == 2);
        CHECK(rate.take(at(milliseconds(1'001))) == 0);
        CHECK_FALSE(rate.take(at(milliseconds(1'999))));
    }
}

}  // namespace
}  // namespace gantry

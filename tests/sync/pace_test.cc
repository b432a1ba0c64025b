// SPDX-License-Identifier: Apache-2.0
#include "sync/copy/pace.h"

#include <doctest/doctest.h>

#include <chrono>

namespace gantry::sync {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

TEST_SUITE("sync/pace") {
    TEST_CASE("a bucket lets its rate pass, and what is larger is paid for afterwards") {
        TokenBucket bucket(100);
        const SteadyTime start = SteadyTime{} + 1s;
        REQUIRE(bucket.has_any(start));
        bucket.take(250);
        CHECK_FALSE(bucket.has_any(start + 1s));
        CHECK(bucket.has_any(start + 2s));
        TokenBucket none(0);
        none.take(1'000'000);
        CHECK(none.has_any(start));
    }

    TEST_CASE("pauses double up to their limit") {
        Random random(1);
        Backoff backoff(100ms, 1s);
        const SteadyTime now{};
        for (const auto most : {100ms, 200ms, 400ms, 800ms, 1'000ms, 1'000ms}) {
            const auto pause = backoff.failed(now, random) - now;
            CHECK(pause >= most / 2);
            CHECK(pause <= most);
        }
        backoff.succeeded();
        CHECK(backoff.failed(now, random) - now <= 100ms);
    }

    TEST_CASE("a circuit opens at a failure and lets one through to try") {
        Random random(1);
        Circuit circuit;
        const SteadyTime start = SteadyTime{} + 1s;
        CHECK(circuit.allows(start));
        circuit.failed(start, random);
        CHECK(circuit.is_open());
        CHECK_FALSE(circuit.allows(start));
        CHECK(circuit.allows(start + 200ms));
        CHECK(circuit.allows(start + 201ms));  // to look at it keeps nobody else out
        circuit.asked(start + 201ms);
        CHECK_FALSE(circuit.allows(start + 202ms));
        CHECK(circuit.allows(start + 16s));  // no answer came
        circuit.asked(start + 16s);
        circuit.succeeded();
        CHECK(circuit.allows(start + 16s));
        circuit.asked(start + 17s);
        CHECK(circuit.allows(start + 17s));
    }
}

}  // namespace gantry::sync

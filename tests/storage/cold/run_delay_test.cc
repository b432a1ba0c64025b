// SPDX-License-Identifier: Apache-2.0
#include "storage/cold/run_delay.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <sched.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace gantry::storage {
namespace {

using std::chrono::milliseconds;

SteadyTime at(milliseconds since) {
    return SteadyTime{} + std::chrono::hours(1) + since;
}

bool has_schedstat() {
    return ::access("/proc/thread-self/schedstat", R_OK) == 0;
}

/// Keeps the processor busy beside others on the same one; returns how long it had to wait.
std::int64_t wait_beside_others(int processor) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(processor), &one);
    static_cast<void>(::sched_setaffinity(0, sizeof(one), &one));
    RunDelay delay;
    delay.sample(at(milliseconds(0)));
    const auto until = std::chrono::steady_clock::now() + milliseconds(100);
    while (std::chrono::steady_clock::now() < until) {
    }
    const auto seen = delay.sample(at(milliseconds(100)));
    return seen ? seen->waited.count() : 0;
}

TEST_SUITE("storage/cold/run_delay") {
    TEST_CASE("a first sample, and one too soon, say nothing") {
        RunDelay delay;
        CHECK_FALSE(delay.sample(at(milliseconds(0))));
        CHECK_FALSE(delay.sample(at(RunDelay::kInterval - milliseconds(1))));
        const auto sample = delay.sample(at(milliseconds(50)));
        REQUIRE(sample.has_value() == has_schedstat());
        if (sample) {
            CHECK(sample->elapsed == milliseconds(50));
            CHECK(sample->waited >= std::chrono::nanoseconds(0));
        }
    }

    TEST_CASE("threads that share a processor are seen to wait for it") {
        const int processor = ::sched_getcpu();
        std::atomic<std::int64_t> waited{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < 3; ++i) {
            threads.emplace_back([&] { waited += wait_beside_others(processor); });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        CHECK((waited.load() > 1'000'000) == has_schedstat());
    }
}

}  // namespace
}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/random.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace gantry::wire {

/// Seed of a random test: GANTRY_TEST_SEED when set; printed, so that a failure can be repeated.
inline std::uint64_t test_seed(const char* test) {
    const char* const text = std::getenv("GANTRY_TEST_SEED");
    const std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 0) : random_seed();
    std::printf("%s: GANTRY_TEST_SEED=%llu\n", test, static_cast<unsigned long long>(seed));
    return seed;
}

}  // namespace gantry::wire

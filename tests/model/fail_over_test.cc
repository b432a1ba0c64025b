// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"
#include "tests/harness/build.h"
#include "tests/model/explorer.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <string>

namespace gantry::model {
namespace {

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* const given = std::getenv(name);
    return given == nullptr ? otherwise : std::strtoull(given, nullptr, 10);
}

/// Sanitizers make this several times as slow.
std::uint64_t states_max(std::uint64_t otherwise) {
    return number_from_environment("GANTRY_MODEL_STATES",
                                   harness::kIsSanitized ? otherwise / 10 : otherwise);
}

std::string text(const Bounds& bounds) {
    return "records " + std::to_string(bounds.records) + ", epochs " +
           std::to_string(bounds.epochs) + ", swaps " + std::to_string(bounds.swaps) +
           ", crashes " + std::to_string(bounds.crashes) + ", wipes " +
           std::to_string(bounds.wipes) + (bounds.async_flush ? ", async flush" : "");
}

Exploration explored(const Bounds& bounds, std::uint64_t states) {
    const auto began = std::chrono::steady_clock::now();
    const Exploration found = explore(FailOverModel(bounds), states_max(states));
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - began);
    MESSAGE(text(bounds) << ": " << found.states << " states, " << found.transitions
                         << " transitions, depth " << found.depth
                         << std::string(found.is_exhausted ? ", all there are, " : ", ")
                         << took.count() << " ms");
    INFO(found.trace);
    CHECK(found.violation.empty());
    return found;
}

}  // namespace

TEST_SUITE("model/fail_over") {
    TEST_CASE("a crash at any moment loses nothing confirmed") {
        const Exploration found =
            explored({.records = 1, .epochs = 2, .swaps = 2, .crashes = 1, .wipes = 0}, 2'000'000);
        CHECK((found.is_exhausted || harness::kIsSanitized));
    }

    TEST_CASE("a disk replaced at any moment loses nothing confirmed") {
        const Exploration found =
            explored({.records = 1, .epochs = 2, .swaps = 2, .crashes = 0, .wipes = 1}, 3'000'000);
        CHECK((found.is_exhausted || harness::kIsSanitized));
    }

    TEST_CASE("with async flush an unclean stop loses nothing confirmed") {
        const Exploration found = explored(
            {.records = 1, .epochs = 2, .swaps = 2, .crashes = 1, .async_flush = true}, 3'000'000);
        CHECK((found.is_exhausted || harness::kIsSanitized));
    }

    TEST_CASE("two masters fall one after the other") {
        const Exploration found =
            explored({.records = 1, .epochs = 3, .swaps = 2, .crashes = 0, .wipes = 0}, 2'000'000);
        CHECK((found.is_exhausted || harness::kIsSanitized));
    }

    TEST_CASE("crash and new disk, as far as the time goes") {
        explored({.records = 1, .epochs = 2, .swaps = 3, .crashes = 1, .wipes = 1}, 2'000'000);
    }

    TEST_CASE("random walks through a larger world find nothing") {
        const std::uint64_t seed = number_from_environment("GANTRY_TEST_SEED", random_seed());
        MESSAGE("GANTRY_TEST_SEED=" << seed);
        for (const bool async_flush : {false, true}) {
            const Bounds bounds{.records = 3,
                                .epochs = 4,
                                .swaps = 8,
                                .crashes = 3,
                                .wipes = 1,
                                .async_flush = async_flush};
            const Exploration found =
                walk(FailOverModel(bounds), seed, harness::kIsSanitized ? 1'500 : 30'000, 200);
            MESSAGE(text(bounds) << ": " << found.states << " steps, none longer than "
                                 << found.depth);
            INFO(found.trace);
            CHECK(found.violation.empty());
        }
    }
}

}  // namespace gantry::model

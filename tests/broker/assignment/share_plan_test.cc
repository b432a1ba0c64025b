// SPDX-License-Identifier: Apache-2.0
#include "broker/assignment/share_plan.h"

#include "common/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

namespace gantry::broker {
namespace {

std::uint64_t plan_seed() {
    const char* const given = std::getenv("GANTRY_TEST_SEED");
    const std::uint64_t seed =
        given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    MESSAGE("GANTRY_TEST_SEED=", seed);
    return seed;
}

std::vector<std::size_t> counts_of(const std::vector<std::size_t>& owners, std::size_t members) {
    std::vector<std::size_t> counts(members);
    for (const std::size_t owner : owners) {
        if (owner != kNobody) {
            ++counts[owner];
        }
    }
    return counts;
}

std::size_t taken_away(const SharePlanInput& input, const std::vector<std::size_t>& plan) {
    std::size_t moves = 0;
    for (std::size_t i = 0; i < plan.size(); ++i) {
        moves += input.owners[i] != kNobody && input.owners[i] != plan[i] ? 1U : 0U;
    }
    return moves;
}

/// What every balanced plan has to take away, when those with the most may keep one more.
std::size_t fewest_moves(const SharePlanInput& input) {
    std::vector<std::size_t> held = counts_of(input.owners, input.members);
    std::sort(held.rbegin(), held.rend());
    const std::size_t each = input.owners.size() / input.members;
    const std::size_t extra = input.owners.size() % input.members;
    std::size_t moves = 0;
    for (std::size_t i = 0; i < held.size(); ++i) {
        const std::size_t room = each + (i < extra ? 1U : 0U);
        moves += held[i] > room ? held[i] - room : 0U;
    }
    return moves;
}

TEST_SUITE("broker/share_plan") {
    TEST_CASE("without members nobody has anything") {
        CHECK(plan_shares({{kNobody, kNobody}, 0, 0, true}) ==
              std::vector<std::size_t>{kNobody, kNobody});
        CHECK(plan_shares({{}, 3, 0, true}).empty());
    }

    TEST_CASE("a member that joins takes from those that have most, one that left is replaced") {
        CHECK(plan_shares({{0, 0, 0, 0}, 2, 0, true}) == std::vector<std::size_t>{0, 0, 1, 1});
        CHECK(plan_shares({{0, 0, 1, 1}, 3, 0, true}) == std::vector<std::size_t>{0, 0, 1, 2});
        CHECK(plan_shares({{0, kNobody, 1, kNobody}, 2, 0, true}) ==
              std::vector<std::size_t>{0, 0, 1, 1});
    }

    TEST_CASE("random joins and leaves: balanced to one, sticky, with the fewest moves") {
        Random random(plan_seed());
        for (int round = 0; round < 2'000; ++round) {
            SharePlanInput input;
            input.members = 1 + random.below(12);
            input.first = random.below(40);
            input.is_only_here = random.below(2) == 0;
            input.owners.resize(random.below(40));
            for (std::size_t& owner : input.owners) {
                const std::size_t drawn = random.below(input.members + 2);
                owner = drawn < input.members ? drawn : kNobody;
            }
            const std::vector<std::size_t> plan = plan_shares(input);
            REQUIRE(std::count(plan.begin(), plan.end(), kNobody) == 0);
            const std::vector<std::size_t> counts = counts_of(plan, input.members);
            const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
            REQUIRE(*most - *least <= 1);
            // Nothing changes when nothing has.
            SharePlanInput again = input;
            again.owners = plan;
            REQUIRE(plan_shares(again) == plan);
            if (input.is_only_here) {
                REQUIRE(taken_away(input, plan) == fewest_moves(input));
            }
            // Nobody is both given a queue and relieved of one.
            for (std::size_t member = 0; member < input.members; ++member) {
                bool lost = false;
                bool won = false;
                for (std::size_t i = 0; i < plan.size(); ++i) {
                    lost = lost || (input.owners[i] == member && plan[i] != member);
                    won = won || (input.owners[i] != member && plan[i] == member);
                }
                REQUIRE_FALSE((lost && won));
            }
        }
    }

    TEST_CASE("several brokers together are balanced to one, too") {
        Random random(plan_seed());
        for (int round = 0; round < 500; ++round) {
            const std::size_t members = 1 + random.below(10);
            const std::size_t brokers = 1 + random.below(5);
            std::vector<std::size_t> counts(members);
            std::size_t before = 0;
            for (std::size_t broker = 0; broker < brokers; ++broker) {
                SharePlanInput input;
                input.members = members;
                input.owners.assign(random.below(12), kNobody);
                input.first = first_member("T", before, members);
                input.is_only_here = false;
                // It comes to the same whoever had them.
                for (std::size_t& owner : input.owners) {
                    owner = random.below(members);
                }
                for (const std::size_t owner : plan_shares(input)) {
                    ++counts[owner];
                }
                before += input.owners.size();
            }
            const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
            REQUIRE(*most - *least <= 1);
        }
    }
}

}  // namespace
}  // namespace gantry::broker

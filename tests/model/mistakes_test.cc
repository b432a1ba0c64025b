// SPDX-License-Identifier: Apache-2.0
// Lesser versions of the protocol: if the model finds nothing wrong with them, it finds nothing.
#include "tests/model/explorer.h"

#include <doctest/doctest.h>

namespace gantry::model {
namespace {

constexpr Bounds kBounds{.records = 1, .epochs = 2, .swaps = 3, .crashes = 1, .wipes = 1};

Exploration found_in(const FailOverModel& model) {
    const Exploration found = explore(model, 4'000'000);
    INFO(found.states, " states");
    CHECK_FALSE(found.violation.empty());
    MESSAGE("after " << found.states << " states\n" << found.trace);
    return found;
}

void must_lose(Mistake mistake, std::uint32_t steps_max, Bounds bounds = kBounds) {
    const Exploration found = found_in(FailOverModel(bounds, mistake));
    CHECK(found.violation.find("lacks a confirmed record") != std::string::npos);
    CHECK(found.trace_steps <= steps_max);
}

}  // namespace

TEST_SUITE("model/mistakes") {
    TEST_CASE("found: a copy joins without what was there before the epoch") {
        must_lose(Mistake::kJoinBeforeEpochStart, 7);
    }

    TEST_CASE("found: the confirmed offset goes back after a handshake") {
        FailOverModel model(kBounds, Mistake::kConfirmedGoesBack);
        CHECK(found_in(model).violation == "a confirmed offset went back");
        model.check_goes_back(false);
        CHECK(found_in(model).violation == "member 1 may be elected and lacks a confirmed record");
    }

    TEST_CASE("found: a join does not count before it is known to have happened") {
        must_lose(Mistake::kPendingNotCounted, 4);
    }

    TEST_CASE("found: a pending join counts whichever disk the member has now") {
        must_lose(Mistake::kPendingWithoutDisk, 13, {.swaps = 2, .crashes = 0, .wipes = 1});
    }

    TEST_CASE("found: how a swap ended is looked up instead of swapped again") {
        must_lose(Mistake::kUnknownSwapRead, 6);
    }

    TEST_CASE("found: a copy stops counting before it has left the set") {
        must_lose(Mistake::kShrinkBeforeSwap, 3);
    }

    TEST_CASE("found: what is not flushed counts, though flush is sync") {
        must_lose(Mistake::kAckBeforeFlush, 4);
    }

    TEST_CASE("found: with async flush an unclean stop leaves a copy in the set") {
        Bounds bounds = kBounds;
        bounds.async_flush = true;
        must_lose(Mistake::kUncleanStopKeepsId, 4, bounds);
    }

    TEST_CASE("found: an empty disk takes the place of a full one") {
        must_lose(Mistake::kNoStorageId, 2);
    }

    TEST_CASE("found: a follower takes frames of a master it has left") {
        const Exploration found = found_in(FailOverModel(kBounds, Mistake::kOlderEpochAccepted));
        CHECK(found.violation == "the logs of members 0 and 2 agree behind a difference");
        CHECK(found.trace_steps <= 9);
    }

    TEST_CASE("found: a follower keeps its tail when it meets another master") {
        must_lose(Mistake::kNoCutOnRejoin, 7);
    }

    TEST_CASE("found: a member outside the set is elected") {
        must_lose(Mistake::kElectedOutsideSet, 3);
    }
}

}  // namespace gantry::model

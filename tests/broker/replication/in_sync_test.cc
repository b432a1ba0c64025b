// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/in_sync.h"

#include <doctest/doctest.h>

namespace gantry::broker {
namespace {

using std::chrono::milliseconds;

constexpr MemberId kSelf{.member = 1, .storage = 11};
constexpr MemberId kSecond{.member = 2, .storage = 22};
constexpr MemberId kThird{.member = 3, .storage = 33};
constexpr std::int64_t kEpoch = 5;
constexpr LogOffset kEpochStart(100);
constexpr milliseconds kLagMax{5'000};
constexpr std::uint64_t kRevision = 10;

SteadyTime at(std::int64_t ms) {
    return SteadyTime(std::chrono::hours(1) + milliseconds(ms));
}

GroupState state_of(const std::vector<MemberId>& members) {
    return {.epoch = kEpoch, .master = kSelf.member, .members = members, .loss_accepted = false};
}

InSync set_of(const std::vector<MemberId>& members, std::size_t copies_min = 1) {
    return InSync({.self = kSelf,
                   .epoch = kEpoch,
                   .epoch_start = kEpochStart,
                   .lag_max = kLagMax,
                   .copies_min = copies_min},
                  state_of(members),
                  kRevision);
}

Error lost(Errc code) {
    return Error{code, "lost"};
}

}  // namespace

TEST_SUITE("broker/replication/in_sync") {
    TEST_CASE("confirmed is the least end of the members, and never moves back") {
        InSync set = set_of({kSelf, kSecond});
        set.own_end(LogOffset(200));
        CHECK(set.confirmed() == LogOffset(0));
        set.acknowledged(kSecond, LogOffset(150), at(0));
        CHECK(set.confirmed() == LogOffset(150));
        set.acknowledged(kSecond, LogOffset(120), at(0));  // shook hands anew
        CHECK(set.confirmed() == LogOffset(150));
        set.acknowledged(kSecond, LogOffset(180), at(0));
        CHECK(set.confirmed() == LogOffset(180));
        set.disconnected(kSecond);
        set.own_end(LogOffset(300));
        CHECK(set.confirmed() == LogOffset(180));
    }

    TEST_CASE(
        "a copy behind the start of the epoch does not join, though nothing is confirmed yet") {
        InSync set = set_of({kSelf, kThird});
        set.own_end(LogOffset(110));
        set.acknowledged(kSecond, kEpochStart - 1, at(0));
        CHECK(set.confirmed() == LogOffset(0));
        CHECK_FALSE(set.wanted(at(0)));
        set.acknowledged(kSecond, kEpochStart, at(0));
        REQUIRE(set.wanted(at(0)) == state_of({kSelf, kSecond, kThird}));
    }

    TEST_CASE("a copy behind what is confirmed does not join") {
        InSync set = set_of({kSelf});
        set.own_end(LogOffset(200));
        CHECK(set.confirmed() == LogOffset(200));
        set.acknowledged(kSecond, LogOffset(199), at(0));
        CHECK_FALSE(set.wanted(at(0)));
        set.acknowledged(kSecond, LogOffset(200), at(0));
        CHECK(set.wanted(at(0)));
    }

    TEST_CASE("who joins counts from the moment the swap is sent") {
        InSync set = set_of({kSelf});
        set.own_end(LogOffset(200));
        set.acknowledged(kSecond, LogOffset(200), at(0));
        REQUIRE(set.wanted(at(0)));
        CHECK(set.size() == 2);
        CHECK(set.sure_size() == 1);
        set.own_end(LogOffset(300));
        CHECK(set.confirmed() == LogOffset(200));
        CHECK_FALSE(set.wanted(at(0)));  // one at a time
        REQUIRE(set.swapped(kRevision + 1));
        CHECK(set.confirmed() == LogOffset(200));
        CHECK(set.state() == state_of({kSelf, kSecond}));
        CHECK(set.revision() == kRevision + 1);
        CHECK(set.sure_size() == 2);
    }

    TEST_CASE("a swap that was never sent leaves everything as it was") {
        InSync set = set_of({kSelf});
        set.own_end(LogOffset(200));
        set.acknowledged(kSecond, LogOffset(200), at(0));
        REQUIRE(set.wanted(at(0)));
        set.own_end(LogOffset(300));
        set.disconnected(kSecond);
        REQUIRE(set.swapped(lost(Errc::kGone)));
        CHECK(set.confirmed() == LogOffset(300));
        CHECK_FALSE(set.wanted(at(0)));
    }

    TEST_CASE("who lags counts until the swap that puts it out has succeeded") {
        InSync set = set_of({kSelf, kSecond});
        set.own_end(LogOffset(200));
        set.acknowledged(kSecond, LogOffset(150), at(0));
        CHECK_FALSE(set.wanted(at(0)));
        CHECK_FALSE(set.wanted(at(5'000)));
        REQUIRE(set.wanted(at(5'001)) == state_of({kSelf}));
        CHECK(set.confirmed() == LogOffset(150));
        REQUIRE(set.swapped(lost(Errc::kUnknown)));
        CHECK(set.confirmed() == LogOffset(150));
        REQUIRE(set.wanted(at(5'002)) == state_of({kSelf}));
        REQUIRE(set.swapped(kRevision + 1));
        CHECK(set.confirmed() == LogOffset(200));
    }

    TEST_CASE("who was never heard of leaves after the same time") {
        InSync set = set_of({kSelf, kSecond});
        CHECK_FALSE(set.wanted(at(0)));
        CHECK_FALSE(set.wanted(at(5'000)));
        CHECK(set.wanted(at(5'001)) == state_of({kSelf}));
    }

    TEST_CASE("who was put out comes back only when it has caught up lately") {
        InSync set = set_of({kSelf, kSecond});
        set.own_end(LogOffset(200));
        REQUIRE_FALSE(set.wanted(at(0)));
        set.acknowledged(kSecond, LogOffset(200), at(1'000));
        REQUIRE(set.wanted(at(6'001)) == state_of({kSelf}));
        REQUIRE(set.swapped(kRevision + 1));
        CHECK_FALSE(set.wanted(at(6'002)));
        set.acknowledged(kSecond, LogOffset(200), at(6'500));
        CHECK(set.wanted(at(6'501)) == state_of({kSelf, kSecond}));
    }

    TEST_CASE("another storage of the same member is another copy") {
        InSync set = set_of({kSelf, kSecond});
        set.own_end(LogOffset(200));
        set.acknowledged({.member = 2, .storage = 99}, LogOffset(200), at(0));
        CHECK(set.confirmed() == LogOffset(0));
    }

    TEST_CASE("an unknown outcome counts as joined until another swap succeeds, whatever is seen") {
        InSync set = set_of({kSelf});
        set.own_end(LogOffset(200));
        set.acknowledged(kSecond, LogOffset(200), at(0));
        REQUIRE(set.wanted(at(0)));
        REQUIRE(set.swapped(lost(Errc::kTimeout)));
        set.disconnected(kSecond);
        set.own_end(LogOffset(300));
        // The register still has the old state: the lost swap may come yet.
        REQUIRE(set.seen(state_of({kSelf}), kRevision));
        CHECK(set.confirmed() == LogOffset(200));
        REQUIRE(set.wanted(at(1)) == state_of({kSelf}));  // the same value, anew
        CHECK(set.confirmed() == LogOffset(200));
        REQUIRE(set.swapped(kRevision + 1));
        CHECK(set.confirmed() == LogOffset(300));
        CHECK_FALSE(set.wanted(at(2)));
    }

    TEST_CASE("a lost swap that came true is met as a conflict, and written over") {
        InSync set = set_of({kSelf});
        set.own_end(LogOffset(200));
        set.acknowledged(kSecond, LogOffset(200), at(0));
        REQUIRE(set.wanted(at(0)));
        REQUIRE(set.swapped(lost(Errc::kUnknown)));
        set.own_end(LogOffset(300));
        REQUIRE(set.wanted(at(1)));

        SUBCASE("the state is seen first") {
            REQUIRE(set.seen(state_of({kSelf, kSecond}), kRevision + 1));
            REQUIRE(set.swapped(lost(Errc::kConflict)));
        }
        SUBCASE("the conflict is told first") {
            REQUIRE(set.swapped(lost(Errc::kConflict)));
            CHECK_FALSE(set.wanted(at(2)));  // with what revision?
            REQUIRE(set.seen(state_of({kSelf, kSecond}), kRevision + 1));
        }
        CHECK(set.revision() == kRevision + 1);
        CHECK(set.confirmed() == LogOffset(200));
        REQUIRE(set.wanted(at(3)) == state_of({kSelf, kSecond}));
        REQUIRE(set.swapped(kRevision + 2));
        CHECK(set.sure_size() == 2);
        CHECK(set.confirmed() == LogOffset(200));
    }

    TEST_CASE("a lost shrink that came true counts who left until it is written anew") {
        InSync set = set_of({kSelf, kSecond});
        set.own_end(LogOffset(200));
        set.acknowledged(kSecond, LogOffset(150), at(0));
        REQUIRE_FALSE(set.wanted(at(0)));
        REQUIRE(set.wanted(at(5'001)) == state_of({kSelf}));
        REQUIRE(set.swapped(lost(Errc::kUnknown)));
        REQUIRE(set.seen(state_of({kSelf}), kRevision + 1));
        CHECK(set.confirmed() == LogOffset(150));
        REQUIRE(set.wanted(at(5'002)) == state_of({kSelf}));
        REQUIRE(set.swapped(kRevision + 2));
        CHECK(set.confirmed() == LogOffset(200));
    }

    TEST_CASE("its own swap seen before its answer is nothing to worry about") {
        InSync set = set_of({kSelf});
        set.own_end(LogOffset(200));
        set.acknowledged(kSecond, LogOffset(200), at(0));
        REQUIRE(set.wanted(at(0)));
        REQUIRE(set.seen(state_of({kSelf, kSecond}), kRevision + 1));
        CHECK(set.size() == 2);
        REQUIRE(set.swapped(kRevision + 1));
        CHECK(set.size() == 2);
        CHECK(set.sure_size() == 2);
        CHECK_FALSE(set.wanted(at(1)));
    }

    TEST_CASE("another master or epoch deposes, an old view does not") {
        InSync set = set_of({kSelf, kSecond});
        GroupState other = state_of({kSelf, kSecond});
        other.epoch = kEpoch - 1;
        other.master = kSecond.member;
        CHECK(set.seen(other, kRevision - 1));
        SUBCASE("another epoch") {
            other.epoch = kEpoch + 1;
            other.master = kSelf.member;
        }
        SUBCASE("another master") {
            other.epoch = kEpoch;
        }
        SUBCASE("out of its own set") {
            other = state_of({kSecond});
        }
        CHECK_FALSE(set.seen(other, kRevision + 1));
        CHECK_FALSE(set.seen(state_of({kSelf}), kRevision + 2));  // once and for all
        CHECK_FALSE(set.wanted(at(10'000)));
    }

    TEST_CASE("a state that is gone deposes who runs into it") {
        InSync set = set_of({kSelf, kSecond});
        REQUIRE_FALSE(set.wanted(at(0)));
        REQUIRE(set.wanted(at(5'001)));
        REQUIRE(set.swapped(lost(Errc::kConflict)));
        CHECK_FALSE(set.seen(GroupState{}, 0));
    }

    TEST_CASE("an heir is a member that is connected and has everything, by its storage too") {
        InSync set = set_of({kSelf, kSecond, kThird});
        set.own_end(LogOffset(200));
        CHECK_FALSE(set.heir(LogOffset(200)));
        set.acknowledged({.member = 2, .storage = 99}, LogOffset(200), at(0));
        set.acknowledged(kSecond, LogOffset(199), at(0));
        CHECK_FALSE(set.heir(LogOffset(200)));
        set.acknowledged(kThird, LogOffset(200), at(0));
        CHECK(set.heir(LogOffset(200)) == kThird);
        set.disconnected(kThird);
        CHECK_FALSE(set.heir(LogOffset(200)));
        CHECK(set.heir(LogOffset(150)) == kSecond);
    }

    TEST_CASE("senders are told what copies_min members had, though the set has shrunk since") {
        InSync set = set_of({kSelf, kSecond}, 2);
        set.own_end(LogOffset(200));
        set.acknowledged(kSecond, LogOffset(150), at(0));
        CHECK(set.acknowledged() == LogOffset(150));
        REQUIRE_FALSE(set.wanted(at(0)));
        REQUIRE(set.wanted(at(5'001)) == state_of({kSelf}));
        REQUIRE(set.swapped(kRevision + 1));
        CHECK(set.confirmed() == LogOffset(200));
        CHECK(set.acknowledged() == LogOffset(150));
        set.acknowledged(kSecond, LogOffset(200), at(6'000));
        CHECK(set.acknowledged() == LogOffset(150));  // no member yet
        REQUIRE(set.wanted(at(6'001)));
        REQUIRE(set.swapped(kRevision + 2));
        CHECK(set.acknowledged() == LogOffset(200));
    }
}

}  // namespace gantry::broker

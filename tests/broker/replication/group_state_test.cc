// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/group_state.h"

#include "broker/replication/etcd/live_value.h"

#include <doctest/doctest.h>

namespace gantry::broker {
namespace {

constexpr MemberId kFirst{.member = 1, .storage = 0xFFFF'FFFF'FFFF'FFFFU};
constexpr MemberId kSecond{.member = 2, .storage = 7};

}  // namespace

TEST_SUITE("broker/replication/group_state") {
    TEST_CASE("a state comes back as it was, its members in order and once") {
        GroupState state{.epoch = 3, .master = 2, .members = {}, .loss_accepted = true};
        state = state.with(kSecond).with(kFirst).with(kSecond);
        CHECK(state.members == std::vector{kFirst, kSecond});
        CHECK(decode_state(encode_state(state)).value() == state);
        CHECK(state.without(kFirst).members == std::vector{kSecond});
        CHECK_FALSE(state.has({.member = 2, .storage = 8}));
    }

    TEST_CASE("the text of a state is the documented one") {
        const GroupState state{
            .epoch = 3, .master = 2, .members = {kSecond}, .loss_accepted = false};
        CHECK(encode_state(state) == R"({"epoch":3,"loss_accepted":false,"master":2,)"
                                     R"("members":[{"member":2,"storage":"0000000000000007"}]})");
    }

    TEST_CASE("what is no state is refused, and says which field") {
        for (const char* const text :
             {"",
              "[]",
              "{",
              R"({"master":1,"members":[]})",
              R"({"epoch":-1,"master":1,"members":[]})",
              R"({"epoch":1,"master":1})",
              R"({"epoch":1,"master":1,"members":[{"member":0,"storage":"1"}]})",
              R"({"epoch":1,"master":1,"members":[{"member":1,"storage":"x"}]})",
              R"({"epoch":1,"master":1,"members":[{"member":1,"storage":1}]})",
              R"({"epoch":1,"master":1,"members":[],"loss_accepted":1})"}) {
            const Result<GroupState> state = decode_state(text);
            REQUIRE_FALSE(state);
            CHECK_MESSAGE(state.error().code == Errc::kCorrupt, text);
        }
        CHECK(decode_state(R"({"epoch":-1,"master":1,"members":[]})").error().detail ==
              "group state: epoch -1 < 0");
    }

    TEST_CASE("fields of later versions are left alone") {
        CHECK(decode_state(R"({"epoch":1,"master":1,"members":[],"later":{"a":1}})"));
    }

    TEST_CASE("a living member comes back as it was") {
        const LiveMember member{.id = kFirst,
                                .replication_address = "h:1",
                                .client_address = "h:2",
                                .epoch = 4,
                                .log_end = 5,
                                .incarnation = 6,
                                .place = "run/1/2"};
        CHECK(decode_live(encode_live(member)).value() == member);
        CHECK_FALSE(decode_live("{}"));
    }
}

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/elector.h"

#include <doctest/doctest.h>

namespace gantry::broker {
namespace {

using Kind = Elector::Kind;
using std::chrono::milliseconds;

constexpr std::uint64_t kIncarnation = 77;

MemberId id(std::int64_t member) {
    return {.member = member, .storage = static_cast<std::uint64_t>(member) * 10};
}

LiveMember live(std::int64_t member, std::int64_t log_end = 0, std::int64_t epoch = 0) {
    return {.id = id(member),
            .replication_address = "host" + std::to_string(member) + ":1",
            .client_address = "host" + std::to_string(member) + ":2",
            .epoch = epoch,
            .log_end = log_end,
            .incarnation = kIncarnation};
}

SteadyTime at(std::int64_t ms) {
    return SteadyTime(std::chrono::hours(1) + milliseconds(ms));
}

/// Epoch 4 of members 1, 2 and 3 with master 1, all of them alive.
GroupView group() {
    return {.state = {.epoch = 4,
                      .master = 1,
                      .members = {id(1), id(2), id(3)},
                      .loss_accepted = false},
            .revision = 9,
            .live = {live(1, 500, 4), live(2, 400, 4), live(3, 500, 4)},
            .is_current = true};
}

void kill(GroupView& view, std::int64_t member) {
    std::erase_if(view.live, [&](const LiveMember& one) { return one.id.member == member; });
}

Elector elector(std::int64_t member, bool is_automatic = true, bool may_found = true) {
    return Elector({.self = id(member),
                    .incarnation = kIncarnation,
                    .is_automatic = is_automatic,
                    .may_found = may_found});
}

Elector::Facts facts(std::int64_t ms, std::int64_t log_end, std::int64_t promised = 4) {
    return {.now = at(ms), .log_end = LogOffset(log_end), .promised = promised};
}

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE("broker/replication/elector") {
    TEST_CASE("a slave follows the master that lives") {
        Elector second = elector(2);
        const auto decision = second.decide(group(), facts(0, 400));
        CHECK(decision.kind == Kind::kFollow);
        CHECK(decision.master == 1);
        CHECK(decision.epoch == 4);
        CHECK(decision.address == "host1:1");
    }

    TEST_CASE("the longest log of the set leads at once, the next 200 ms later") {
        GroupView view = group();
        kill(view, 1);
        Elector second = elector(2);
        Elector third = elector(3);
        const auto now = third.decide(view, facts(0, 500));
        REQUIRE(now.kind == Kind::kLead);
        CHECK(now.revision == 9);
        CHECK(now.next.epoch == 5);
        CHECK(now.next.master == 3);
        CHECK(now.next.members == std::vector{id(2), id(3)});
        CHECK_FALSE(now.next.loss_accepted);
        const auto later = second.decide(view, facts(0, 400));
        REQUIRE(later.kind == Kind::kWait);
        CHECK(later.again_at == at(200));
        CHECK(second.decide(view, facts(200, 400)).kind == Kind::kLead);
    }

    TEST_CASE("a port that refuses is as good as a lease that is over") {
        Elector third = elector(3);
        Elector::Facts refused = facts(0, 500);
        refused.is_refused = true;
        const auto decision = third.decide(group(), refused);
        REQUIRE(decision.kind == Kind::kLead);
        CHECK(decision.next.members == std::vector{id(2), id(3)});
    }

    TEST_CASE("who is not in the set waits, and says why") {
        GroupView view = group();
        view.state = view.state.without(id(3));
        kill(view, 1);
        Elector third = elector(3);
        auto decision = third.decide(view, facts(0, 900));
        REQUIRE(decision.kind == Kind::kWait);
        CHECK(has(decision.reason, "not in the in-sync set: epoch 4 has 1 (storage "));
        CHECK_FALSE(has(decision.reason, "none of them"));
        kill(view, 2);
        decision = third.decide(view, facts(0, 900));
        REQUIRE(decision.kind == Kind::kWait);
        CHECK(has(decision.reason, "none of them is there"));
    }

    TEST_CASE("a member whose disk was replaced is not the member of the set") {
        GroupView view = group();
        view.live[0].id.storage = 999;  // the master, back with an empty disk
        Elector third = elector(3);
        CHECK(third.decide(view, facts(0, 500)).kind == Kind::kLead);
        Elector first({.self = view.live[0].id, .incarnation = kIncarnation});
        const auto decision = first.decide(view, facts(0, 0, 0));
        REQUIRE(decision.kind == Kind::kWait);
        CHECK(has(decision.reason, "not in the in-sync set"));
    }

    TEST_CASE("an old view elects nobody") {
        GroupView view = group();
        kill(view, 1);
        view.is_current = false;
        Elector third = elector(3);
        const auto decision = third.decide(view, facts(0, 500));
        REQUIRE(decision.kind == Kind::kWait);
        CHECK(has(decision.reason, "does not answer"));
        view = group();
        view.is_current = false;
        CHECK(third.decide(view, facts(0, 500)).kind == Kind::kFollow);
    }

    TEST_CASE("a master serves until the state has another epoch or master") {
        Elector first = elector(1);
        Elector::Facts serving = facts(0, 500);
        serving.serving = 4;
        GroupView view = group();
        CHECK(first.decide(view, serving).kind == Kind::kServe);
        view.is_current = false;
        kill(view, 1);
        CHECK(first.decide(view, serving).kind == Kind::kServe);
        view.state.epoch = 3;  // from before its election
        view.state.master = 2;
        CHECK(first.decide(view, serving).kind == Kind::kServe);
        view.state.epoch = 5;
        const auto decision = first.decide(view, serving);
        CHECK(decision.kind == Kind::kStepDown);
        CHECK(decision.epoch == 5);
        CHECK(decision.master == 2);
    }

    TEST_CASE("a master that was started again leads with the next epoch, not with its old one") {
        Elector first = elector(1);
        const auto decision = first.decide(group(), facts(0, 500));
        REQUIRE(decision.kind == Kind::kLead);
        CHECK(decision.next.epoch == 5);
        CHECK(decision.next.members == std::vector{id(1), id(2), id(3)});
    }

    TEST_CASE("who was handed the group leads with the next epoch") {
        GroupView view = group();
        view.state.master = 2;
        view.state.epoch = 5;
        view.state = view.state.without(id(1));
        Elector second = elector(2);
        const auto decision = second.decide(view, facts(0, 500));
        REQUIRE(decision.kind == Kind::kLead);
        CHECK(decision.next.epoch == 6);
        CHECK(decision.next.members == std::vector{id(2), id(3)});
        Elector third = elector(3);
        CHECK(third.decide(view, facts(0, 500)).kind == Kind::kFollow);
    }

    TEST_CASE("a promise to a higher epoch is never undercut") {
        GroupView view = group();
        kill(view, 1);
        Elector third = elector(3);
        CHECK(third.decide(view, facts(0, 500, 8)).next.epoch == 9);
    }

    TEST_CASE("elections soon after one another wait longer each time") {
        GroupView view = group();
        kill(view, 1);
        kill(view, 2);
        Elector third = elector(3);
        std::int64_t now = 0;
        for (const std::int64_t pause : {250, 500, 1'000, 2'000, 4'000, 8'000, 8'000}) {
            REQUIRE(third.decide(view, facts(now, 500)).kind == Kind::kLead);
            const auto decision = third.decide(view, facts(now, 500));
            REQUIRE(decision.kind == Kind::kWait);
            CHECK(decision.again_at == at(now + pause));
            now += pause;
        }
        CHECK(third.decide(view, facts(now + 31'000, 500)).kind == Kind::kLead);
        CHECK(third.decide(view, facts(now + 31'000, 500)).again_at == at(now + 31'250));
    }

    TEST_CASE("another process under its number keeps a member from leading") {
        GroupView view = group();
        kill(view, 1);
        view.live[1].incarnation = 1;
        Elector third = elector(3);
        auto decision = third.decide(view, facts(0, 500));
        REQUIRE(decision.kind == Kind::kWait);
        CHECK(has(decision.reason, "another process is registered as member 3"));
        kill(view, 3);
        decision = third.decide(view, facts(0, 500));
        REQUIRE(decision.kind == Kind::kWait);
        CHECK(has(decision.reason, "not registered"));
    }

    TEST_CASE("an operator elects from the set, and from outside when the loss is accepted") {
        GroupView view = group();
        Elector second = elector(2);
        Elector::Facts asked = facts(0, 400);
        asked.asked = Elector::Asked{};
        auto decision = second.decide(view, asked);
        REQUIRE(decision.kind == Kind::kLead);
        CHECK(decision.next.members == std::vector{id(1), id(2), id(3)});
        view.state = view.state.without(id(2));
        decision = second.decide(view, asked);
        REQUIRE(decision.kind == Kind::kWait);
        CHECK(has(decision.reason, "not in the in-sync set"));
        asked.asked->accept_loss = true;
        decision = second.decide(view, asked);
        REQUIRE(decision.kind == Kind::kLead);
        CHECK(decision.next.members == std::vector{id(2)});
        CHECK(decision.next.loss_accepted);
    }

    TEST_CASE("a new group is founded by whoever has messages, else by the lowest number") {
        GroupView view{.state = {}, .revision = 0, .live = {live(1), live(2)}, .is_current = true};
        Elector first = elector(1);
        Elector second = elector(2);
        auto decision = first.decide(view, facts(0, 0, 0));
        REQUIRE(decision.kind == Kind::kWait);
        CHECK(decision.again_at == at(1'000));
        CHECK(second.decide(view, facts(0, 0, 0)).kind == Kind::kWait);
        SUBCASE("nobody has any") {
            decision = first.decide(view, facts(1'000, 0, 0));
            REQUIRE(decision.kind == Kind::kLead);
            CHECK(decision.revision == 0);
            CHECK(decision.next.epoch == 1);
            CHECK(decision.next.members == std::vector{id(1)});
            CHECK(second.decide(view, facts(1'000, 0, 0)).kind == Kind::kWait);
        }
        SUBCASE("the second does") {
            view.live[1].log_end = 100;
            CHECK(first.decide(view, facts(1'000, 0, 0)).kind == Kind::kWait);
            CHECK(second.decide(view, facts(1'000, 100, 0)).kind == Kind::kLead);
        }
        SUBCASE("both do") {
            view.live[0].log_end = 50;
            view.live[1].log_end = 100;
            decision = second.decide(view, facts(1'000, 100, 0));
            REQUIRE(decision.kind == Kind::kWait);
            CHECK(has(decision.reason, "an operator has to elect"));
        }
    }

    TEST_CASE("a state that was lost is not made up") {
        GroupView view{
            .state = {}, .revision = 0, .live = {live(1), live(2, 10, 7)}, .is_current = true};
        Elector first = elector(1);
        REQUIRE(first.decide(view, facts(0, 0, 0)).kind == Kind::kWait);
        CHECK(has(first.decide(view, facts(1'000, 0, 0)).reason, "the state was lost"));
        Elector second = elector(2);
        REQUIRE(second.decide(view, facts(0, 10, 7)).kind == Kind::kWait);
        CHECK(has(second.decide(view, facts(1'000, 10, 7)).reason, "obeyed epoch 7"));
        Elector::Facts asked = facts(1'000, 10, 7);
        asked.asked = Elector::Asked{};
        const auto decision = second.decide(view, asked);
        REQUIRE(decision.kind == Kind::kLead);
        CHECK(decision.next.epoch == 8);
    }

    TEST_CASE("static roles: the configured master founds, nobody is elected, its master resumes") {
        GroupView view{.state = {}, .revision = 0, .live = {live(1), live(2)}, .is_current = true};
        Elector first = elector(1, false, false);
        Elector second = elector(2, false, true);
        CHECK(has(first.decide(view, facts(0, 0, 0)).reason, "replication.role is slave"));
        CHECK(second.decide(view, facts(0, 0, 0)).kind == Kind::kLead);
        view = group();
        kill(view, 1);
        const auto decision = second.decide(view, facts(0, 500));
        REQUIRE(decision.kind == Kind::kWait);
        CHECK(has(decision.reason, "roles are static"));
        view = group();
        view.live.erase(view.live.begin() + 1, view.live.end());
        CHECK(first.decide(view, facts(0, 500)).kind == Kind::kLead);
    }
}

}  // namespace gantry::broker

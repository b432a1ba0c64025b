// SPDX-License-Identifier: Apache-2.0
#include "broker/assignment/share_coordinator.h"

#include "common/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace gantry::broker {
namespace {

using std::chrono::milliseconds;

class TurnedClock final : public Clock {
public:
    WallMs wall_ms() const noexcept override { return 1'000'000 + now_.count(); }

    SteadyTime steady() const noexcept override { return SteadyTime(std::chrono::hours(1)) + now_; }

    void turn(milliseconds by) { now_ += by; }

private:
    milliseconds now_{0};
};

/// A broker with topic "T" of `queues` queues, and members of group "G" that say what they know.
struct Coordinated {
    TurnedClock clock;
    std::int32_t queues = 4;
    ShareCoordinator::GroupView view;
    std::set<std::string> groups_at_start;
    std::unique_ptr<ShareCoordinator> coordinator = make();

    std::unique_ptr<ShareCoordinator> make() {
        ShareCoordinator::Options options;
        options.heartbeat = milliseconds(1'000);
        options.queues_of = [this](const std::string&) { return queues; };
        options.view_of = [this](const std::string&) { return view; };
        options.groups_at_start = groups_at_start;
        return std::make_unique<ShareCoordinator>(clock, std::move(options));
    }

    void restart() {
        groups_at_start = {"G"};
        coordinator = make();
    }

    ShareAsk ask_of(const std::string& client_id) {
        ShareAsk ask;
        ask.group = "G";
        ask.client_id = client_id;
        ask.peer = static_cast<PeerId>(client_id.back());
        ask.topics = {{"T", 0, true, {}}};
        return ask;
    }

    /// The member says that it holds `held`, and gets its share.
    Share ask(const std::string& client_id,
              const std::vector<ShareHolding>& held = {},
              const std::vector<ShareHolding>& released = {}) {
        ShareAsk ask = ask_of(client_id);
        ask.held = held;
        ask.released = released;
        ask.generation = held.empty() && released.empty() ? 0 : 1;
        coordinator->ask(ask);
        return share(client_id);
    }

    void leave(const std::string& client_id) {
        ShareAsk ask = ask_of(client_id);
        ask.generation = 1;
        ask.leaves = true;
        coordinator->ask(ask);
    }

    Share share(const std::string& client_id) const {
        return coordinator->share_of({"G", client_id});
    }

    /// Queue numbers, those to be given back below zero: -1 - number.
    static std::vector<int> numbers(const Share& share) {
        std::vector<int> all;
        for (const ShareHolding& holding : share.queues) {
            all.push_back(holding.is_revoked ? -1 - holding.queue_id : holding.queue_id);
        }
        return all;
    }
};

using Numbers = std::vector<int>;

std::vector<ShareHolding> revoked(const Share& share) {
    std::vector<ShareHolding> all;
    for (const ShareHolding& holding : share.queues) {
        if (holding.is_revoked) {
            all.push_back(holding);
        }
    }
    return all;
}

std::vector<ShareHolding> kept(const Share& share) {
    std::vector<ShareHolding> all;
    for (const ShareHolding& holding : share.queues) {
        if (!holding.is_revoked) {
            all.push_back(holding);
        }
    }
    return all;
}

std::uint64_t test_seed() {
    const char* const given = std::getenv("GANTRY_TEST_SEED");
    const std::uint64_t seed =
        given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    MESSAGE("GANTRY_TEST_SEED=", seed);
    return seed;
}

/// Members that come, go, die and fall silent at random, and what each believes to hold.
struct Crowd : Coordinated {
    explicit Crowd(std::uint64_t seed) : random(seed) { queues = 16; }

    void learn(const std::string& id) {
        std::map<int, ShareHolding> now;
        for (const ShareHolding& holding : share(id).queues) {
            now[holding.queue_id] = holding;
        }
        members[id] = now;
    }

    void say_word(const std::string& id) {
        ShareAsk ask = ask_of(id);
        ask.generation = 1;
        for (const auto& [queue, holding] : members[id]) {
            const bool gives = holding.is_revoked && random.below(3) == 0;
            (gives ? ask.released : ask.held).push_back(holding);
        }
        coordinator->ask(ask);
        learn(id);
    }

    void step() {
        const std::string id(1, static_cast<char>('a' + random.below(8)));
        const std::uint64_t what = random.below(20);
        if (what == 0 && members.count(id) != 0) {
            leave(id);
            members.erase(id);
        } else if (what == 1) {
            clock.turn(milliseconds(random.below(700)));
            coordinator->sweep();
        } else if (what == 2) {
            coordinator->ask(ask_of(id));  // a new process under the name of a dead one
            learn(id);
        } else {
            say_word(id);
        }
    }

    /// Two members may believe to have a queue only when one of them has been fenced.
    void check() const {
        std::map<int, std::string> owner;
        for (const auto& [id, believed] : members) {
            for (const auto& held : believed) {
                const int queue = held.first;
                if (coordinator->may_commit("G", "T", queue, held.second.token)) {
                    REQUIRE_MESSAGE(owner.emplace(queue, id).second, queue, " has two owners");
                }
            }
        }
    }

    void calm_down() {
        for (int round = 0; round < 200; ++round) {
            const auto all = members;
            for (const auto& [id, believed] : all) {
                say_word(id);
            }
        }
    }

    std::size_t held() const {
        std::size_t count = 0;
        for (const auto& [id, believed] : members) {
            count += believed.size();
        }
        return count;
    }

    Random random;
    std::map<std::string, std::map<int, ShareHolding>> members;
};

TEST_SUITE("broker/share_coordinator") {
    TEST_CASE_FIXTURE(Coordinated, "a queue is revoked, released, then granted") {
        const Share alone = ask("a");
        CHECK(numbers(alone) == Numbers{0, 1, 2, 3});
        CHECK(numbers(ask("b")).empty());
        const Share told = share("a");
        CHECK(numbers(told) == Numbers{0, 1, -3, -4});
        CHECK(told.generation > alone.generation);
        // Told again, as long as it has not let go.
        CHECK(numbers(ask("a", told.queues)) == Numbers{0, 1, -3, -4});
        CHECK(numbers(share("b")).empty());
        std::vector<ShareHolding> released = {told.queues[3]};
        CHECK(numbers(ask("a", {told.queues[0], told.queues[1], told.queues[2]}, released)) ==
              Numbers{0, 1, -3});
        CHECK(numbers(share("b")) == Numbers{3});
        CHECK(share("b").queues[0].token > told.queues[3].token);
        released = {told.queues[2]};
        CHECK(numbers(ask("a", kept(told), released)) == Numbers{0, 1});
        CHECK(numbers(share("b")) == Numbers{2, 3});
    }

    TEST_CASE_FIXTURE(Coordinated, "one that leaves gives up all at once") {
        const Share first = ask("a");
        ask("b");
        leave("a");
        CHECK(numbers(share("b")) == Numbers{0, 1, 2, 3});
        CHECK(share("a").generation == 0);
        CHECK_FALSE(coordinator->may_commit("G", "T", 0, first.queues[0].token));
        leave("b");
        CHECK(coordinator->owners("G").empty());
    }

    TEST_CASE_FIXTURE(Coordinated, "one that is silent for two heartbeats is replaced and fenced") {
        const Share first = ask("a");
        ask("b");
        clock.turn(milliseconds(1'500));
        ask("b", {});
        CHECK(coordinator->sweep().empty());
        clock.turn(milliseconds(500));
        CHECK(coordinator->sweep() == ShareCoordinator::Changed{{"G", "b"}});
        CHECK(coordinator->expired_count() == 1);
        CHECK(numbers(share("b")) == Numbers{0, 1, 2, 3});
        CHECK_FALSE(coordinator->may_commit("G", "T", 1, first.queues[1].token));
        CHECK(coordinator->may_commit("G", "T", 1, share("b").queues[1].token));
        // Back, it has to wait for its turn.
        const Share back = ask("a", first.queues);
        CHECK(numbers(back).empty());
        CHECK(numbers(share("b")) == Numbers{0, 1, -3, -4});
    }

    TEST_CASE_FIXTURE(Coordinated, "who comes back before another had its queues keeps them") {
        const Share first = ask("a");
        clock.turn(milliseconds(2'000));
        CHECK(coordinator->sweep().empty());
        CHECK(coordinator->owners("G").empty());
        CHECK(ask("a", first.queues).queues == first.queues);
    }

    TEST_CASE_FIXTURE(Coordinated, "a lost connection ends the membership after a short while") {
        ask("a");
        ask("b");
        coordinator->peer_closed('a');
        CHECK(coordinator->sweep().empty());
        clock.turn(milliseconds(200));
        CHECK(coordinator->sweep() == ShareCoordinator::Changed{{"G", "b"}});
        CHECK(numbers(share("b")) == Numbers{0, 1, 2, 3});
    }

    TEST_CASE_FIXTURE(Coordinated, "a new process under an old name begins anew") {
        const Share first = ask("a");
        const Share again = ask("a");
        CHECK(numbers(again) == Numbers{0, 1, 2, 3});
        CHECK(again.queues[0].token > first.queues[0].token);
        CHECK_FALSE(coordinator->may_commit("G", "T", 0, first.queues[0].token));
    }

    TEST_CASE_FIXTURE(Coordinated, "after a restart members keep what they claim, the rest waits") {
        const Share first = ask("a");
        clock.turn(milliseconds(5'000));
        restart();
        const std::vector<ShareHolding> two = {first.queues[0], first.queues[3]};
        CHECK(ask("a", two).queues == two);
        CHECK(numbers(ask("b")).empty());
        clock.turn(milliseconds(1'000));
        CHECK(coordinator->sweep().size() == 1);
        CHECK(share("a").queues == two);
        CHECK(numbers(share("b")) == Numbers{1, 2});
        CHECK(share("b").queues[0].token > first.queues[3].token);
    }

    TEST_CASE_FIXTURE(Coordinated, "after a restart the newest of two claims wins") {
        const Share old = ask("a");
        leave("a");
        const Share newer = ask("b");
        restart();
        CHECK(numbers(ask("a", old.queues)) == Numbers{0, 1, 2, 3});
        const Share kept = ask("b", newer.queues);
        CHECK(numbers(kept) == Numbers{0, 1, -3, -4});  // half of it is for the other one
        CHECK(kept.queues[3].token == newer.queues[3].token);
        CHECK(numbers(share("a")).empty());
        CHECK(numbers(ask("a", old.queues)).empty());
    }

    TEST_CASE_FIXTURE(Coordinated, "a group that came into being later does not wait") {
        restart();
        groups_at_start.clear();
        coordinator = make();
        CHECK(numbers(ask("a")) == Numbers{0, 1, 2, 3});
    }

    TEST_CASE_FIXTURE(Coordinated, "a member that computes alone turns the group, and back") {
        const Share first = ask("a");
        view.members = {"a", "s"};
        view.has_client_side = true;
        CHECK(coordinator->group_changed("G").size() == 1);
        CHECK(share("a").is_by_clients);
        CHECK(share("a").queues.empty());
        CHECK(coordinator->may_commit("G", "T", 0, first.queues[0].token));
        // It says what it reads by its own computing.
        CHECK(ask("a", {{"T", 0, 0, false}, {"T", 1, 0, false}}).is_by_clients);
        SUBCASE("all have said what they read: nobody waits") {
            view = {false, {"a"}};
            CHECK(coordinator->group_changed("G").size() == 1);
            CHECK_FALSE(share("a").is_by_clients);
            CHECK(numbers(share("a")) == Numbers{0, 1, 2, 3});
        }
        SUBCASE("one has not: the rest waits for it") {
            view = {false, {"a", "b"}};
            coordinator->group_changed("G");
            CHECK(numbers(share("a")) == Numbers{0, 1});
            CHECK(numbers(ask("b", {{"T", 2, 0, false}})) == Numbers{2});
            clock.turn(milliseconds(1'000));
            coordinator->sweep();
            CHECK(numbers(share("a")) == Numbers{0, 1});
            CHECK(numbers(share("b")) == Numbers{2, 3});
        }
    }

    TEST_CASE_FIXTURE(Coordinated, "a topic goes to those that read it") {
        ask("a");
        ShareAsk newer = ask_of("b");
        newer.topics.push_back({"U", 0, true, {}});
        coordinator->ask(newer);
        Numbers of_u;
        for (const ShareHolding& holding : share("b").queues) {
            of_u.push_back(holding.topic == "U" ? holding.queue_id : -1);
        }
        CHECK(of_u == Numbers{0, 1, 2, 3});
        // Who no longer reads it gives it back.
        ShareAsk changed = ask_of("b");
        changed.held = share("b").queues;
        changed.generation = 1;
        coordinator->ask(changed);
        CHECK(revoked(share("b")).size() == 4);
    }

    TEST_CASE_FIXTURE(Coordinated, "while a subscription changes, those that want most read") {
        // Gives back what it is told to.
        const auto ask_for = [this](const std::string& id, const char* expression) {
            ShareAsk ask = ask_of(id);
            ask.topics[0].breadth = ShareBreadth("TAG", expression);
            ask.held = kept(share(id));
            ask.released = revoked(share(id));
            ask.generation = 1;
            coordinator->ask(ask);
        };
        ask_for("a", "A");
        ask_for("b", "A || B");
        CHECK(numbers(share("a")) == Numbers{-1, -2, -3, -4});
        ask_for("a", "A");
        CHECK(numbers(share("a")).empty());
        CHECK(numbers(share("b")) == Numbers{0, 1, 2, 3});
        // A narrower one that comes later waits, too.
        ask_for("c", "B");
        CHECK(numbers(share("c")).empty());
        leave("b");
        CHECK(numbers(share("a")).size() == 2);
        CHECK(numbers(share("c")).size() == 2);
    }

    TEST_CASE("one subscription covers another") {
        const ShareBreadth all("TAG", "*");
        const ShareBreadth ab("", "A || B");
        const ShareBreadth ba("TAG", "B||A");
        const ShareBreadth a("TAG", "A");
        const ShareBreadth c("TAG", "C");
        const ShareBreadth sql("SQL92", "x > 1");
        const ShareBreadth other("SQL92", "x > 0");
        CHECK(ab == ba);
        CHECK((all.covers(ab) && all.covers(sql) && all.covers(all)));
        CHECK((ab.covers(a) && !a.covers(ab) && !a.covers(all)));
        CHECK_FALSE((a.covers(c) || c.covers(a)));
        CHECK((sql.covers(sql) && !sql.covers(other) && !other.covers(sql)));
        CHECK_FALSE((sql.covers(a) || a.covers(sql) || sql.covers(all)));
    }

    TEST_CASE_FIXTURE(Coordinated, "queues come and go with the topic") {
        CHECK(ask("a").queues.size() == 4);
        queues = 6;
        CHECK(ask("a", share("a").queues).queues.size() == 6);
        queues = 2;
        CHECK(ask("a", share("a").queues).queues.size() == 2);
    }

    TEST_CASE_FIXTURE(Coordinated, "claims without sense are passed over") {
        ask("a");
        const Share before = ask("b",
                                 {{"T", -1, 5, false},
                                  {"T", 99, 5, false},
                                  {"X", 0, 5, false},
                                  {"T", 0, -7, false},
                                  {"T", 0, INT64_MAX, false}});
        CHECK(before.queues.empty());
        CHECK(numbers(share("a")) == Numbers{0, 1, -3, -4});
    }

    TEST_CASE("random members: no queue has two owners, and all have one in the end") {
        Crowd crowd(test_seed());
        for (int step = 0; step < 5'000; ++step) {
            crowd.step();
            crowd.check();
        }
        crowd.calm_down();
        crowd.check();
        CHECK(crowd.held() == (crowd.members.empty() ? 0 : 16));
    }
}

}  // namespace
}  // namespace gantry::broker

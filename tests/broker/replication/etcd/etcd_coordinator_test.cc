// SPDX-License-Identifier: Apache-2.0
// One real etcd, spoken to over its JSON gateway.
#include "broker/replication/etcd/etcd_messages.h"
#include "tests/broker/replication/etcd/etcd_seat.h"
#include "tests/harness/faulty_proxy.h"
#include "tests/harness/temp_directory.h"

#include <doctest/doctest.h>

#include <atomic>

namespace gantry::broker::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// The machine's clock, that a test can set: the time of day, or as after a suspension.
class SteppedClock final : public Clock {
public:
    WallMs wall_ms() const noexcept override { return clock_.wall_ms() + wall_step.load(); }

    SteadyTime steady() const noexcept override {
        return clock_.steady() + milliseconds(boot_step.load());
    }

    std::atomic<std::int64_t> wall_step = 0;
    std::atomic<std::int64_t> boot_step = 0;

private:
    BootClock clock_;
};

bool is_current(const GroupView& view) {
    return view.is_current;
}

}  // namespace

TEST_SUITE("broker/replication/etcd_coordinator") {
    TEST_CASE("members see one another and what they announce, and who left at once") {
        if (lacks_etcd()) {
            return;
        }
        EtcdGroup group;
        const auto first = group.seat(seconds(5));
        const auto second = group.seat(seconds(5));
        first->start(member_number(1));
        second->start(member_number(2));
        REQUIRE(first->wait_for_live(2));
        REQUIRE(second->wait_for_live(2));
        CHECK(first->view().revision == 0);
        CHECK(first->view().live[1] == member_number(2));
        LiveMember changed = member_number(2);
        changed.epoch = 7;
        changed.log_end = 123;
        second->announce(changed);
        CHECK(first->wait_for(
            [&](const GroupView& view) { return view.live.size() == 2 && view.live[1] == changed; },
            seconds(1)));
        second->stop();
        CHECK(first->wait_for([](const GroupView& view) { return view.live.size() == 1; },
                              seconds(1)));
    }

    TEST_CASE("fault 34: of two members that swap at one revision one succeeds, both see whose") {
        if (lacks_etcd()) {
            return;
        }
        EtcdGroup group;
        const auto first = group.seat(seconds(5));
        const auto second = group.seat(seconds(5));
        first->start(member_number(1));
        second->start(member_number(2));
        REQUIRE(first->wait_for(is_current));
        REQUIRE(second->wait_for(is_current));
        const auto won = first->swap(0, state_with(1, 1));
        REQUIRE(won);
        const auto lost = second->swap(0, state_with(1, 2));
        REQUIRE_FALSE(lost);
        CHECK(lost.error().code == Errc::kConflict);
        CHECK(second->view().state == state_with(1, 1));  // by then
        CHECK(second->view().revision == *won);
        const auto next = second->swap(*won, state_with(2, 2));
        REQUIRE(next);
        CHECK(*next > *won);
        CHECK(first->wait_for(
            [&](const GroupView& view) {
                return view.state == state_with(2, 2) && view.revision == *next;
            },
            seconds(1)));
        CHECK(second->swap(*next, state_with(3, 2)));
        CHECK(second->wait_for([](const GroupView& view) { return view.state.epoch == 3; }));
    }

    TEST_CASE("a member that is cut off is gone when its lease is over, and knows it before") {
        if (lacks_etcd()) {
            return;
        }
        EtcdGroup group;
        auto proxy = harness::FaultyProxy::start(group.etcd->port());
        REQUIRE(proxy);
        const auto first = group.seat(seconds(2), {(*proxy)->address()});
        const auto second = group.seat(seconds(2));
        first->start(member_number(1));
        second->start(member_number(2));
        REQUIRE(second->wait_for_live(2));
        REQUIRE(first->wait_for_live(2));
        CHECK(harness::wait_until(seconds(3),
                                  [&] { return first->lease_until() > group.clock.steady(); }));
        CHECK(first->lease_until() <= group.clock.steady() + milliseconds(1'800));
        (*proxy)->drop();
        bool was_over_before = false;
        CHECK(second->wait_for(
            [&](const GroupView& view) {
                was_over_before = was_over_before || (view.live.size() == 2 &&
                                                      first->lease_until() < group.clock.steady());
                return view.live.size() == 1;
            },
            seconds(6)));
        CHECK(was_over_before);
        CHECK(first->wait_for([](const GroupView& view) { return !view.is_current; }));
        (*proxy)->cut_once();
        (*proxy)->pass();
        CHECK(second->wait_for_live(2));  // with a new lease
        CHECK(first->wait_for_live(2));
        CHECK(harness::wait_until(seconds(5),
                                  [&] { return first->lease_until() > group.clock.steady(); }));
    }

    TEST_CASE("fault 19: a step of the time of day changes neither lease nor view") {
        if (lacks_etcd()) {
            return;
        }
        SteppedClock clock;
        EtcdGroup group;
        const auto first = group.seat(seconds(2), {}, &clock);
        first->start(member_number(1));
        REQUIRE(first->wait_for_live(1));
        for (const std::int64_t step : {3'600'000, -3'600'000}) {
            clock.wall_step = step;
            CHECK(harness::wait_until(seconds(3),
                                      [&] { return first->lease_until() > clock.steady(); }));
            const SteadyTime lease = first->lease_until();
            CHECK(harness::wait_until(seconds(3), [&] { return first->lease_until() > lease; }));
            CHECK(first->lease_until() < clock.steady() + seconds(2));
            CHECK(first->view().is_current);
        }
    }

    TEST_CASE("fault 20: after a suspension the lease is over before anything else is done") {
        if (lacks_etcd()) {
            return;
        }
        SteppedClock clock;
        EtcdGroup group;
        const auto first = group.seat(seconds(2), {}, &clock);
        first->start(member_number(1));
        REQUIRE(first->wait_for_live(1));
        CHECK(
            harness::wait_until(seconds(3), [&] { return first->lease_until() > clock.steady(); }));
        clock.boot_step = 60'000;
        CHECK(first->lease_until() < clock.steady());
        // It asks etcd, whose lease lives on here, and goes on.
        CHECK(
            harness::wait_until(seconds(3), [&] { return first->lease_until() > clock.steady(); }));
        CHECK(first->wait_for(is_current));
    }

    TEST_CASE("fault 35: a swap whose answer is lost is unknown, and the view tells what became") {
        if (lacks_etcd()) {
            return;
        }
        EtcdGroup group;
        auto proxy = harness::FaultyProxy::start(group.etcd->port());
        REQUIRE(proxy);
        const auto first = group.seat(seconds(5), {(*proxy)->address()});
        first->start(member_number(1));
        REQUIRE(first->wait_for_live(1));
        const auto founded = first->swap(0, state_with(1, 1));
        REQUIRE(founded);
        (*proxy)->drop();
        CHECK(first->swap(*founded, state_with(2, 1)).error().code == Errc::kUnknown);
        (*proxy)->cut();
        const auto gone = first->swap(*founded, state_with(2, 1));
        REQUIRE_FALSE(gone);
        CHECK(gone.error().code != Errc::kConflict);
        (*proxy)->pass();
        CHECK(first->swap(*founded, state_with(3, 1)));
        group.etcd->kill(0);
        (*proxy)->pass();
        const auto direct = group.seat(seconds(5));
        direct->start(member_number(2));
        CHECK(direct->swap(0, state_with(4, 2)).error().code == Errc::kGone);
    }

    TEST_CASE("fault 37: a second process under a member's number waits until the first is gone") {
        if (lacks_etcd()) {
            return;
        }
        EtcdGroup group;
        const auto watching = group.seat(seconds(5));
        watching->start(member_number(9));
        const auto first = group.seat(seconds(2));
        first->start(member_number(1, 111));
        REQUIRE(watching->wait_for_live(2));
        const auto second = group.seat(seconds(2));
        second->start(member_number(1, 222));
        REQUIRE(second->wait_for_live(2));
        CHECK(second->view().live[0].incarnation == 111);
        CHECK(second->lease_until() == SteadyTime::min());
        first->stop();
        CHECK(watching->wait_for(
            [](const GroupView& view) {
                return view.live.size() == 2 && view.live[0].incarnation == 222;
            },
            seconds(3)));
        CHECK(harness::wait_until(seconds(3),
                                  [&] { return second->lease_until() > group.clock.steady(); }));
    }

    TEST_CASE("a process that was killed is replaced at once by the next one in its directory") {
        if (lacks_etcd()) {
            return;
        }
        EtcdGroup group;
        LiveMember member = member_number(1, 111);
        member.place = "run/1/2";
        const auto first = group.seat(seconds(5));
        first->start(member);
        REQUIRE(first->wait_for_live(1));
        member.incarnation = 222;
        const auto second = group.seat(seconds(5));
        second->start(member);
        CHECK(second->wait_for(
            [](const GroupView& view) {
                return view.live.size() == 1 && view.live[0].incarnation == 222;
            },
            seconds(2)));
        CHECK(harness::wait_until(seconds(3),
                                  [&] { return second->lease_until() > group.clock.steady(); }));
    }

    TEST_CASE("the place of a store is its own, a copy's another one") {
        const harness::TempDirectory one;
        const harness::TempDirectory other;
        CHECK_FALSE(place_of(one.path()).empty());
        CHECK(place_of(one.path()) == place_of(one.path()));
        CHECK(place_of(one.path()) != place_of(other.path()));
        CHECK(place_of(one.path() / "none").empty());
    }

    TEST_CASE("fault 39: changes that etcd has compacted away are read anew") {
        if (lacks_etcd()) {
            return;
        }
        EtcdGroup group;
        auto proxy = harness::FaultyProxy::start(group.etcd->port());
        REQUIRE(proxy);
        const auto first = group.seat(seconds(5));
        const auto second = group.seat(seconds(5), {(*proxy)->address()});
        first->start(member_number(1));
        second->start(member_number(2));
        REQUIRE(first->wait_for_live(2));
        REQUIRE(second->wait_for_live(2));
        (*proxy)->cut();
        auto revision = first->swap(0, state_with(1, 1));
        for (std::int64_t epoch = 2; epoch <= 5; ++epoch) {
            REQUIRE(revision);
            revision = first->swap(*revision, state_with(epoch, 1));
        }
        REQUIRE(revision);
        REQUIRE(
            group.post("/v3/kv/compaction", "{\"revision\":\"" + std::to_string(*revision) + "\"}")
                .status == 200);
        (*proxy)->pass();
        CHECK(second->wait_for([](const GroupView& view) { return view.state.epoch == 5; }));
        revision = first->swap(*revision, state_with(6, 1));  // and the watch goes on
        CHECK(second->wait_for([](const GroupView& view) { return view.state.epoch == 6; },
                               seconds(1)));
    }

    TEST_CASE("fault 39: a watch from a compacted revision ends, and says so") {
        if (lacks_etcd()) {
            return;
        }
        EtcdGroup group;
        const auto first = group.seat(seconds(5));
        first->start(member_number(1));
        REQUIRE(first->wait_for_live(1));
        const auto revision = first->swap(0, state_with(1, 1));
        REQUIRE(revision);
        REQUIRE(first->swap(*revision, state_with(2, 1)));
        REQUIRE(
            group.post("/v3/kv/compaction", "{\"revision\":\"" + std::to_string(*revision) + "\"}")
                .status == 200);
        std::promise<std::string> ended;
        auto why = ended.get_future();
        std::unique_ptr<EtcdClient> client;
        group.loop.run([&] {
            client = std::make_unique<EtcdClient>(
                *group.loop, EtcdClient::Options{.endpoints = group.endpoints});
            client->watch("/gantry/", 1, [&](const EtcdWatchNews& news) {
                if (!news.ended.empty()) {
                    ended.set_value(news.ended);
                }
            });
        });
        REQUIRE(why.wait_for(seconds(5)) == std::future_status::ready);
        CHECK(why.get().starts_with("compacted up to revision "));
        group.loop.run([&] { client.reset(); });
    }

    TEST_CASE("fault 39: an etcd that is full takes no swap, keeps leases, and the view is old") {
        if (lacks_etcd()) {
            return;
        }
        EtcdGroup group;
        const auto first = group.seat(seconds(2));
        first->start(member_number(1));
        REQUIRE(first->wait_for_live(1));
        const auto revision = first->swap(0, state_with(1, 1));
        REQUIRE(revision);
        REQUIRE(group.post("/v3/maintenance/alarm", R"({"action":"ACTIVATE","alarm":"NOSPACE"})")
                    .status == 200);
        const auto refused = first->swap(*revision, state_with(2, 1));
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == Errc::kGone);
        CHECK(refused.error().detail.find("space") != std::string::npos);
        CHECK(first->wait_for([](const GroupView& view) { return !view.is_current; }));
        const SteadyTime lease = first->lease_until();
        CHECK(harness::wait_until(seconds(4), [&] { return first->lease_until() > lease; }));
        REQUIRE(group.post("/v3/maintenance/alarm", R"({"action":"DEACTIVATE","alarm":"NOSPACE"})")
                    .status == 200);
        CHECK(first->wait_for(is_current));
        CHECK(first->swap(*revision, state_with(2, 1)));
    }
}

}  // namespace gantry::broker::test

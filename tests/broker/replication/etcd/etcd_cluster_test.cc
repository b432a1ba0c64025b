// SPDX-License-Identifier: Apache-2.0
// Three real etcd.
#include "tests/broker/replication/etcd/etcd_seat.h"

#include <doctest/doctest.h>

namespace gantry::broker::test {
namespace {

using std::chrono::seconds;

/// Which of them leads; what /v3/maintenance/status of the first one says.
std::size_t leader_of(EtcdGroup& group) {
    for (std::size_t i = 0; i < group.endpoints.size(); ++i) {
        std::swap(group.endpoints[0], group.endpoints[i]);
        const std::string text = group.post("/v3/maintenance/status", "{}").body;
        std::swap(group.endpoints[0], group.endpoints[i]);
        const auto field = [&](const std::string& name) {
            const std::size_t at = text.find("\"" + name + "\":\"");
            const std::size_t begin = at + name.size() + 4;
            return at == std::string::npos ? name
                                           : text.substr(begin, text.find('"', begin) - begin);
        };
        if (field("leader") == field("member_id")) {
            return i;
        }
    }
    return 0;
}

/// Swaps until it succeeds or the time is over, as a member does.
bool swap_at_last(Seat& seat, std::int64_t epoch) {
    return harness::wait_until(seconds(15), [&] {
        const GroupView view = seat.view();
        return view.state == state_with(epoch, 1) ||
               seat.swap(view.revision, state_with(epoch, 1)).has_value();
    });
}

}  // namespace

TEST_SUITE("broker/replication/etcd_cluster") {
    TEST_CASE("fault 39: the group goes on when the leader of etcd is killed") {
        if (lacks_etcd()) {
            return;
        }
        EtcdGroup group(3);
        const auto first = group.seat(seconds(5));
        const auto second = group.seat(seconds(5));
        first->start(member_number(1));
        second->start(member_number(2));
        REQUIRE(first->wait_for_live(2));
        REQUIRE(first->swap(0, state_with(1, 1)));
        group.etcd->kill(leader_of(group));
        CHECK(swap_at_last(*first, 2));
        CHECK(second->wait_for([](const GroupView& view) {
            return view.state.epoch == 2 && view.is_current && view.live.size() == 2;
        }));
        CHECK(harness::wait_until(seconds(5),
                                  [&] { return first->lease_until() > group.clock.steady(); }));
    }

    TEST_CASE("fault 39: an etcd that is stopped is left for another one") {
        if (lacks_etcd()) {
            return;
        }
        EtcdGroup group(3);
        const auto first = group.seat(seconds(5));
        first->start(member_number(1));
        REQUIRE(first->wait_for_live(1));
        REQUIRE(first->swap(0, state_with(1, 1)));
        group.etcd->pause(0);  // the one that is asked first
        CHECK(swap_at_last(*first, 2));
        CHECK(first->wait_for(
            [](const GroupView& view) { return view.state.epoch == 2 && view.is_current; }));
        group.etcd->resume(0);
    }

    TEST_CASE("fault 39: without a majority nothing is current and nothing is swapped") {
        if (lacks_etcd()) {
            return;
        }
        EtcdGroup group(3);
        const auto first = group.seat(seconds(3));
        first->start(member_number(1));
        REQUIRE(first->wait_for_live(1));
        const auto revision = first->swap(0, state_with(1, 1));
        REQUIRE(revision);
        group.etcd->pause(1);
        group.etcd->pause(2);
        CHECK(first->wait_for([](const GroupView& view) { return !view.is_current; }, seconds(8)));
        CHECK(first->swap(*revision, state_with(2, 1)).error().code == Errc::kUnknown);
        CHECK(first->lease_until() < group.clock.steady());
        group.etcd->resume(1);
        group.etcd->resume(2);
        CHECK(first->wait_for([](const GroupView& view) { return view.is_current; }));
        CHECK(swap_at_last(*first, 3));
    }
}

}  // namespace gantry::broker::test

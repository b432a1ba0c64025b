// SPDX-License-Identifier: Apache-2.0
#include "tests/broker/replication/memory_coordinator.h"

#include "tests/broker/replication/watched_view.h"

#include <doctest/doctest.h>

namespace gantry::broker::test {

TEST_SUITE("broker/replication/memory_coordinator") {
    TEST_CASE("members see one another, one of two swaps at a revision succeeds, cuts are seen") {
        net::test::LoopThread loop;
        MemoryRegister shared;
        Seat first(loop, std::make_unique<MemoryCoordinator>(*loop, shared));
        Seat second(loop, std::make_unique<MemoryCoordinator>(*loop, shared));
        first.start(member_number(1));
        second.start(member_number(2));
        CHECK(first.wait_for_live(2));
        CHECK(first.swap(0, state_with(1, 1)).value() == 1);
        CHECK(second.swap(0, state_with(1, 2)).error().code == Errc::kConflict);
        CHECK(second.wait_for([](const GroupView& view) { return view.revision == 1; }));
        CHECK(second.view().state == state_with(1, 1));
        shared.set_reachable(1, false);
        CHECK(second.wait_for_live(1));
        CHECK(first.wait_for([](const GroupView& view) { return !view.is_current; }));
        CHECK(first.swap(1, state_with(2, 1)).error().code == Errc::kGone);
        CHECK(first.lease_until() == SteadyTime::min());
        second.stop();
        CHECK(shared.state() == state_with(1, 1));
    }
}

}  // namespace gantry::broker::test

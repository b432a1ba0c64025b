// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/world/faults.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

namespace gantry::chaos {
namespace {

using std::chrono::milliseconds;

std::vector<PlannedFault> planned(std::uint64_t seed,
                                  milliseconds length,
                                  const std::vector<std::string>& names = {}) {
    auto plan = plan_faults(seed, length, milliseconds(1'000), names);
    REQUIRE(plan.has_value());
    return std::move(plan).value();
}

}  // namespace

TEST_SUITE("chaos/faults") {
    TEST_CASE("the same seed plans the same faults, another one others") {
        const auto one = planned(7, milliseconds(600'000));
        const auto same = planned(7, milliseconds(600'000));
        const auto other = planned(8, milliseconds(600'000));
        REQUIRE(one.size() == same.size());
        for (std::size_t i = 0; i < one.size(); ++i) {
            CHECK(one[i].kind == same[i].kind);
            CHECK(one[i].length == same[i].length);
            CHECK(one[i].pause == same[i].pause);
            CHECK(one[i].seed == same[i].seed);
        }
        CHECK(!std::equal(
            one.begin(), one.end(), other.begin(), other.end(), [](const auto& a, const auto& b) {
                return a.kind == b.kind && a.length == b.length;
            }));
    }

    TEST_CASE("a plan fills its time, each fault within its own limits") {
        milliseconds sum{0};
        for (const PlannedFault& fault : planned(3, milliseconds(900'000))) {
            CHECK(fault.length >= fault.kind->least);
            CHECK(fault.length <= fault.kind->most);
            CHECK(fault.pause <= milliseconds(1'000));
            CHECK(sum < milliseconds(900'000));
            sum += fault.length + fault.pause;
        }
        CHECK(sum >= milliseconds(900'000));
    }

    TEST_CASE("in an hour every kind of fault comes") {
        std::set<std::string> seen;
        for (const PlannedFault& fault : planned(1, milliseconds(3'600'000))) {
            seen.insert(fault.kind->name);
        }
        CHECK(seen.size() == fault_kinds().size());
    }

    TEST_CASE("only the faults that were named are planned, and a name must be one") {
        for (const PlannedFault& fault : planned(1, milliseconds(60'000), {"kill all"})) {
            CHECK(std::string(fault.kind->name) == "kill all");
        }
        CHECK(!plan_faults(1, milliseconds(1), milliseconds(1), {"kil all"}).has_value());
    }
}

}  // namespace gantry::chaos

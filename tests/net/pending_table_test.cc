// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/pending_table.h"

#include "common/random.h"
#include "tests/net/fixture.h"

#include <map>

using namespace gantry;
using namespace gantry::net;
using namespace gantry::net::test;

namespace {

Pending pending(std::int32_t opaque, std::uint64_t position) {
    Pending made;
    made.opaque = opaque;
    made.deadline = SteadyTime(std::chrono::milliseconds(position));
    made.stream_position = position;
    return made;
}

}  // namespace

TEST_SUITE("net/pending_table") {
    TEST_CASE("whatever order answers come in, each finds its request") {
        Random random(test_seed());
        PendingTable table;
        std::map<std::int32_t, std::uint64_t> model;
        std::uint64_t position = 0;
        const auto known = [&](std::uint64_t at) {
            return std::next(model.begin(), static_cast<std::ptrdiff_t>(at % model.size()));
        };
        for (int step = 0; step < 40'000; ++step) {
            // Few distinct low bits: places collide, chains form and wrap around the end.
            const auto opaque =
                static_cast<std::int32_t>((random.below(40) << 20U) + random.below(64));
            const bool adds = random.below(100) < (step < 20'000 ? 55U : 45U);
            if (adds && model.size() < 300 && model.emplace(opaque, ++position).second) {
                table.insert(pending(opaque, position));
            } else if (!adds && !model.empty()) {
                const auto gone = known(random.below(model.size()));
                const std::optional<Pending> taken = table.take(gone->first);
                REQUIRE(taken.has_value());
                REQUIRE(taken->stream_position == gone->second);
                REQUIRE_FALSE(table.contains(gone->first));
                model.erase(gone);
            }
            REQUIRE(table.size() == model.size());
            if (!model.empty()) {
                REQUIRE(table.contains(known(random.below(model.size()))->first));
            }
        }
        std::vector<Pending> rest = table.take_all();
        REQUIRE(rest.size() == model.size());
        for (std::size_t i = 0; i < rest.size(); ++i) {
            CHECK(model.at(rest[i].opaque) == rest[i].stream_position);
            CHECK((i == 0 || rest[i - 1].stream_position < rest[i].stream_position));
        }
        CHECK(table.size() == 0);
        CHECK_FALSE(table.take(1).has_value());
    }

    TEST_CASE("what is due comes out, oldest deadline first, the rest stays") {
        PendingTable table;
        CHECK(table.earliest() == SteadyTime::max());
        for (const int due : {30, 10, 50, 20, 40}) {
            table.insert(pending(due << 20, static_cast<std::uint64_t>(due)));
        }
        CHECK(table.earliest() == SteadyTime(std::chrono::milliseconds(10)));
        const std::vector<Pending> due = table.take_due(SteadyTime(std::chrono::milliseconds(30)));
        REQUIRE(due.size() == 3);
        CHECK(due[0].stream_position == 10);
        CHECK(due[1].stream_position == 20);
        CHECK(due[2].stream_position == 30);
        CHECK(table.earliest() == SteadyTime(std::chrono::milliseconds(40)));
        CHECK(table.contains(40 << 20));
        CHECK(table.contains(50 << 20));
    }
}

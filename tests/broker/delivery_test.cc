// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/tag_filter.h"
#include "broker/work_pool.h"
#include "protocol/wire/properties.h"

#include <doctest/doctest.h>

#include <future>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/delivery");

TEST_CASE("tag expressions become hashes, stars and blanks everything") {
    for (const char* const all : {"", "*", "  ", " * "}) {
        const auto filter = parse_tag_expression(all);
        REQUIRE(filter);
        CHECK(*filter == nullptr);
    }
    const auto some = parse_tag_expression(" TagA||TagB ||  TagA");
    REQUIRE(some);
    CHECK(**some == std::vector<std::int64_t>{wire::tag_hash("TagA"), wire::tag_hash("TagB")});
    CHECK_FALSE(parse_tag_expression("||"));
    CHECK_FALSE(parse_tag_expression(" || || "));
}

TEST_CASE("a full pool refuses, a stopped one too") {
    WorkPool pool(1, 1);
    std::promise<void> release;
    std::promise<void> running;
    REQUIRE(pool.submit([&] {
        running.set_value();
        release.get_future().wait();
    }));
    running.get_future().wait();
    REQUIRE(pool.submit([] {}));
    const Status refused = pool.submit([] {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::kBusy);
    release.set_value();
    pool.stop();
    CHECK(pool.submit([] {}).error().code == Errc::kClosed);
}

TEST_SUITE_END();

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/names.h"

#include <doctest/doctest.h>

namespace gantry::wire {

TEST_SUITE("wire/names") {
    TEST_CASE("names of the allowed characters and lengths pass") {
        CHECK(check_topic_name("a|B_9-%"));
        CHECK(check_topic_name(std::string(127, 't')));
        CHECK(check_topic_name("%RETRY%" + std::string(248, 'g')));
        CHECK(check_topic_name("%DLQ%" + std::string(250, 'g')));
        CHECK(check_group_name(std::string(120, 'g')));
    }

    TEST_CASE("others are refused with field, value and limit") {
        const auto empty = check_topic_name("");
        REQUIRE_FALSE(empty);
        CHECK(empty.error().detail == "topic is empty");
        const auto long_topic = check_topic_name(std::string(128, 't'));
        REQUIRE_FALSE(long_topic);
        CHECK(long_topic.error().code == Errc::kRefused);
        CHECK(long_topic.error().detail.starts_with("topic of 128 B > 127 B"));
        CHECK_FALSE(check_topic_name("%RETRY%" + std::string(249, 'g')));
        CHECK_FALSE(check_group_name(std::string(121, 'g')));
        for (const std::string_view bad : {"a b", "a.b", "a/b", "a\x01", "\xc3\xa9", "a$"}) {
            CAPTURE(bad);
            CHECK_FALSE(check_topic_name(bad));
            CHECK_FALSE(check_group_name(bad));
        }
        const auto blank = check_group_name("a b");
        REQUIRE_FALSE(blank);
        CHECK(blank.error().detail.starts_with("group \"a b\": byte 32 at 1 is none of"));
    }

    TEST_CASE("derived and system topics are known") {
        CHECK(retry_topic("g") == "%RETRY%g");
        CHECK(dead_letter_topic("g") == "%DLQ%g");
        CHECK(is_system_topic("GANTRY_SYS_STATE"));
        CHECK(is_system_topic("TBW102"));
        CHECK(is_system_topic("rmq_sys_wheel_timer"));
        CHECK_FALSE(is_system_topic("%RETRY%g"));
        CHECK_FALSE(is_system_topic("orders"));
        CHECK(is_internal_topic("GANTRY_SYS_STATE"));
        CHECK_FALSE(is_internal_topic("TBW102"));
    }
}

}  // namespace gantry::wire

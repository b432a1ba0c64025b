// SPDX-License-Identifier: Apache-2.0
#include "storage/retention/retention_policy.h"

#include "protocol/wire/topic.pb.h"
#include "storage/log/volume_room.h"
#include "storage/retention/retention_clock.h"
#include "tests/storage/store_fixture.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace gantry::storage {
namespace {

constexpr std::int64_t kHour = 3'600'000;
constexpr WallMs kNow = 1'000 * kHour;

/// Segments of 100 B whose first messages were stored so many hours ago.
std::vector<SegmentAge> segments_aged(const std::vector<std::int64_t>& hours) {
    std::vector<SegmentAge> segments;
    for (std::size_t i = 0; i < hours.size(); ++i) {
        const LogOffset base(static_cast<std::int64_t>(500 + 100 * i));
        segments.push_back({base, base + 100, kNow - hours[i] * kHour});
    }
    return segments;
}

/// How many of the segments go.
std::size_t expired_of(const std::vector<SegmentAge>& segments, const RetentionOptions& options) {
    const LogOffset end = expired_end(segments, options, kNow);
    REQUIRE((end - segments.front().base) % 100 == 0);
    return static_cast<std::size_t>((end - segments.front().base) / 100);
}

RetentionOptions keep(std::int64_t hours, std::uint64_t bytes = 0) {
    RetentionOptions options;
    options.keep_ms = hours * kHour;
    options.bytes_max = bytes;
    return options;
}

wire::TopicConfig topic_with(const std::vector<std::pair<std::string, std::string>>& attributes) {
    wire::TopicConfig topic;
    for (const auto& [name, value] : attributes) {
        (*topic.mutable_attributes())[name] = value;
    }
    return topic;
}

TEST_SUITE("storage/retention_policy") {
    TEST_CASE("segments go by age, by size or not at all, and the last one stays") {
        struct Row {
            std::vector<std::int64_t> hours;  ///< since the first message of each
            RetentionOptions rules;
            std::size_t expired;
        };

        const std::vector<Row> rows{
            {{100}, keep(72), 0},                      // nothing is known of its last message
            {{100, 71}, keep(72), 0},                  // a message of the first may be 71 h old
            {{100, 72}, keep(72), 1},                  // all of it is 72 h old at least
            {{100, 90, 80, 10, 0}, keep(72), 2},       //
            {{100, 90, 80, 10, 0}, keep(0), 0},        // no limit
            {{100, 90, 80, 10, 0}, keep(0, 500), 0},   // 500 B are not too many
            {{100, 90, 80, 10, 0}, keep(0, 499), 1},   //
            {{100, 90, 80, 10, 0}, keep(0, 1), 4},     // never the last one
            {{100, 90, 80, 10, 0}, keep(95, 300), 2},  // the stricter limit counts
            {{100, 10, 90, 80, 0}, keep(72), 0},       // a gap of old ones waits for the first
            {{100, -50, 90, 80, 0}, keep(72), 3},      // a time in the future says nothing
            {{100, -50, -50, 50}, keep(72), 0},        //
            {{100, -50, -50}, keep(72), 0},            // nothing believable behind it
        };
        for (std::size_t i = 0; i < rows.size(); ++i) {
            CAPTURE(i);
            CHECK(expired_of(segments_aged(rows[i].hours), rows[i].rules) == rows[i].expired);
        }
        CHECK(expired_end({}, keep(1, 1), kNow) == LogOffset(0));
    }

    TEST_CASE("a queue's oldest message moves by the topic's rules, the cap wins over groups") {
        const QueueOffset expired(50);
        const TopicRetention plain{};
        TopicRetention consumed;
        consumed.until_consumed = true;
        CHECK(queue_min({expired, QueueOffset(10), QueueOffset(0)}, plain) == expired);
        CHECK(queue_min({expired, QueueOffset(10), QueueOffset(0)}, consumed) == QueueOffset(10));
        CHECK(queue_min({expired, QueueOffset(90), QueueOffset(0)}, consumed) == expired);
        CHECK(queue_min({expired, QueueOffset(10), QueueOffset(30)}, consumed) == QueueOffset(30));
        CHECK(queue_min({expired, QueueOffset(40), QueueOffset(30)}, consumed) == QueueOffset(40));
        // What has not expired stays, whatever the cap says.
        CHECK(queue_min({expired, QueueOffset(40), QueueOffset(70)}, consumed) == expired);
        CHECK(queue_min({expired, QueueOffset(90), QueueOffset(70)}, consumed) == expired);
    }

    TEST_CASE("attributes of a topic change the defaults, one by one") {
        RetentionOptions defaults = keep(72);
        defaults.unconsumed_ms_max = 168 * kHour;
        defaults.unconsumed_bytes_max = 1'000;
        const auto none = retention_of(topic_with({{"message.type", "NORMAL"}}), defaults);
        REQUIRE(none);
        CHECK_FALSE(none->has_value());
        const auto bytes = retention_of(topic_with({{"retention.bytes", "4096"}}), defaults);
        REQUIRE(bytes);
        CHECK(**bytes == TopicRetention{.keep_ms = 72 * kHour,
                                        .bytes_max = 4'096,
                                        .cap_ms = 168 * kHour,
                                        .cap_bytes = 1'000});
        const auto all = retention_of(topic_with({{"retention.ms", "0"},
                                                  {"retention.bytes", "0"},
                                                  {"retention.until_consumed", "true"}}),
                                      defaults);
        REQUIRE(all);
        CHECK(**all ==
              TopicRetention{.until_consumed = true, .cap_ms = 168 * kHour, .cap_bytes = 1'000});
    }

    TEST_CASE("an attribute that is none is refused with its name and value") {
        const std::vector<std::pair<std::string, std::string>> wrong{
            {"retention.ms", ""},
            {"retention.ms", "-1"},
            {"retention.ms", "72h"},
            {"retention.ms", "9223372036854775807"},
            {"retention.bytes", "9223372036854775808"},
            {"retention.bytes", "1e6"},
            {"retention.until_consumed", "yes"}};
        for (const auto& attribute : wrong) {
            const std::string& name = attribute.first;
            const std::string& value = attribute.second;
            CAPTURE(name);
            CAPTURE(value);
            const auto rules = retention_of(topic_with({{name, value}}), {});
            REQUIRE_FALSE(rules);
            CHECK(rules.error().code == Errc::kRefused);
            CHECK(rules.error().detail.find(name + " \"" + value + '"') != std::string::npos);
        }
    }

    TEST_CASE("the room of a volume is the least that its limits leave") {
        const VolumeRoom volume{.log_bytes = 300, .free_bytes = 1'000};
        CHECK(room_left(volume, {}) == 1'000);
        CHECK(room_left(volume, {.free_bytes_min = 400}) == 600);
        CHECK(room_left(volume, {.log_bytes_max = 500, .free_bytes_min = 400}) == 200);
        CHECK(room_left(volume, {.log_bytes_max = 200}) == 0);
        CHECK(room_left(volume, {.free_bytes_min = 1'001}) == 0);
        CHECK(percent_taken(volume, {.log_bytes_max = 400}) == 75);
        CHECK(percent_taken(volume, {.free_bytes_min = 900}) == 75);
        CHECK(percent_taken(volume, {.log_bytes_max = 300}) == 100);
        CHECK(percent_taken({.free_bytes = 10}, {}) == 0);
    }

    TEST_CASE("messages expire by the wall clock, but not faster than time can go") {
        using std::chrono::milliseconds;
        const milliseconds hour(kHour);
        RetentionClock clock(kNow, std::nullopt, 0);
        CHECK(clock.now() == kNow);
        CHECK(clock.advance(kNow + kHour, hour) == kNow + kHour);
        // It jumps a year ahead, and an hour goes by.
        constexpr WallMs kYear = 365 * 24 * kHour;
        CHECK(clock.advance(kNow + kYear, milliseconds(1'000)) == kNow + kHour + 4'000);
        CHECK(clock.advance(kNow + kYear, hour) == kNow + kHour + 4'000 + 4 * kHour);
        // Set right again: followed at once, also when that is back.
        CHECK(clock.advance(kNow + 2 * kHour, hour) == kNow + 2 * kHour);
        CHECK(clock.advance(kNow - kHour, hour) == kNow - kHour);
    }

    TEST_CASE("over a restart the clock is believed as far as a stop may have been long") {
        const TemporaryDirectory directory;
        const auto files = make_posix_file_system();
        const auto path = directory.path() / "clock";
        CHECK(load_retention_clock(*files, path, kNow, kHour).now() == kNow);
        REQUIRE(save_retention_clock(*files, path, kNow));
        CHECK(load_retention_clock(*files, path, kNow + kHour, 2 * kHour).now() == kNow + kHour);
        CHECK(load_retention_clock(*files, path, kNow + 9 * kHour, 2 * kHour).now() ==
              kNow + 2 * kHour);
        CHECK(load_retention_clock(*files, path, kNow - kHour, 2 * kHour).now() == kNow - kHour);
        REQUIRE(write_file_atomically(*files, path, as_bytes("damaged")));
        CHECK(load_retention_clock(*files, path, kNow + 9 * kHour, kHour).now() ==
              kNow + 9 * kHour);
    }
}

}  // namespace
}  // namespace gantry::storage

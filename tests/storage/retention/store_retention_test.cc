// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/state.pb.h"
#include "storage/check/store_check.h"
#include "storage/log/lost_ranges.h"
#include "storage/log/segment.h"
#include "tests/harness/wait.h"
#include "tests/storage/faulty_file_system.h"
#include "tests/storage/store_fixture.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kHour = 3'600'000;
constexpr std::chrono::seconds kPatience{60};

using Attributes = std::map<std::string, std::string>;

/// A store whose messages are remembered.
struct Aging {
    Aging() : at(directory.path()) {
        at.options.retention.check_ms = 3'600'000;
        at.options.retention.shrink_bytes = 10'000;
        at.options.retention.clock_slack_ms = 1'000 * kHour;
    }

    void put_topic(const std::string& topic, const Attributes& attributes) const {
        wire::StateRecord changes;
        wire::TopicConfig& put = *changes.add_changes()->mutable_topicput();
        put.set_topicname(topic);
        put.set_readqueuenums(2);
        put.set_writequeuenums(2);
        put.set_perm(perm::kRead | perm::kWrite);
        for (const auto& [name, value] : attributes) {
            (*put.mutable_attributes())[name] = value;
        }
        REQUIRE(at.store->state().commit(changes));
    }

    void commit(const std::string& group, Queue& queue, std::int64_t offset) const {
        wire::StateRecord changes;
        wire::OffsetPut& put = *changes.add_changes()->mutable_offsetput();
        put.set_group(group);
        put.set_topic(std::string(queue.topic));
        put.set_queueid(queue.queue_id);
        put.set_offset(offset);
        REQUIRE(at.store->state().commit(changes));
    }

    void append(const std::string& topic, int count, std::int32_t queue = 0) {
        Queue& to = at.queue(topic, queue);
        for (int i = 0; i < count; ++i) {
            const std::string body = numbered_body(number++, 1'000);
            const auto appended = at.append(to, {{body, "", "key" + std::to_string(number)}});
            REQUIRE_MESSAGE(appended, to_string(appended ? Error{} : appended.error()));
            bodies[topic].push_back(body);
            places[topic].push_back(appended->first);
        }
    }

    /// What was appended is flushed, so that it may be deleted.
    void flush() const {
        at.store->flush_soon();
        REQUIRE(harness::wait_until(kPatience, [this] {
            const Watermarks marks = at.store->watermarks();
            return marks.flushed == marks.appended;
        }));
    }

    void delete_expired() const {
        flush();
        const Status done = at.store->delete_expired();
        REQUIRE_MESSAGE(done, to_string(done ? Error{} : done.error()));
    }

    /// Lets time go on: the store believes the clock over a stop.
    void pass_time(std::int64_t ms) {
        at.store.reset();
        at.clock.set(at.clock.wall_ms() + ms);
        at.open();
    }

    std::int64_t min_of(const std::string& topic, std::int32_t queue = 0) {
        return at.queue(topic, queue).min().value;
    }

    /// Queue 0 serves exactly the messages from its min on, and tells readers of older ones.
    void check_served(const std::string& topic) {
        Queue& queue = at.queue(topic);
        const std::vector<std::string>& all = bodies[topic];
        REQUIRE(queue.max() == QueueOffset(static_cast<std::int64_t>(all.size())));
        const auto kept = all.begin() + queue.min().value;
        CHECK(read_bodies(*at.store, queue) == std::vector<std::string>(kept, all.end()));
        if (queue.min() > QueueOffset(0)) {
            const ReadResult old = at.store->read(queue, {.from = queue.min() - 1});
            CHECK(old.status == ReadStatus::kTooSmall);
            CHECK(old.next == queue.min());
            CHECK(old.min == queue.min());
        }
    }

    std::vector<std::string> files_in(const std::string& name) const {
        return at.files->list(directory.path() / name).value();
    }

    void check_is_good() {
        REQUIRE(at.store->close());
        at.store.reset();
        const auto report = check_store(*at.files, {.directory = directory.path()});
        REQUIRE(report);
        for (const Finding& finding : report->findings) {
            FAIL_CHECK(finding.file << ": " << finding.what);
        }
        CHECK(report->is_good);
    }

    TemporaryDirectory directory;
    FaultyFileSystem faulty;
    StoreFixture at;
    std::map<std::string, std::vector<std::string>> bodies;
    std::map<std::string, std::vector<LogOffset>> places;
    std::size_t number = 0;
};

TEST_SUITE("storage/retention") {
    TEST_CASE_FIXTURE(Aging, "what is older than allowed is deleted, file by file, and told") {
        at.options.retention.keep_ms = 10 * kHour;
        at.open();
        append("t", 200);
        delete_expired();
        CHECK(at.store->watermarks().first == LogOffset(0));
        pass_time(6 * kHour);
        append("t", 200);
        const std::int64_t young = static_cast<std::int64_t>(200);
        pass_time(5 * kHour);
        delete_expired();
        const LogOffset first = at.store->watermarks().first;
        CHECK(first > LogOffset(2 * kTestSegmentBytes));
        CHECK(first.value % static_cast<std::int64_t>(kTestSegmentBytes) == 0);
        CHECK(min_of("t") > 100);
        CHECK(min_of("t") <= young);  // nothing unexpired is lost
        check_served("t");
        for (const char* const folder : {"commitlog", "checksum"}) {
            const auto names = files_in(folder);
            CHECK(names.front() == segment_name(first));
            CHECK(std::none_of(names.begin(), names.end(), [](const std::string& name) {
                return name.ends_with(kDeletedSuffix);
            }));
        }
        CHECK(code_of(at.store->record_at(places["t"][0])) == Errc::kNotFound);
        CHECK(at.store->find_by_key({"t", "key1", 0, at.clock.wall_ms()}).empty());
        CHECK(at.store->retention_status().deleted_segments ==
              static_cast<std::uint64_t>(first.value) / kTestSegmentBytes);
        const std::int64_t min = min_of("t");
        for (const bool cleanly : {true, false}) {
            CAPTURE(cleanly);
            if (cleanly) {
                at.open();
            } else {
                copy_store(directory.path(), at.copies.path() / "killed");
                at.options.directory = at.copies.path() / "killed";
                at.open();
            }
            CHECK(at.recovery.was_clean == cleanly);
            CHECK(at.store->watermarks().first == first);
            CHECK(min_of("t") == min);
            check_served("t");
        }
    }

    TEST_CASE_FIXTURE(Aging, "consume queues and keys rebuilt from a shortened log start with it") {
        at.options.retention.bytes_max = 4 * kTestSegmentBytes;
        at.open();
        append("t", 300);
        append("u", 30);
        delete_expired();
        const std::int64_t min = min_of("t");
        CHECK(min > 100);
        at.store.reset();
        for (const char* const name : {"consumequeue", "index", "checkpoint"}) {
            fs::remove_all(directory.path() / name);
        }
        at.open();
        CHECK(min_of("t") == min);
        CHECK(min_of("u") == 0);
        check_served("t");
        check_served("u");
        append("t", 300);
        delete_expired();
        CHECK(min_of("t") > min);
        check_served("t");
        CHECK(at.store->find_by_key({"t", "key630", 0, at.clock.wall_ms()}).size() == 1);
        check_is_good();
    }

    TEST_CASE_FIXTURE(Aging, "a reader keeps the file it reads, its room comes back afterwards") {
        at.options.hot_bytes = 0;
        at.options.retention.bytes_max = 3 * kTestSegmentBytes;
        at.open();
        append("t", 20);
        const std::string first_body = bodies["t"][0];
        ReadResult reading = at.store->read(at.queue("t"), {.from = QueueOffset(0)});
        REQUIRE(reading.status == ReadStatus::kFound);
        append("t", 300);
        delete_expired();
        REQUIRE(min_of("t") > 20);
        CHECK(run_bytes(reading.runs[0]).find(first_body) != std::string::npos);
        const std::string held = segment_name(LogOffset(0)) + std::string(kDeletedSuffix);
        CHECK(files_in("commitlog").front() == held);
        reading = {};
        delete_expired();
        CHECK(files_in("commitlog").front() == segment_name(at.store->watermarks().first));
        check_served("t");
    }

    TEST_CASE_FIXTURE(Aging, "a topic's own time moves its queues and holds the log for it") {
        at.options.retention.keep_ms = 10 * kHour;
        at.open();
        put_topic("short", {{"retention.ms", std::to_string(2 * kHour)}});
        put_topic("long", {{"retention.ms", std::to_string(100 * kHour)}});
        append("short", 50);
        append("t", 100);
        pass_time(3 * kHour);
        append("short", 50);
        delete_expired();
        // The bytes are there for the others; its readers are told all the same.
        CHECK(at.store->watermarks().first == LogOffset(0));
        CHECK(min_of("short") == 50);
        check_served("short");
        append("long", 10);
        append("t", 200);
        pass_time(20 * kHour);
        append("t", 100);
        delete_expired();
        CHECK(min_of("short") == 100);
        CHECK(min_of("long") == 0);
        check_served("long");
        CHECK(at.store->watermarks().first > LogOffset(0));
        CHECK(at.store->watermarks().first <= places["long"][0]);
        pass_time(100 * kHour);
        append("t", 1);
        delete_expired();
        CHECK(min_of("long") == 10);
        CHECK(at.store->watermarks().first > places["long"].back());
        check_served("t");
    }

    TEST_CASE_FIXTURE(Aging, "lost messages have no age: nothing before them goes for it") {
        at.open();
        put_topic("short", {{"retention.ms", std::to_string(2 * kHour)}});
        append("short", 10);
        pass_time(3 * kHour);
        append("short", 30);
        flush();
        const LogOffset end = at.store->watermarks().appended;
        REQUIRE(at.store->close());
        at.store.reset();
        {
            const auto lost = LostRanges::open(*at.files, directory.path() / "lost");
            REQUIRE(lost);
            // The middle of what a binary search looks at, and everything at the end.
            REQUIRE(lost->ranges->add({{.from = places["short"][20], .to = places["short"][21]},
                                       {.from = places["short"][5], .to = places["short"][6]},
                                       {.from = places["short"][38], .to = end}}));
        }
        at.open();
        delete_expired();
        CHECK(min_of("short") == 10);
    }

    TEST_CASE_FIXTURE(Aging, "a file whose first message is damaged has no age") {
        at.options.retention.keep_ms = 10 * kHour;
        at.open();
        append("t", 200);
        flush();
        // A time in 1970, in a record that is none.
        const std::uint64_t second = kTestSegmentBytes;
        const fs::path file = directory.path() / "commitlog" /
                              segment_name(LogOffset(static_cast<std::int64_t>(second)));
        std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
        bytes.seekp(0);
        bytes.write(std::string(wire::record_at::kBornHost + 8 + 7, '\0').c_str(),
                    wire::record_at::kBornHost + 8 + 7);
        bytes.put('\1');
        bytes.close();
        REQUIRE(bytes);
        delete_expired();
        CHECK(at.store->watermarks().first == LogOffset(0));
        CHECK(min_of("t") == 0);
    }

    TEST_CASE_FIXTURE(Aging,
                      "log that only expired topics of their own rules are in goes at once") {
        at.options.retention.keep_ms = 100 * kHour;
        at.open();
        put_topic("short", {{"retention.ms", std::to_string(2 * kHour)}});
        append("short", 200);
        append("t", 100);
        pass_time(3 * kHour);
        delete_expired();
        CHECK(at.store->watermarks().first > LogOffset(0));
        CHECK(at.store->watermarks().first <= places["t"][0]);
        CHECK(min_of("t") == 0);
        check_served("t");
        check_served("short");
    }

    TEST_CASE_FIXTURE(Aging, "a topic's own size is kept to over all its queues, oldest first") {
        at.open();
        put_topic("small", {{"retention.bytes", "60000"}});
        append("t", 1);
        append("small", 60, 1);
        append("small", 40, 0);
        delete_expired();
        const std::int64_t record = places["small"][1] - places["small"][0];
        const std::int64_t kept = 60'000 / record;
        CHECK(min_of("small", 1) == 60 - (kept - 40));
        CHECK(min_of("small", 0) == 0);
        append("small", kept > 40 ? 30 : 0, 0);
        delete_expired();
        CHECK(min_of("small", 1) == 60);
        CHECK(min_of("small", 0) == 70 - kept);
        CHECK(at.store->watermarks().first == LogOffset(0));  // no limit for the log
        at.open();
        delete_expired();
        CHECK(min_of("small", 0) == 70 - kept);
    }

    TEST_CASE_FIXTURE(Aging, "what some group has not consumed stays, until the cap") {
        at.options.retention.keep_ms = kHour;
        at.options.retention.unconsumed_ms_max = 50 * kHour;
        at.open();
        put_topic("orders", {{"retention.until_consumed", "true"}});
        append("orders", 200);
        append("t", 100);
        Queue* queue = &at.queue("orders");
        commit("fast", *queue, 200);
        commit("slow", *queue, 30);
        pass_time(20 * kHour);
        append("t", 1);
        delete_expired();
        CHECK(min_of("orders") == 30);
        CHECK(at.store->watermarks().first <= places["orders"][30]);
        CHECK(at.store->retention_status().unconsumed.empty());
        check_served("orders");
        queue = &at.queue("orders");
        commit("slow", *queue, 150);
        delete_expired();
        CHECK(min_of("orders") == 150);
        CHECK(at.store->watermarks().first > LogOffset(kTestSegmentBytes));
        pass_time(40 * kHour);
        append("t", 1);
        delete_expired();
        CHECK(min_of("orders") == 200);
        const auto lost = at.store->retention_status().unconsumed;
        CHECK(lost == std::map<std::string, std::uint64_t>{{"slow", 50}});
        CHECK(at.metrics.values().at(
                  "gantry_retention_group_deleted_unconsumed_messages_total{group=\"slow\"}") ==
              50);
    }

    TEST_CASE_FIXTURE(Aging, "a held topic is kept until consumed even before a group has begun") {
        at.options.retention.keep_ms = kHour;
        at.options.retention.held_topics = {"delayed"};
        at.open();
        append("delayed", 100);
        append("t", 100);
        pass_time(500 * kHour);
        append("t", 1);
        delete_expired();
        CHECK(min_of("delayed") == 0);
        check_served("delayed");
        commit("deliverer", at.queue("delayed"), 90);
        delete_expired();
        CHECK(min_of("delayed") == 90);
        CHECK(at.store->watermarks().first > LogOffset(0));
    }

    TEST_CASE_FIXTURE(Aging, "what is consumed of a held topic holds no log, however young") {
        at.options.retention.bytes_max = 2 * kTestSegmentBytes;
        at.options.retention.held_topics = {"delayed"};
        at.open();
        append("delayed", 10);
        append("t", 500);
        pass_time(kHour);
        delete_expired();
        CHECK(at.store->watermarks().first == LogOffset(0));
        commit("deliverer", at.queue("delayed"), 10);
        delete_expired();
        CHECK(at.store->watermarks().first > LogOffset(0));
    }

    TEST_CASE_FIXTURE(Aging, "a slow consumer of a plain topic is counted and told") {
        at.options.retention.bytes_max = 4 * kTestSegmentBytes;
        at.open();
        append("t", 300);
        commit("slow", at.queue("t"), 10);
        append("t", 50);
        delete_expired();
        const std::int64_t min = min_of("t");
        REQUIRE(min > 10);
        CHECK(at.store->retention_status().unconsumed.at("slow") ==
              static_cast<std::uint64_t>(min - 10));
        const ReadResult read = at.store->read(at.queue("t"), {.from = QueueOffset(10)});
        CHECK(read.status == ReadStatus::kTooSmall);
        CHECK(read.next == QueueOffset(min));
    }

    TEST_CASE_FIXTURE(Aging, "no more than the wrong hour goes when the clock jumps ahead") {
        at.options.retention.keep_ms = 10 * kHour;
        at.open();
        append("t", 300);
        at.clock.set(at.clock.wall_ms() + 10'000 * kHour);
        append("t", 200);
        delete_expired();
        CHECK(at.store->watermarks().first == LogOffset(0));
        check_served("t");
        CHECK(at.metrics.values().at("gantry_retention_clock_lag_milliseconds") > 9'000.0 * kHour);
        // Over a restart as well: it may have been stopped for the slack, not longer.
        at.options.retention.clock_slack_ms = 5 * kHour;
        at.open();
        delete_expired();
        CHECK(at.store->watermarks().first == LogOffset(0));
    }

    TEST_CASE_FIXTURE(Aging, "a full volume refuses appends, says so before, and deletes nothing") {
        at.options.volume_bytes_max = 6 * kTestSegmentBytes;
        at.open();
        append("t", 150);
        delete_expired();
        CHECK(at.store->retention_status().alarm.empty());
        append("t", 130);
        // Segments are made ahead, by another thread.
        std::string alarm;
        REQUIRE(harness::wait_until(kPatience, [&] {
            delete_expired();
            alarm = at.store->retention_status().alarm;
            return !alarm.empty();
        }));
        CHECK(alarm.find("sends are refused") != std::string::npos);
        Result<Appended> refused = Error{Errc::kClosed, ""};
        for (int i = 0; i < 500; ++i) {
            refused = at.append(at.queue("t"), {{numbered_body(number, 1'000), "", ""}});
            if (!refused) {
                break;
            }
            bodies["t"].push_back(numbered_body(number++, 1'000));
        }
        REQUIRE(code_of(refused) == Errc::kDiskFull);
        CHECK(refused.error().detail.find("store.volume_bytes_max 393216") != std::string::npos);
        delete_expired();
        CHECK(at.store->watermarks().first == LogOffset(0));
        check_served("t");
        // A limit that lets something go makes room again.
        at.options.retention.bytes_max = 4 * kTestSegmentBytes;
        at.open();
        delete_expired();
        const std::string body = numbered_body(number++, 1'000);
        REQUIRE(harness::wait_until(kPatience, [&] {
            return at.append(at.queue("t"), {{body, "", ""}}).has_value();
        }));
        bodies["t"].push_back(body);
        check_served("t");
    }

    TEST_CASE_FIXTURE(Aging, "told to, it deletes the oldest rather than refuse, and counts them") {
        at.options.volume_bytes_max = 6 * kTestSegmentBytes;
        at.options.retention.force = true;
        at.options.retention.check_ms = 10;
        at.open();
        append("t", 1);
        commit("slow", at.queue("t"), 1);
        // Appends may find the volume full until the helper threads have seen it.
        for (int i = 0; i < 1'000; ++i) {
            const std::string body = numbered_body(number, 1'000);
            REQUIRE(harness::wait_until(kPatience, [&] {
                flush();
                return at.append(at.queue("t"), {{body, "", ""}}).has_value();
            }));
            ++number;
            bodies["t"].push_back(body);
        }
        check_served("t");
        const std::int64_t min = min_of("t");
        CHECK(min > 500);
        CHECK(at.metrics.values().at("gantry_retention_forced_messages_total") ==
              static_cast<double>(min));
        CHECK(at.store->retention_status().unconsumed.at("slow") ==
              static_cast<std::uint64_t>(min - 1));
        CHECK(files_in("commitlog").size() <= 7);
    }

    TEST_CASE_FIXTURE(Aging, "a deletion that fails is finished by the next") {
        at.files = &faulty;
        at.options.retention.bytes_max = 4 * kTestSegmentBytes;
        at.open();
        append("t", 300);
        flush();
        const std::vector<FaultyFileSystem::Rule> rules{
            {.call = Call::kRename, .path_part = "checkpoint", .stays = false},
            {.call = Call::kRemove, .path_part = "checksum", .stays = false},
            {.call = Call::kRename, .path_part = "commitlog", .stays = false},
            {.call = Call::kSync, .path_part = "commitlog", .stays = false, .is_end = true}};
        for (const FaultyFileSystem::Rule& rule : rules) {
            const std::uint64_t before = faulty.failures();
            append("t", 100);
            flush();
            faulty.fail(rule);
            CHECK_FALSE(at.store->delete_expired());
            faulty.heal();
            CHECK(faulty.failures() == before + 1);
            check_served("t");
            delete_expired();
            check_served("t");
            CHECK(files_in("commitlog").front() == segment_name(at.store->watermarks().first));
        }
        check_is_good();
    }

    TEST_CASE_FIXTURE(Aging, "a deleted file that cannot be removed goes at the next start") {
        at.files = &faulty;
        at.options.retention.bytes_max = 4 * kTestSegmentBytes;
        at.open();
        append("t", 600);
        flush();
        const auto left_over = [this] {
            const auto names = files_in("commitlog");
            return std::count_if(names.begin(), names.end(), [](const std::string& name) {
                return name.ends_with(kDeletedSuffix);
            });
        };
        faulty.fail({.call = Call::kTruncate, .path_part = ".deleted"});
        delete_expired();
        CHECK(faulty.failures() > 0);
        CHECK(left_over() > 0);
        check_served("t");
        faulty.heal();
        pass_time(0);
        CHECK(left_over() == 0);
        check_served("t");
        check_is_good();
    }
}

}  // namespace
}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/import/rocketmq_import.h"

#include "protocol/wire/names.h"
#include "storage/check/store_check.h"
#include "storage/import/rocketmq_names.h"
#include "tests/storage/faulty_file_system.h"
#include "tests/storage/import/rocketmq_store.h"
#include "tests/storage/store_fixture.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

/// A source, and what is imported from it.
struct ImportFixture {
    Result<ImportReport> import() {
        options.source = folder.path() / "rocketmq";
        options.directory = folder.path() / "store";
        return import_rocketmq(*files, clock, options);
    }

    /// Imports, which must succeed without a difference, and opens the result.
    ImportReport open() {
        Result<ImportReport> report = import();
        if (!report) {
            FAIL("import: " << to_string(report.error()));
        }
        for (const std::string& difference : report->verification.differences) {
            FAIL_CHECK(difference);
        }
        REQUIRE(report->is_good());
        store.options.free_bytes_min = 0;
        store.open();
        return std::move(report).value();
    }

    /// Opens it again with everything but the log rebuilt.
    void rebuild() {
        REQUIRE(store.store->close());
        store.store.reset();
        for (const char* derived : {"consumequeue", "index", "state", "checkpoint"}) {
            fs::remove_all(folder.path() / "store" / derived);
        }
        store.open();
    }

    std::vector<std::string> bodies(const std::string& topic, std::int32_t queue_id = 0) {
        Topic* const found = store.store->find_topic(topic);
        REQUIRE(found != nullptr);
        Queue* const queue = found->queue(queue_id);
        REQUIRE(queue != nullptr);
        std::vector<std::string> all;
        for (QueueOffset at = queue->min(); at < queue->max();) {
            const ReadResult result = store.store->read(*queue, {.from = at});
            for (const LogRun& run : result.runs) {
                const Status walked = wire::for_each_record(
                    as_bytes(run_bytes(run)),
                    [&all](const std::byte*, const wire::Record& record) -> Status {
                        all.emplace_back(as_text(record.body));
                        return ok();
                    });
                REQUIRE(walked.has_value());
            }
            REQUIRE(result.next > at);
            at = result.next;
        }
        return all;
    }

    std::optional<std::int64_t> offset(const char* group, const char* topic, int queue = 0) {
        return store.store->state().offset(group, topic, queue);
    }

    bool is_check_good() {
        REQUIRE(store.store->close());
        store.store.reset();
        const auto report = check_store(*files, {.directory = folder.path() / "store"});
        REQUIRE(report.has_value());
        for (const Finding& finding : report->findings) {
            MESSAGE(finding.what);
        }
        return report->is_good;
    }

    TemporaryDirectory folder{fast_directory()};
    std::unique_ptr<FileSystem> posix = make_posix_file_system();
    FileSystem* files = posix.get();
    SystemClock clock;
    ImportOptions options;
    RocketMqStore source{folder.path() / "rocketmq"};
    StoreFixture store{folder.path() / "store"};
};

std::uint64_t count_of(const std::vector<ImportNote>& notes, const std::string& what) {
    std::uint64_t count = 0;
    for (const ImportNote& note : notes) {
        count += note.what == what ? note.count : 0;
    }
    return count;
}

std::vector<std::string> numbered(const std::string& prefix, int from, int to) {
    std::vector<std::string> all;
    for (int i = from; i < to; ++i) {
        all.push_back(prefix + std::to_string(i));
    }
    return all;
}

}  // namespace

TEST_SUITE("storage/import/rocketmq_import") {
    TEST_CASE("messages keep their offsets, definitions and committed offsets come along") {
        for (const bool strict : {false, true}) {
            CAPTURE(strict);
            ImportFixture f;
            const std::string retry = wire::retry_topic(std::string(120, 'g'));
            f.source.define_topic("orders", 2);
            f.source.define_topic(retry, 1);
            f.source.define_topic("closed", 4, 4);
            f.source.define_topic("TBW102", 8, 7);
            f.source.define_group("billing", 5);
            f.source.define_group("TOOLS_CONSUMER", 16);
            f.source.commit("billing", "orders", 0, 20);
            f.source.commit("billing", "orders", 1, 0);
            LogOffset some;
            for (int i = 0; i < 300; ++i) {
                some = f.source.put({"orders",
                                     i % 2,
                                     numbered_body(static_cast<std::size_t>(i), 200),
                                     rocket_properties({{"KEYS", "k" + std::to_string(i)},
                                                        {"TAGS", "t"},
                                                        {"zero", std::string(1, '\0')}}),
                                     0,
                                     i % 3 == 0});
            }
            f.source.put({retry, 0, "again"});
            f.source.write(strict);
            const ImportReport report = f.open();
            CHECK(report.records == 301);
            CHECK(report.verification.messages == 301);
            CHECK(report.end == f.source.end());
            CHECK(report.log.segments > 5);
            CHECK(f.store.recovery.was_clean);
            CHECK(f.store.store->record_at(some).value() ==
                  f.source.log_bytes(some, f.store.store->record_at(some)->size()));
            CHECK(f.bodies("orders", 1).size() == 150);
            CHECK(f.bodies(retry) == std::vector<std::string>{"again"});
            CHECK(f.offset("billing", "orders", 0) == 20);
            CHECK(f.offset("billing", "orders", 1) == 0);
            CHECK(f.store.store->state().group("billing")->retrymaxtimes() == 5);
            CHECK_FALSE(f.store.store->state().group("TOOLS_CONSUMER"));
            CHECK_FALSE(f.store.store->state().topic("TBW102"));
            CHECK(f.store.store->state().topic("closed")->perm() == 4);
            const Store::KeyQuery query{"orders", "k299", 0, INT64_MAX, 10};
            CHECK(f.store.store->find_by_key(query) == std::vector<LogOffset>{some});
            f.rebuild();
            CHECK(f.bodies("orders", 0).size() == 150);
            CHECK(f.offset("billing", "orders", 0) == 20);
            Queue& queue = f.store.queue("orders", 0);
            CHECK(f.store.append(queue, {{"new", "", ""}})->queue_offset == QueueOffset(150));
            CHECK(f.is_check_good());
        }
    }

    TEST_CASE("messages of deleted topics stay dead, also when everything is rebuilt") {
        ImportFixture f;
        f.source.define_topic("orders", 2);
        for (const std::string& body : numbered("first", 0, 7)) {
            f.source.put({"again", 0, body});
            f.source.put({"again", 1, body});
            f.source.put({"gone", 0, body});
            f.source.put({"orders", 0, body});
        }
        f.source.delete_topic("again");
        f.source.delete_topic("gone");
        f.source.define_topic("again", 2);
        for (const std::string& body : numbered("second", 0, 3)) {
            f.source.put({"again", 0, body});
        }
        f.source.commit("g", "gone", 0, 3);
        f.source.write();
        const ImportReport report = f.open();
        CHECK(count_of(report.plan.not_carried, "topic again") == 14);
        CHECK(count_of(report.plan.not_carried, "topic gone") == 7);
        CHECK(count_of(report.plan.not_carried, "offsets for topic gone") == 1);
        for (int round = 0; round < 2; ++round) {
            CAPTURE(round);
            CHECK(f.bodies("again", 0) == numbered("second", 0, 3));
            CHECK(f.bodies("again", 1).empty());
            CHECK(f.bodies("orders") == numbered("first", 0, 7));
            CHECK(f.store.store->find_topic("gone") == nullptr);
            f.rebuild();
        }
        CHECK(f.is_check_good());
    }

    TEST_CASE("without consume queues a queue offset that steps back begins a new life") {
        ImportFixture f;
        f.source.define_topic("again", 1);
        for (const std::string& body : numbered("first", 0, 5)) {
            f.source.put({"again", 0, body});
        }
        f.source.delete_topic("again");
        f.source.define_topic("again", 1);
        for (const std::string& body : numbered("second", 0, 3)) {
            f.source.put({"again", 0, body});
        }
        f.source.put({"unlisted", 3, "kept"});
        f.source.write();
        fs::remove_all(f.folder.path() / "rocketmq/consumequeue");
        const ImportReport report = f.open();
        CHECK(count_of(report.plan.warnings, "consumequeue") == 1);
        CHECK(count_of(report.plan.not_carried, "topic again") == 5);
        CHECK(f.bodies("again") == numbered("second", 0, 3));
        // Nothing says that it was deleted.
        CHECK(count_of(report.plan.warnings, "topic unlisted") == 4);
        CHECK(f.bodies("unlisted", 3) == std::vector<std::string>{"kept"});
        f.rebuild();
        CHECK(f.bodies("again") == numbered("second", 0, 3));
    }

    TEST_CASE("a log whose first segments expired begins there, empty queues keep their offsets") {
        ImportFixture f;
        f.source.define_topic("old", 2);
        f.source.define_topic("new", 1);
        for (int i = 0; i < 60; ++i) {
            f.source.put({"old", i % 2, numbered_body(1, 250)});
        }
        for (int i = 0; i < 200; ++i) {
            f.source.put({"new", 0, numbered_body(2, 250)});
        }
        f.source.commit("g", "old", 0, 30);
        f.source.commit("g", "new", 0, 10);
        f.source.expire(2);
        f.source.write();
        const ImportReport report = f.open();
        CHECK(report.first == LogOffset(2 * (16 << 10)));
        CHECK(report.verification.messages < 200);
        for (int round = 0; round < 2; ++round) {
            CAPTURE(round);
            CHECK(f.store.queue("old", 1).min() == QueueOffset(30));
            CHECK(f.store.queue("old", 1).max() == QueueOffset(30));
            CHECK(f.store.queue("new").min() > QueueOffset(0));
            CHECK(f.store.queue("new").max() == QueueOffset(200));
            CHECK(f.bodies("old").empty());
            CHECK(f.offset("g", "old") == 30);
            f.rebuild();
        }
        Queue& queue = f.store.queue("old", 0);
        CHECK(f.store.append(queue, {{"next", "", ""}})->queue_offset == QueueOffset(30));
        CHECK(f.bodies("old") == std::vector<std::string>{"next"});
        CHECK(f.is_check_good());
    }

    TEST_CASE("config files: the copy of a bad one is used, what is in neither is a warning") {
        ImportFixture f;
        f.source.define_topic("orders", 1);
        f.source.define_group("billing", 5);
        f.source.put({"orders", 0, "one"});
        f.source.put({"unlisted", 2, "two"});
        f.source.set_config("subscriptionGroup.json", "{ torn");
        f.source.set_config("subscriptionGroup.json.bak",
                            R"({"subscriptionGroupTable":{"billing":{"retryMaxTimes":3}}})");
        f.source.set_config("topics.json", "");
        f.source.set_config("consumerOffset.json",
                            R"({"offsetTable":{"orders@billing":{0:1,"x":2},"nonsense":{0:1}}})");
        f.source.write();
        const ImportReport report = f.open();
        CHECK(count_of(report.plan.warnings, "subscriptionGroup.json") == 1);
        CHECK(count_of(report.plan.warnings, "topics.json") == 1);
        CHECK(count_of(report.plan.not_carried, "consumerOffset.json: orders@billing") == 1);
        CHECK(count_of(report.plan.not_carried, "consumerOffset.json: nonsense") == 1);
        CHECK(f.store.store->state().group("billing")->retrymaxtimes() == 3);
        CHECK(f.bodies("orders") == std::vector<std::string>{"one"});
        CHECK(f.bodies("unlisted", 2) == std::vector<std::string>{"two"});
        CHECK(f.offset("billing", "orders") == 1);
    }

    TEST_CASE("an offset behind its queue's end is taken as the end, and told") {
        ImportFixture f;
        f.source.define_topic("orders", 1);
        f.source.put({"orders", 0, "one"});
        f.source.commit("g", "orders", 0, 99);
        f.source.commit("g", "elsewhere", 0, 5);
        f.source.write();
        const ImportReport report = f.open();
        CHECK(f.offset("g", "orders") == 1);
        CHECK(count_of(report.plan.warnings, "offset of group g for topic orders queue 0") == 1);
        CHECK(count_of(report.plan.not_carried, "offsets for topic elsewhere") == 1);
    }

    TEST_CASE("delayed messages go on where RocketMQ's delivery stood") {
        for (const bool is_known : {true, false}) {
            CAPTURE(is_known);
            ImportFixture f;
            const std::string topic(rocketmq::kDelayTopic);
            f.source.define_topic("orders", 1);
            f.source.define_topic(topic, 18);
            constexpr WallMs kBegin = 1'700'000'000'000;
            for (int i = 0; i < 5; ++i) {  // level 3 is 10 s
                f.source.put({topic, 2, "later", "", 0, false, {}, kBegin + i * 5'000});
            }
            f.source.put({topic, 0, "delivered", "", 0, false, {}, kBegin});
            if (is_known) {
                f.source.commit_delay(3, 4);
                f.source.commit_delay(1, 1);
            }
            f.source.write();
            const ImportReport report = f.open();
            const char* const group = rocketmq::kDelayGroup.data();
            CHECK(f.offset(group, topic.c_str(), 2) == (is_known ? 4 : 3));
            CHECK(f.offset(group, topic.c_str(), 0) == 1);
            CHECK(report.plan.delayed.at(3) == (is_known ? 1U : 2U));
            CHECK(report.plan.delayed.size() == 1);
            CHECK(count_of(report.plan.warnings, "delayOffset.json") == (is_known ? 0 : 1));
        }
    }

    TEST_CASE("what RocketMQ kept from consumers stays away, what it had not finished is counted") {
        ImportFixture f;
        const std::string half(rocketmq::kHalfTopic);
        f.source.define_topic("orders", 1);
        f.source.define_topic(half, 1);
        f.source.put({"orders", 0, "one"});
        f.source.put({"orders", 0, "prepared", "", wire::sys_flag::kTransactionPrepared, false, 0});
        f.source.put({"orders", 0, "back", "", wire::sys_flag::kTransactionRollback, false, 0});
        f.source.put({"orders", 0, "two", "", wire::sys_flag::kTransactionCommit});
        for (int i = 0; i < 6; ++i) {
            f.source.put({half, 0, "half"});
        }
        f.source.put({std::string(rocketmq::kOutcomeTopic), 0, "2,4,"});
        f.source.commit(std::string(rocketmq::kHalfGroup), half, 0, 2);
        f.source.put({std::string(rocketmq::kTimerTopic),
                      0,
                      "timer",
                      rocket_properties({{"TIMER_OUT_MS", "1900000000000"}})});
        f.source.write();
        const ImportReport report = f.open();
        CHECK(f.bodies("orders") == std::vector<std::string>{"one", "two"});
        CHECK(count_of(report.plan.not_carried, "transactions without an outcome") == 2);
        CHECK(count_of(report.plan.not_carried, "timer messages (any delay)") == 1);
        CHECK(count_of(report.plan.not_carried,
                       "prepared or rolled back records in topics of their own") == 2);
        f.rebuild();
        CHECK(f.bodies("orders") == std::vector<std::string>{"one", "two"});
        CHECK(f.is_check_good());
    }

    TEST_CASE("gaps in the queue offsets stay gaps") {
        ImportFixture f;
        f.source.define_topic("orders", 1);
        f.source.put({"orders", 0, "one"});
        f.source.put({"orders", 0, "two", "", 0, false, 10});
        f.source.write();
        const ImportReport report = f.open();
        CHECK(count_of(report.plan.warnings, "topic orders") == 9);
        CHECK(f.store.queue("orders").max() == QueueOffset(11));
        CHECK(f.bodies("orders") == std::vector<std::string>{"one", "two"});
        f.rebuild();
        CHECK(f.bodies("orders") == std::vector<std::string>{"one", "two"});
        CHECK(f.is_check_good());
    }

    TEST_CASE("a torn tail is cut and told") {
        ImportFixture f;
        f.source.define_topic("orders", 1);
        f.source.put({"orders", 0, "one"});
        const LogOffset torn = f.source.put({"orders", 0, "two"});
        f.source.write();
        f.source.flip(torn + 90);
        const ImportReport report = f.open();
        CHECK(report.end == torn);
        CHECK(count_of(report.plan.warnings, "end of the log") > 0);
        CHECK(f.bodies("orders") == std::vector<std::string>{"one"});
    }
}

TEST_SUITE("storage/import/rocketmq_import refuses") {
    TEST_CASE("a log that is damaged in the middle, naming each place") {
        ImportFixture f;
        f.source.define_topic("orders", 1);
        f.source.put({"orders", 0, "one"});
        const LogOffset bad = f.source.put({"orders", 0, "two"});
        f.source.put({"orders", 0, "three"});
        f.source.write();
        f.source.flip(bad + 90);
        const auto report = f.import();
        CHECK(code_of(report) == Errc::kCorrupt);
        CHECK(report.error().detail.find("log offset " + std::to_string(bad.value)) !=
              std::string::npos);
        CHECK_FALSE(fs::exists(f.folder.path() / "store"));
    }

    TEST_CASE("a log with a segment missing") {
        ImportFixture f;
        f.source.define_topic("orders", 1);
        for (int i = 0; i < 200; ++i) {
            f.source.put({"orders", 0, numbered_body(3, 200)});
        }
        f.source.write();
        fs::remove(f.source.segment_path(LogOffset(16 << 10)));
        const auto report = f.import();
        CHECK(code_of(report) == Errc::kCorrupt);
        CHECK(report.error().detail.find("log offset 16384, 16384 B") != std::string::npos);
    }

    TEST_CASE("a target that is not empty, and a source that is no RocketMQ store") {
        ImportFixture f;
        f.source.put({"orders", 0, "one"});
        CHECK(code_of(f.import()) == Errc::kNotFound);
        f.source.write();
        fs::create_directories(f.folder.path() / "store/something");
        CHECK(code_of(f.import()) == Errc::kRefused);
        fs::remove_all(f.folder.path() / "store");
        fs::create_directories(f.folder.path() / "rocketmq/dledger-n0");
        const auto raft = f.import();
        CHECK(code_of(raft) == Errc::kRefused);
        CHECK(raft.error().detail.find("dledger-n0") != std::string::npos);
        fs::remove_all(f.folder.path() / "rocketmq/dledger-n0");
        fs::create_directories(f.folder.path() / "rocketmq/checksum");
        CHECK(code_of(f.import()) == Errc::kRefused);
        fs::remove_all(f.folder.path() / "rocketmq/checksum");
        f.open();
    }

    TEST_CASE("a source that a RocketMQ broker has open") {
        ImportFixture f;
        f.source.put({"orders", 0, "one"});
        f.source.write();
        std::array<int, 2> ready{};
        REQUIRE(::pipe(ready.data()) == 0);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            const int fd = ::open((f.folder.path() / "rocketmq/lock").c_str(), O_RDWR);

            struct flock lock {};

            lock.l_type = F_WRLCK;
            lock.l_whence = SEEK_SET;
            const char is_locked = ::fcntl(fd, F_SETLK, &lock) == 0 ? 'y' : 'n';
            static_cast<void>(::write(ready[1], &is_locked, 1));
            ::pause();
            ::_exit(0);
        }
        char is_locked = '?';
        REQUIRE(::read(ready[0], &is_locked, 1) == 1);
        CHECK(is_locked == 'y');
        const auto report = f.import();
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        ::close(ready[0]);
        ::close(ready[1]);
        CHECK(code_of(report) == Errc::kConflict);
        CHECK(report.error().detail.find(std::to_string(child)) != std::string::npos);
        f.open();
    }

    TEST_CASE("a volume without the room, with numbers, before anything is written") {
        ImportFixture f;
        FaultyFileSystem full;
        f.files = &full;
        full.set_free_bytes(1'000'000);
        f.source.put({"orders", 0, "one"});
        f.source.write();
        const auto report = f.import();
        CHECK(code_of(report) == Errc::kDiskFull);
        CHECK(report.error().detail.find("1000000 B free") != std::string::npos);
        CHECK_FALSE(fs::exists(f.folder.path() / "store.importing"));
    }

    TEST_CASE("to publish what differs from the source") {
        ImportFixture f;
        f.source.define_topic("orders", 1);
        std::vector<LogOffset> at;
        for (int i = 0; i < 3; ++i) {
            at.push_back(f.source.put({"orders", 0, numbered_body(4, 100)}));
        }
        f.source.write();
        // Changed behind the scan's back: what is copied is not what is compared.
        f.options.on_progress = [&](std::string_view stage, std::uint64_t, std::uint64_t) {
            if (stage == "indexing") {
                f.source.flip(at[1] + 100);
            }
        };
        const auto report = f.import();
        REQUIRE(report.has_value());
        CHECK_FALSE(report->is_good());
        REQUIRE(report->verification.differences.size() == 1);
        CHECK(report->verification.differences[0].find("topic orders queue 0 offset 1") == 0);
        CHECK_FALSE(fs::exists(f.folder.path() / "store"));
        CHECK(fs::exists(f.folder.path() / "store.importing"));
        // The next import starts over.
        f.options.on_progress = nullptr;
        f.source.write();
        f.open();
        CHECK_FALSE(fs::exists(f.folder.path() / "store.importing"));
    }
}

TEST_SUITE("storage/import/rocketmq_import options") {
    TEST_CASE("full segments can be linked, and the source is never written to") {
        ImportFixture f;
        f.source.define_topic("orders", 1);
        for (int i = 0; i < 200; ++i) {
            f.source.put({"orders", 0, numbered_body(5, 200)});
        }
        f.source.write();
        f.options.is_linked = true;
        const ImportReport report = f.open();
        CHECK(report.log.segments_linked == report.log.segments - 1);
        CHECK(fs::hard_link_count(f.source.segment_path(LogOffset(0))) == 2);
        CHECK(fs::hard_link_count(f.source.segment_path(f.source.end())) == 1);
        for (int i = 0; i < 100; ++i) {
            REQUIRE(f.store.append(f.store.queue("orders"), {{numbered_body(6, 300), "", ""}}));
        }
        f.rebuild();
        CHECK(f.bodies("orders").size() == 300);
        CHECK(f.is_check_good());
        const fs::path last = f.source.segment_path(f.source.end() - 1);
        std::ifstream written(last, std::ios::binary);
        const std::string bytes((std::istreambuf_iterator<char>(written)), {});
        const auto used = static_cast<std::size_t>(f.source.end().value % (16 << 10));
        CHECK(bytes.substr(0, used) ==
              f.source.log_bytes(f.source.end() - static_cast<std::int64_t>(used), used));
        CHECK(bytes.find_first_not_of('\0', used) == std::string::npos);
    }

    TEST_CASE("a dry run says what would be done and writes nothing") {
        ImportFixture f;
        f.source.define_topic("orders", 1);
        f.source.put({"orders", 0, "one"});
        f.source.write();
        f.options.is_dry = true;
        const auto report = f.import();
        REQUIRE(report.has_value());
        CHECK(report->plan.topics.size() == 1);
        CHECK_FALSE(fs::exists(f.folder.path() / "store"));
        CHECK_FALSE(fs::exists(f.folder.path() / "store.importing"));
    }

    TEST_CASE("messages older than a broker keeps them by default are told") {
        for (const std::int64_t hours : {std::int64_t{71}, std::int64_t{74}}) {
            CAPTURE(hours);
            ImportFixture f;
            f.source.define_topic("orders", 1);
            f.source.put({.topic = "orders",
                          .body = "old",
                          .store_ms = f.clock.wall_ms() - hours * 3'600'000});
            f.source.write();
            f.options.is_dry = true;
            const auto report = f.import();
            REQUIRE(report.has_value());
            CHECK(count_of(report->plan.warnings, "age in hours of the oldest message") ==
                  (hours == 74 ? 74 : 0));
        }
    }
}

}  // namespace gantry::storage

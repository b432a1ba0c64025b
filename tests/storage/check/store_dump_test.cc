// SPDX-License-Identifier: Apache-2.0
#include "storage/check/store_dump.h"

#include "storage/topic_table.h"
#include "tests/storage/check/stopped_store.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace gantry::storage {
namespace {

/// What a dump said.
struct Dumped {
    std::vector<LogOffset> records;  ///< without those of the state topic
    std::vector<std::string> names;  ///< "topic queue offset"
    std::vector<DumpItem> bad;       ///< without the record
    std::vector<std::string> bad_names;
    DumpSummary summary;
};

Dumped dump(const StoppedStore& store, DumpOptions options = {}) {
    options.directory = store.directory();
    Dumped dumped;
    const auto each = [&dumped](const DumpItem& item) -> Status {
        const std::string name = item.record == nullptr
                                     ? std::string()
                                     : std::string(item.record->topic) + ' ' +
                                           std::to_string(item.record->queue_id) + ' ' +
                                           std::to_string(item.record->queue_offset.value);
        if (item.kind != DumpItem::Kind::kRecord) {
            dumped.bad.push_back(item);
            dumped.bad.back().record = nullptr;
            dumped.bad_names.push_back(name);
        } else if (item.record->topic != kStateTopic) {
            dumped.records.push_back(item.at);
            dumped.names.push_back(name);
        }
        return ok();
    };
    const auto summary = dump_store(*store.at.files, options, each);
    if (!summary) {
        FAIL("dump: " << to_string(summary.error()));
    }
    dumped.summary = *summary;
    return dumped;
}

std::vector<LogOffset> places_of(const StoppedStore& store) {
    std::vector<LogOffset> all;
    for (const Appended& appended : store.places) {
        all.push_back(appended.first);
    }
    return all;
}

}  // namespace

TEST_SUITE("storage/check/store_dump") {
    TEST_CASE("all records come in log order, and nothing of the store changes") {
        const StoppedStore store(500);
        const auto before = store.contents();
        const Dumped all = dump(store);
        CHECK(all.records == places_of(store));
        CHECK(all.summary.is_good());
        CHECK(all.summary.end == store.places.back().end);
        CHECK(all.bad.empty());
        CHECK(store.contents() == before);
    }

    TEST_CASE("records are selected by topic, queue, offsets, key and time") {
        const StoppedStore store(60);
        CHECK(dump(store, {.topic = "orders"}).records.size() == 20);
        const Dumped queue = dump(store, {.topic = "orders", .queue_id = 1});
        REQUIRE(queue.names.size() == 10);
        CHECK(queue.names.front() == "orders 1 0");
        const Dumped some =
            dump(store, {.topic = "orders", .queue_id = 1, .queue_from = 3, .queue_to = 5});
        CHECK(some.names == std::vector<std::string>{"orders 1 3", "orders 1 4"});
        CHECK(dump(store, {.key = "key-17"}).records ==
              std::vector<LogOffset>{store.places[17].first});
        CHECK(dump(store, {.key = "key"}).records.empty());
        const Dumped timed =
            dump(store, {.since = 1'700'000'000'000 + 10'000, .until = 1'700'000'000'000 + 12'000});
        CHECK(timed.records == std::vector<LogOffset>{store.places[10].first,
                                                      store.places[11].first,
                                                      store.places[12].first});
        CHECK(dump(store, {.limit = 5}).summary.records == 5);
    }

    TEST_CASE("a range of log offsets begins with the first record in it") {
        const StoppedStore store(400);
        const Dumped exact =
            dump(store, {.from = store.places[300].first, .to = store.places[302].first});
        CHECK(exact.records ==
              std::vector<LogOffset>{store.places[300].first, store.places[301].first});
        const Dumped inside =
            dump(store, {.from = store.places[300].first + 1, .to = store.places[302].first});
        CHECK(inside.records == std::vector<LogOffset>{store.places[301].first});
        CHECK(inside.bad.empty());
    }

    TEST_CASE("damage is told between the records around it, and those are all there") {
        const StoppedStore store(300);
        store.flip(store.places[100].first + 120);  // a body
        store.flip(store.places[200].first + 5);    // a magic
        const Dumped all = dump(store);
        CHECK(all.records.size() == 298);
        CHECK_FALSE(all.summary.is_good());
        REQUIRE(all.bad.size() == 2);
        CHECK(all.bad[0].at == store.places[100].first);
        CHECK(all.bad[0].bytes == bytes_between(store.places[100].first, store.places[100].end));
        CHECK(all.bad_names[0] ==
              "payments 0 " + std::to_string(store.places[100].queue_offset.value));
        CHECK(all.bad[1].at == store.places[200].first);
        CHECK(all.bad[1].bytes == bytes_between(store.places[200].first, store.places[200].end));
        CHECK(all.bad[1].kind == DumpItem::Kind::kDamage);
    }

    TEST_CASE("a missing segment is one damage, as long as the segment") {
        const StoppedStore store(500);
        const LogOffset in_second(static_cast<std::int64_t>(kTestSegmentBytes));
        std::filesystem::remove(store.segment(in_second));
        const Dumped all = dump(store);
        REQUIRE(all.bad.size() == 1);
        CHECK(all.bad[0].at == in_second);
        CHECK(all.bad[0].bytes == kTestSegmentBytes);
        CHECK(all.records.size() < 500);
        CHECK(all.records.back() == store.places.back().first);
    }

    TEST_CASE("bytes behind the end that were never durable are a tail and no damage") {
        const StoppedStore store(10);
        const LogOffset end = store.places.back().end;
        {
            std::fstream file(store.segment(end), std::ios::in | std::ios::out | std::ios::binary);
            file.seekp(static_cast<std::streamoff>(end.value + 40));
            file << "torn";
        }
        const Dumped all = dump(store);
        CHECK(all.records.size() == 10);
        REQUIRE(all.bad.size() == 1);
        CHECK(all.bad[0].kind == DumpItem::Kind::kTail);
        CHECK(all.summary.is_good());
    }

    TEST_CASE("a store that is open is refused, and read live as far as it is durable") {
        StoppedStore store(20);
        store.at.open();
        const auto none = [](const DumpItem&) -> Status { return ok(); };
        CHECK(code_of(dump_store(*store.at.files, {.directory = store.directory()}, none)) ==
              Errc::kConflict);
        const Dumped live = dump(store, {.is_live = true});
        CHECK(live.records == places_of(store));
        CHECK(live.summary.is_good());
        store.stop();
        CHECK(code_of(dump_store(*store.at.files, {.directory = "/nonexistent"}, none)) ==
              Errc::kNotFound);
    }
}

}  // namespace gantry::storage

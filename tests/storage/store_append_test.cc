// SPDX-License-Identifier: Apache-2.0
#include "tests/storage/store_fixture.h"

#include <algorithm>
#include <map>
#include <thread>

namespace gantry::storage {
namespace {

TEST_SUITE("storage/store_append") {
    TEST_CASE("a record sent in stored form is kept as it is but for what the broker sets") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("orders", 3);
        const std::string sent = stored("orders", 3, {"body", "red", ""});
        const auto appended = at.store->append_records(queue, as_bytes(sent), 1, false);
        REQUIRE(appended);
        CHECK(appended->queue_offset == QueueOffset(0));
        CHECK(appended->count == 1);
        CHECK(appended->store_ms == at.clock.wall_ms());
        CHECK(appended->end - appended->first == static_cast<std::int64_t>(sent.size()));

        const auto bytes = at.store->record_at(appended->first);
        REQUIRE(bytes);
        const auto record = wire::parse_record(as_bytes(*bytes));
        REQUIRE(record);
        CHECK(record->log_offset == appended->first);
        CHECK(record->queue_offset == QueueOffset(0));
        CHECK(record->store_ms == at.clock.wall_ms());
        CHECK(record->store_host == at.options.store_host);
        CHECK(as_text(record->body) == "body");
        std::string expected = sent;
        wire::patch_record(
            reinterpret_cast<std::byte*>(expected.data()),
            {QueueOffset(0), appended->first, at.clock.wall_ms(), at.options.store_host});
        CHECK(*bytes == expected);
    }

    TEST_CASE("a batch takes adjacent log bytes and consecutive queue offsets") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        REQUIRE(at.append(queue, {{"a", "", ""}, {"b", "", ""}, {"c", "", ""}}));
        const auto second = at.append(queue, {{"d", "", ""}, {"e", "", ""}});
        REQUIRE(second);
        CHECK(second->queue_offset == QueueOffset(3));
        CHECK(second->count == 2);
        CHECK(queue.max() == QueueOffset(5));
        CHECK(read_bodies(*at.store, queue) == std::vector<std::string>{"a", "b", "c", "d", "e"});
    }

    TEST_CASE("messages of stock clients are encoded with the queue's topic and id") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t", 2);
        wire::Record one;
        one.body = as_bytes("one");
        wire::Record two;
        two.body = as_bytes("two");
        two.properties = "KEYS\x01k1 k2\x02";
        const std::vector<wire::Record> messages{one, two};
        const auto appended = at.store->append_messages(queue, messages);
        REQUIRE(appended);
        CHECK(appended->count == 2);
        CHECK(read_bodies(*at.store, queue) == std::vector<std::string>{"one", "two"});
        const auto found = at.store->find_by_key(
            {.topic = "t", .key = "k2", .begin = 0, .end = at.clock.wall_ms()});
        REQUIRE(found.size() == 1);
        const std::string bytes = at.store->record_at(found[0]).value();
        CHECK(as_text(wire::parse_record(as_bytes(bytes)).value().body) == "two");
        CHECK(code_of(at.store->append_messages(queue, {})) == Errc::kRefused);
    }

    TEST_CASE("a batch is refused whole when one record is wrong, and the error says what") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t", 1);
        const std::string good = stored("t", 1, {"good", "", ""});
        const Watermarks before = at.store->watermarks();
        const auto refusal = [&](const std::string& bytes, std::uint32_t count) {
            const auto result = at.store->append_records(queue, as_bytes(bytes), count, false);
            REQUIRE_FALSE(result);
            return to_string(result.error());
        };
        CHECK(refusal(good + stored("other", 1, {"x", "", ""}), 2).find("\"other\"") !=
              std::string::npos);
        CHECK(refusal(good + stored("t", 2, {"x", "", ""}), 2).find("queue 2") !=
              std::string::npos);
        CHECK(refusal(good + good, 1).find("count") != std::string::npos);
        CHECK(refusal(good, 2).find("count") != std::string::npos);
        CHECK(refusal(good, 0).find("count") != std::string::npos);
        CHECK(refusal("", 0).find("count") != std::string::npos);
        CHECK(refusal(good + good.substr(0, good.size() - 1), 2).find("record") !=
              std::string::npos);
        std::string torn = good;
        torn[5] = 'x';
        CHECK(refusal(good + torn, 2).find("magic") != std::string::npos);
        CHECK(refusal(stored("t", 1, {std::string(20'000, 'x'), "", ""}), 1)
                  .find("store.record_bytes_max 16384 B") != std::string::npos);
        CHECK(at.store->watermarks().appended == before.appended);
        CHECK(queue.max() == QueueOffset(0));
    }

    TEST_CASE("records that leave room for a store host of the other family are refused") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.options.store_host = wire::parse_host("[fd00::1]:10911").value();
        at.open();
        const auto result = at.append(at.queue("t"), {{"x", "", ""}});
        CHECK(code_of(result) == Errc::kRefused);
        CHECK(result.error().detail.find("IPv4") != std::string::npos);
    }

    TEST_CASE("a batch larger than a segment is refused, with both sizes") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        const std::vector<TestMessage> batch(10, {std::string(8'000, 'x'), "", ""});
        const auto result = at.append(queue, batch);
        CHECK(code_of(result) == Errc::kRefused);
        CHECK(result.error().detail.find("65536") != std::string::npos);
        CHECK(result.error().detail.find("store.segment_bytes") != std::string::npos);
        REQUIRE(at.append(queue, {{"fits", "", ""}}));
    }

    TEST_CASE("a record that does not fit goes to the next segment, behind a blank record") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        std::vector<std::string> expected;
        for (std::size_t i = 0; i < 300; ++i) {
            expected.push_back(numbered_body(i, 200 + (i * 37) % 1'500));
            const auto appended = at.append(queue, {{expected.back(), "", ""}});
            REQUIRE(appended);
            const std::int64_t segment = kTestSegmentBytes;
            CHECK(appended->first.value / segment == (appended->end.value - 1) / segment);
        }
        CHECK(at.store->watermarks().appended.value > std::int64_t{3 * kTestSegmentBytes});
        CHECK(read_bodies(*at.store, queue) == expected);
        REQUIRE(at.store->close());

        const auto file = at.posix->open(directory.path() / "commitlog/00000000000000000000",
                                         FileSystem::Open::kRead);
        REQUIRE(file);
        std::string segment(kTestSegmentBytes, '\0');
        REQUIRE(
            (*file)->read_at(0, {reinterpret_cast<std::byte*>(segment.data()), segment.size()}));
        Bytes left = as_bytes(segment);
        while (left.size() >= 8 && load_be<std::uint32_t>(left.data() + 4) != wire::kMagicBlank) {
            const auto record = wire::parse_record(left);
            REQUIRE(record);
            left = left.subspan(record->stored_bytes);
        }
        REQUIRE(left.size() >= 8);
        CHECK(load_be<std::uint32_t>(left.data()) == left.size());
    }

    TEST_CASE("several threads append: every message once, each queue in order, no hole") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.options.segment_bytes = 1 << 20;
        at.open();
        constexpr std::size_t kThreads = 4;
        constexpr std::size_t kEach = 400;
        std::vector<Queue*> queues;
        for (std::int32_t i = 0; i < 2; ++i) {
            queues.push_back(&at.queue("t", i));
        }
        std::vector<std::thread> threads;
        std::atomic<std::size_t> failures{0};
        for (std::size_t t = 0; t < kThreads; ++t) {
            threads.emplace_back([&, t] {
                for (std::size_t i = 0; i < kEach; ++i) {
                    Queue& queue = *queues[t % 2];
                    const auto appended =
                        at.append(queue, {{std::to_string(t) + ':' + std::to_string(i), "", ""}});
                    // Readable on return: that is what publishing in order is for.
                    failures += !appended || at.store->watermarks().appended < appended->end ||
                                queue.max() <= appended->queue_offset;
                }
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        CHECK(failures == 0);
        std::map<char, std::size_t> next;
        for (const Queue* queue : queues) {
            const std::vector<std::string> bodies = read_bodies(*at.store, *queue);
            CHECK(bodies.size() == kThreads / 2 * kEach);
            for (const std::string& body : bodies) {
                CHECK(body.substr(2) == std::to_string(next[body[0]]++));
            }
        }
        CHECK(next.size() == kThreads);
    }

    TEST_CASE("store times never go back, also when the clock does") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        at.clock.set(2'000'000'000'000);
        const auto first = at.append(queue, {{"a", "", ""}});
        at.clock.set(1'900'000'000'000);
        const auto second = at.append(queue, {{"b", "", ""}});
        REQUIRE(first);
        REQUIRE(second);
        CHECK(second->store_ms == first->store_ms);
    }

    TEST_CASE("nothing is appended after close") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        REQUIRE(at.append(queue, {{"a", "", ""}}));
        REQUIRE(at.store->close());
        REQUIRE(at.store->close());
        CHECK(code_of(at.append(queue, {{"b", "", ""}})) == Errc::kClosed);
    }
}

}  // namespace
}  // namespace gantry::storage

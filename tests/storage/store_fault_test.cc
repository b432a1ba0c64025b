// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/wait.h"
#include "tests/storage/faulty_file_system.h"
#include "tests/storage/store_fixture.h"

#include <atomic>
#include <chrono>

namespace gantry::storage {
namespace {

/// Waits for a condition that another thread makes true.
template <class Condition>
void wait_for(Condition&& condition) {
    REQUIRE(harness::wait_until(std::chrono::seconds(30), condition));
}

/// Appends until the store refuses; returns the code of the refusal.
Errc append_until_refused(StoreFixture& at, Queue& queue, std::vector<std::string>& accepted) {
    for (std::size_t i = 0; i < 10'000; ++i) {
        const std::string body = numbered_body(accepted.size(), 1'000);
        const auto appended = at.append(queue, {{body, "", ""}});
        if (!appended) {
            return appended.error().code;
        }
        accepted.push_back(body);
    }
    FAIL("10 000 appends were accepted");
    return Errc::kRefused;
}

TEST_SUITE("storage/store_faults") {
    TEST_CASE("no room for the next segment is kDiskFull, loses nothing, and goes away") {
        const TemporaryDirectory directory;
        FaultyFileSystem faulty;
        StoreFixture at(directory.path());
        at.files = &faulty;
        at.open();
        std::vector<std::string> accepted;
        SUBCASE("allocation fails") {
            faulty.fail(
                {.call = Call::kAllocate, .path_part = "commitlog", .code = Errc::kDiskFull});
        }
        SUBCASE("free space is below the reserve") {
            at.store.reset();
            at.options.free_bytes_min = 1 << 20;
            at.open();
            faulty.set_free_bytes((1 << 20) + kTestSegmentBytes - 1);
        }
        Queue& queue = at.queue("t");
        REQUIRE(append_until_refused(at, queue, accepted) == Errc::kDiskFull);
        CHECK(accepted.size() > 1);
        CHECK(read_bodies(*at.store, queue) == accepted);
        const Watermarks full = at.store->watermarks();
        CHECK(full.appended.value <= static_cast<std::int64_t>(kTestSegmentBytes) * 2);
        // Consumers still commit and read; small records still fit in what is left.
        CHECK(at.store->read_only_reason().empty());

        faulty.heal();
        faulty.set_free_bytes(std::nullopt);
        wait_for([&] {
            const std::string body = numbered_body(accepted.size(), 1'000);
            const auto appended = at.append(queue, {{body, "", ""}});
            if (appended) {
                accepted.push_back(body);
            }
            return appended.has_value();
        });
        CHECK(read_bodies(*at.store, queue) == accepted);
        at.store.reset();
        faulty.heal();
        at.open();
        CHECK(at.recovery.was_clean);
        CHECK(read_bodies(*at.store, at.queue("t")) == accepted);
    }

    TEST_CASE("a store opens on a full disk, serves readers and says kDiskFull to writers") {
        const TemporaryDirectory directory;
        FaultyFileSystem faulty;
        StoreFixture at(directory.path());
        at.files = &faulty;
        at.open();
        std::vector<std::string> accepted;
        faulty.fail(
            {.call = Call::kAllocate, .path_part = "commitlog", .nth = 2, .code = Errc::kDiskFull});
        REQUIRE(append_until_refused(at, at.queue("t"), accepted) == Errc::kDiskFull);
        faulty.heal();
        at.store.reset();
        faulty.set_free_bytes(0);
        at.open();
        Queue& queue = at.queue("t");
        CHECK(read_bodies(*at.store, queue) == accepted);
        CHECK(append_until_refused(at, queue, accepted) == Errc::kDiskFull);
    }

    TEST_CASE("after a failed sync nothing is acknowledged or appended, and readers go on") {
        const TemporaryDirectory directory;
        FaultyFileSystem faulty;
        StoreFixture at(directory.path());
        at.files = &faulty;
        at.options.flush = FlushMode::kSync;
        at.open();
        Queue& queue = at.queue("t");
        const auto durable = at.append(queue, {{"durable", "", ""}});
        REQUIRE(durable);
        at.store->flush_soon();
        wait_for([&] { return at.store->watermarks().flushed >= durable->end; });
        std::atomic<int> progress{0};
        at.store->on_progress([&] { ++progress; });

        faulty.fail({.call = Call::kSync, .path_part = "commitlog/0", .stays = false});
        const auto lost = at.append(queue, {{"lost", "", ""}});
        REQUIRE(lost);
        at.store->flush_soon();
        wait_for([&] { return !at.store->read_only_reason().empty(); });
        wait_for([&] { return progress > 0; });
        CHECK(at.store->read_only_reason().find("injected failure") != std::string::npos);
        CHECK(code_of(at.append(queue, {{"refused", "", ""}})) == Errc::kReadOnly);
        // The next sync would succeed; it must not be asked, or not be believed.
        at.store->flush_soon();
        CHECK(code_of(at.store->close()) == Errc::kReadOnly);
        CHECK(at.store->watermarks().flushed == durable->end);
        CHECK(at.store->watermarks().confirmed == durable->end);
        CHECK(read_bodies(*at.store, queue) == std::vector<std::string>{"durable"});

        at.files = at.posix.get();
        at.open();
        CHECK_FALSE(at.recovery.was_clean);
        REQUIRE(at.append(at.queue("t"), {{"again", "", ""}}));
    }

    TEST_CASE("a second open of the same directory is kConflict and names it") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        StoreFixture second(directory.path());
        const auto opened = second.try_open();
        CHECK(code_of(opened) == Errc::kConflict);
        CHECK(opened.error().detail.find(directory.path().string()) != std::string::npos);
        REQUIRE(at.append(at.queue("t"), {{"unharmed", "", ""}}));
    }

    TEST_CASE("an append waits for a segment that is only late") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        std::vector<std::string> expected;
        // Batches as large as half a segment outrun the preparer.
        for (std::size_t i = 0; i < 200; ++i) {
            std::vector<TestMessage> batch;
            for (std::size_t j = 0; j < 4; ++j) {
                expected.push_back(numbered_body(expected.size(), 8'000));
                batch.push_back({expected.back(), "", ""});
            }
            const auto appended = at.append(queue, batch);
            REQUIRE(appended);
        }
        CHECK(read_bodies(*at.store, queue) == expected);
    }

    TEST_CASE("the metrics count what was appended and flushed") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path());
        at.open();
        Queue& queue = at.queue("t");
        const double messages = at.metrics.values()["gantry_store_appended_messages_total"];
        const auto appended = at.append(queue, {{"a", "", ""}, {"b", "", ""}});
        REQUIRE(appended);
        wait_for([&] { return at.store->watermarks().flushed >= appended->end; });
        auto values = at.metrics.values();
        CHECK(values["gantry_store_appended_messages_total"] == messages + 2);
        CHECK(values["gantry_store_appended_offset_bytes"] == double(appended->end.value));
        CHECK(values["gantry_store_flushed_offset_bytes"] == double(appended->end.value));
        CHECK(values["gantry_store_flushes_total"] > 0);
        CHECK(values["gantry_store_disk_free_bytes"] > 0);
        CHECK(values["gantry_store_writable"] == 1);
        at.store.reset();
        CHECK(at.metrics.values()["gantry_store_writable"] == 0);
    }
}

}  // namespace
}  // namespace gantry::storage

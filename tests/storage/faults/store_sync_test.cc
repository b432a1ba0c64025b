// SPDX-License-Identifier: Apache-2.0
#include "storage/checkpoint.h"
#include "tests/harness/wait.h"
#include "tests/storage/faulty_file_system.h"
#include "tests/storage/store_fixture.h"

#include <atomic>
#include <chrono>
#include <limits>

namespace gantry::storage {
namespace {

template <class Condition>
void wait_for(Condition&& condition) {
    REQUIRE(harness::wait_until(std::chrono::seconds(30), condition));
}

/// A store on a file system that can be told to fail or to wait.
struct FaultyStore {
    FaultyStore() {
        at.files = &files;
        at.options.flush = FlushMode::kSync;
        // Nothing in here happens because time has passed.
        at.options.flush_interval_ms = 3'600'000;
    }

    ~FaultyStore() { files.let_go(std::numeric_limits<std::uint32_t>::max()); }

    Appended append(const std::string& body) {
        const auto appended = at.append(at.queue("t"), {{body, "", "key"}});
        REQUIRE(appended);
        accepted.push_back(body);
        return *appended;
    }

    void append_durably(const std::string& body) {
        const Appended appended = append(body);
        at.store->flush_soon();
        wait_for([&] { return at.store->watermarks().flushed >= appended.end; });
    }

    LogOffset checkpoint() {
        const auto loaded = load_checkpoint(*at.posix, directory.path() / "checkpoint");
        REQUIRE(loaded);
        REQUIRE(*loaded);
        return (*loaded)->at;
    }

    TemporaryDirectory directory;
    FaultyFileSystem files;
    StoreFixture at{directory.path()};
    std::vector<std::string> accepted;
};

TEST_SUITE("storage/store_sync") {
    TEST_CASE_FIXTURE(FaultyStore,
                      "group commit: the next sync begins when one ends, and covers all since") {
        at.open();
        append_durably("first");
        std::vector<LogOffset> seen;  // the flusher's, until the store is closed
        std::atomic<int> reports{0};
        at.store->on_progress([&] {
            seen.push_back(at.store->watermarks().flushed);
            ++reports;
        });
        files.hold_syncs("commitlog/0");
        const Appended alone = append("alone");
        at.store->flush_soon();
        wait_for([&] { return files.held() == 1; });
        std::vector<Appended> group;
        for (const char* const body : {"b", "c", "d"}) {
            group.push_back(append(body));
            at.store->flush_soon();
        }
        CHECK(at.store->watermarks().flushed < alone.end);
        files.let_go(1);
        wait_for([&] { return at.store->watermarks().flushed >= alone.end && files.held() == 1; });
        CHECK(at.store->watermarks().flushed == alone.end);
        CHECK(at.store->watermarks().confirmed == alone.end);
        files.let_go(1);
        wait_for([&] { return reports == 2; });
        REQUIRE(at.store->close());
        CHECK(seen == std::vector<LogOffset>{alone.end, group.back().end});
        CHECK(files.held() == 0);
    }

    TEST_CASE_FIXTURE(FaultyStore, "a new segment that cannot be synced makes the log read-only") {
        at.open();
        append_durably("durable");
        SUBCASE("its bytes") {
            files.fail({.call = Call::kSync, .path_part = ".new", .stays = false});
        }
        SUBCASE("its bytes, as the disk under the file system is full") {
            files.fail({.call = Call::kSync,
                        .path_part = ".new",
                        .stays = false,
                        .code = Errc::kDiskFull});
        }
        SUBCASE("its name") {
            files.fail({.call = Call::kSync, .path_part = "commitlog", .nth = 2, .stays = false});
        }
        Result<Appended> refused{Appended{}};
        for (int i = 0; i < 1'000 && refused; ++i) {
            const std::string body = numbered_body(accepted.size(), 5'000);
            refused = at.append(at.queue("t"), {{body, "", ""}});
        }
        CHECK(code_of(refused) == Errc::kReadOnly);
        CHECK(at.store->read_only_reason().find("injected failure") != std::string::npos);
        // Another try would succeed, and nobody makes it.
        CHECK(files.failures() == 1);
        CHECK(code_of(at.append(at.queue("t"), {{"x", "", ""}})) == Errc::kReadOnly);
        CHECK(read_bodies(*at.store, at.queue("t")) == accepted);
        CHECK_FALSE(at.store->close());

        at.open();
        CHECK_FALSE(at.recovery.was_clean);
        CHECK(read_bodies(*at.store, at.queue("t")).front() == "durable");
        append_durably("again");
    }

    TEST_CASE_FIXTURE(FaultyStore, "an index that could not be synced once makes no checkpoint") {
        at.options.checkpoint_bytes = 1;
        at.open();
        append_durably("before");
        const std::string index = [] {
            std::string name;
            SUBCASE("consume queues") {
                name = "consumequeue/0";
            }
            SUBCASE("keys") {
                name = "index/0";
            }
            return name;
        }();
        REQUIRE_FALSE(index.empty());
        // The first checkpoint behind the topic is made by itself.
        wait_for([&] { return checkpoint() > LogOffset(0); });
        files.fail({.call = Call::kSync, .path_part = index, .stays = false});
        wait_for([&] {
            append_durably(numbered_body(accepted.size(), 2'000));
            return files.failures() == 1;
        });
        const LogOffset last = checkpoint();
        // The system would say that the next sync has succeeded; the pages may be gone.
        for (int i = 0; i < 20; ++i) {
            append_durably(numbered_body(accepted.size(), 2'000));
        }
        CHECK_FALSE(at.store->close());
        CHECK(checkpoint() == last);
        CHECK(files.failures() == 1);

        at.open();
        CHECK_FALSE(at.recovery.was_clean);
        CHECK(read_bodies(*at.store, at.queue("t")) == accepted);
        append_durably("again");
        REQUIRE(at.store->close());
        CHECK(checkpoint() > last);
    }
}

}  // namespace
}  // namespace gantry::storage

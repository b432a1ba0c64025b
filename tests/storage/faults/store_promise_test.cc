// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"
#include "tests/harness/wait.h"
#include "tests/storage/crash_file_system.h"
#include "tests/storage/faulty_file_system.h"
#include "tests/storage/store_fixture.h"

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;
using Bodies = std::vector<std::string>;

bool wait_for(const std::function<bool()>& condition) {
    return harness::wait_until(std::chrono::seconds(30), condition);
}

TEST_SUITE("storage/store_promise") {
    TEST_CASE("with async flush an append is confirmed before any sync, and is in the file") {
        const TemporaryDirectory directory;
        FaultyFileSystem files;
        StoreFixture at(directory.path());
        at.files = &files;
        at.options.flush = FlushMode::kAsync;
        at.open();
        Queue& queue = at.queue("t");
        files.hold_syncs("commitlog/0");
        const auto appended = at.append(queue, {{"in the page cache", "", ""}});
        REQUIRE(appended);
        CHECK(at.store->watermarks().confirmed == appended->end);
        CHECK(at.store->watermarks().flushed < appended->end);
        CHECK(read_bodies(*at.store, queue) == Bodies{"in the page cache"});
        // What a kill at this moment leaves: the files, with what the page cache has of them.
        StoreFixture killed(at.copies.path());
        copy_store(directory.path(), at.copies.path());
        killed.options.directory = at.copies.path();
        killed.open();
        CHECK(read_bodies(*killed.store, killed.queue("t")) == Bodies{"in the page cache"});
        files.let_go(1'000'000);
    }

    TEST_CASE("with async flush a power cut takes only what came since the last flush") {
        const TemporaryDirectory directory(fast_directory());
        const TemporaryDirectory image(fast_directory());
        CrashFileSystem files(directory.path());
        StoreFixture at(directory.path() / "store");
        at.options.flush = FlushMode::kAsync;
        at.options.directory = directory.path() / "store";
        at.options.flush_interval_ms = 20;
        at.files = &files;
        at.open();
        Queue& queue = at.queue("t");
        const auto first = at.append(queue, {{"flushed by itself", "", ""}});
        REQUIRE(first);
        REQUIRE(wait_for([&] { return at.store->watermarks().flushed >= first->end; }));
        REQUIRE(at.append(queue, {{"too late, maybe", "", ""}}));
        Random random(1);
        write_image(files.cut(), Survives::kNothing, random, image.path());
        StoreFixture cut(image.path() / "store");
        cut.open();
        const Bodies kept = read_bodies(*cut.store, cut.queue("t"));
        REQUIRE_FALSE(kept.empty());
        CHECK(kept.front() == "flushed by itself");
        CHECK(kept.size() <= 2);
        REQUIRE(cut.append(cut.queue("t"), {{"again", "", ""}}));
    }

    TEST_CASE("the death of the only disk takes everything, and the store starts empty") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path() / "store");
        at.options.flush = FlushMode::kSync;
        at.open();
        const auto durable = at.append(at.queue("t"), {{"durable", "", ""}});
        REQUIRE(durable);
        at.store->flush_soon();
        REQUIRE(wait_for([&] { return at.store->watermarks().flushed >= durable->end; }));
        at.store.reset();
        fs::remove_all(directory.path() / "store");
        at.open();
        CHECK(at.store->find_topic("t") == nullptr);
        CHECK(at.store->watermarks().appended == LogOffset(0));
        CHECK(read_bodies(*at.store, at.queue("t")).empty());
        REQUIRE(at.append(at.queue("t"), {{"new", "", ""}}));
    }
}

}  // namespace
}  // namespace gantry::storage

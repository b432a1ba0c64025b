// SPDX-License-Identifier: Apache-2.0
// Routes between replicated groups: a new master goes on where the old one was.
#include "tests/harness/build.h"
#include "tests/harness/replication/replicated_group.h"
#include "tests/process/replication/group_case.h"
#include "tests/process/sync/sync_fixture.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

namespace gantry::harness {
namespace {

constexpr int kRate = kIsSanitized ? 500 : 2'000;

std::unique_ptr<ReplicatedGroup> pair_or_not_run() {
    ReplicatedGroup::Options options;
    options.members = 2;
    options.in_sync_min = 1;
    return group_or_not_run(options);
}

/// SIGKILL; another one is master afterwards. The killed one stays down.
std::size_t replace_master(ReplicatedGroup& group) {
    const std::size_t before = require_master(group);
    group.broker(before).kill();
    require_good(group.wait_for_master(before));
    return before;
}

}  // namespace

TEST_SUITE("process/sync_replicated") {
    TEST_CASE("masters of source and target are killed: every message once, and in order") {
        const auto source = pair_or_not_run();
        const auto target = source == nullptr ? nullptr : pair_or_not_run();
        if (target == nullptr) {
            return;
        }
        const SiteView a(source->nameserver().address());
        const SiteView b(target->nameserver().address());
        const TempDirectory directory;
        a.create("T-copied", 2);
        SyncProcess sync(directory.path(),
                         "sync",
                         routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                                   route_of("r",
                                            "a",
                                            "b",
                                            "exclude = [\"T\"]\nframe_bytes = 4096\n"
                                            "timeout_ms = 2000")));
        sync.start();
        Flood flood(a, "T-copied", kRate);
        REQUIRE(wait_until(kSoon, [&] { return b.count("T-copied") > 0; }));
        const std::size_t old_target = replace_master(*target);
        const std::int64_t before = b.count("T-copied");
        REQUIRE(wait_until(kSoon, [&] { return b.count("T-copied") > before; }));
        const std::size_t old_source = replace_master(*source);
        require_ok(target->broker(old_target).start());
        require_ok(source->broker(old_source).start());
        const std::int64_t sent = flood.end();
        CHECK(a.count("T-copied") == sent);
        REQUIRE(b.wait_for("T-copied", sent));
        check_same(a.read("T-copied"), b.read("T-copied"));
    }
}

}  // namespace gantry::harness

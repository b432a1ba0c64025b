// SPDX-License-Identifier: Apache-2.0
// Routes between replicated groups: a new master goes on where the old one was.
#include "tests/harness/build.h"
#include "tests/harness/replication/replicated_group.h"
#include "tests/process/replication/group_case.h"
#include "tests/process/sync/sync_fixture.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>

namespace gantry::harness {
namespace {

constexpr int kRate = kIsSanitized ? 500 : 2'000;

/// Two groups of two brokers; null where there is no etcd.
struct Groups {
    Groups() {
        if (!EtcdCluster::is_installed()) {
            say_not_run("etcd is not installed (Debian: etcd-server)");
            return;
        }
        ReplicatedGroup::Options options;
        options.members = 2;
        options.in_sync_min = 1;
        for (auto* const group : {&source, &target}) {
            auto started = ReplicatedGroup::start(options);
            require_good(started);
            *group = std::move(started).value();
        }
    }

    std::unique_ptr<ReplicatedGroup> source;
    std::unique_ptr<ReplicatedGroup> target;
};

/// SIGKILL; who it was stays down.
std::size_t kill_master(ReplicatedGroup& group) {
    const std::size_t master = require_master(group);
    group.broker(master).kill();
    return master;
}

}  // namespace

TEST_SUITE("process/sync_replicated") {
    TEST_CASE("masters of source and target are killed: every message once, and in order") {
        const Groups groups;
        if (groups.target == nullptr) {
            return;
        }
        ReplicatedGroup& source = *groups.source;
        ReplicatedGroup& target = *groups.target;
        const SiteView a(source.nameserver().address());
        const SiteView b(target.nameserver().address());
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
        const std::size_t old_target = kill_master(target);
        const std::size_t old_source = kill_master(source);
        require_good(target.wait_for_master(old_target));
        require_good(source.wait_for_master(old_source));
        const std::int64_t before = b.count("T-copied");
        REQUIRE(wait_until(kSoon, [&] { return b.count("T-copied") > before; }));
        const std::int64_t sent = flood.end();
        CHECK(a.count("T-copied") == sent);
        REQUIRE(b.wait_for("T-copied", sent));
        check_same(a.read("T-copied"), b.read("T-copied"));
    }
}

}  // namespace gantry::harness

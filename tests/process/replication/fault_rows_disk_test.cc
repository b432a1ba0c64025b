// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/http_get.h"
#include "tests/process/replication/group_case.h"

#include <filesystem>
#include <fstream>
#include <string>

namespace gantry::harness {
namespace {

namespace fs = std::filesystem;

/// Turns a bit of a message's body in the first segment of a store that is in use.
void rot(const fs::path& store, const std::string& body) {
    const fs::path path = store / "commitlog" / std::string(20, '0');
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const std::string all{std::istreambuf_iterator<char>(file), {}};
    const std::size_t at = all.find(body);
    REQUIRE(at != std::string::npos);
    file.clear();
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(body.front() ^ 1));
    file.flush();
    REQUIRE(file.good());
}

TEST_SUITE("process/replication/disk") {
    TEST_CASE("fault 36: a broker with a new disk is elected by nobody until it has everything") {
        const auto group = group_or_not_run({});
        if (!group) {
            return;
        }
        require_good(group->send_some(30));
        std::size_t replaced = 0;
        SUBCASE("the master's") {
            replaced = require_master(*group);
        }
        SUBCASE("a slave's") {
            replaced = group->a_slave();
        }
        const bool was_master = group->master() == replaced;
        group->broker(replaced).kill();
        fs::remove_all(group->store(replaced));
        require_good(group->broker(replaced).start());
        const auto master =
            was_master ? group->wait_for_master(replaced) : group->wait_for_master();
        require_good(master);
        CHECK(*master != replaced);
        require_good(group->send_some(5));
        require_whole(*group);
    }

    TEST_CASE("a message that rots on one copy is taken from another") {
        auto options = two_static();
        options.settings["store.scrub_bytes_per_second"] = "64MiB";
        options.settings["store.scrub_interval_s"] = "1";
        const auto group = group_or_not_run(options);
        require_good(group->send_some(20));
        require_good(group->wait_same_logs());
        std::size_t bad = 0;
        SUBCASE("on the master") {
            bad = 0;
        }
        SUBCASE("on the slave") {
            bad = 1;
        }
        rot(group->store(bad), group->acknowledged()[10]);
        const auto value = [&](const char* name) {
            return metric(group->broker(bad).http_port(), name).value_or(-1);
        };
        CHECK(wait_until(kSoon, [&] {
            return value("gantry_store_repaired_bytes_total") > 0 &&
                   value("gantry_store_lost_ranges") == 0;
        }));
        require_whole(*group);
    }
}

}  // namespace
}  // namespace gantry::harness

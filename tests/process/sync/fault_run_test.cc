// SPDX-License-Identifier: Apache-2.0
// Faults at random for a while; script/sync-faults makes it long.
#include "tests/process/sync/fault_run.h"

#include "tests/harness/build.h"
#include "tests/harness/faults/not_run.h"
#include "tests/harness/replication/etcd_cluster.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>
#include <string>

namespace gantry::harness {
namespace {

/// A number in the environment, with which script/sync-faults makes a run longer.
int number_or(const char* name, int otherwise) {
    const char* const given = std::getenv(name);
    return given != nullptr ? std::atoi(given) : otherwise;
}

}  // namespace

TEST_SUITE("process/sync_fault_run") {
    TEST_CASE("faults of everything at random: the target has each message once, in order") {
        FaultRunOptions options;
        options.seed = sync_seed();
        options.length = std::chrono::seconds(number_or("GANTRY_FAULT_SECONDS", 6));
        options.per_second = number_or("GANTRY_FAULT_RATE", kIsSanitized ? 500 : 1'000);
        options.members = static_cast<std::size_t>(number_or("GANTRY_FAULT_MEMBERS", 1));
        if (options.members > 1 && !EtcdCluster::is_installed()) {
            say_not_run("etcd is not installed (Debian: etcd-server)");
            return;
        }
        std::string told;
        const bool is_long = std::getenv("GANTRY_FAULT_SECONDS") != nullptr;
        options.say = [&](const std::string& line) {
            told += line + '\n';
            if (is_long) {
                std::cout << line << std::endl;
            }
        };
        const FaultRunReport report = run_faults(options);
        std::cout << report.json() << std::endl;
        INFO(told);
        CHECK(report.originals == report.acknowledged);
        CHECK(report.copies == report.originals);
        CHECK(report.faults == CopyFaults{});
    }
}

}  // namespace gantry::harness

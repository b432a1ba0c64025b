// SPDX-License-Identifier: Apache-2.0
// A short chaos run behind proxies; script/chaos makes long ones.
#include "common/random.h"
#include "tests/chaos/runner.h"
#include "tests/harness/build.h"
#include "tests/harness/faults/not_run.h"
#include "tests/harness/temp_directory.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <string>

namespace gantry::chaos {

TEST_SUITE("process/chaos") {
    TEST_CASE("a few faults under load lose, double and reorder nothing") {
        const harness::TempDirectory directory;
        const char* const given = std::getenv("GANTRY_TEST_SEED");
        RunOptions options;
        options.seed = given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
        MESSAGE("GANTRY_TEST_SEED=" << options.seed);
        options.directory = directory.path();
        options.by_namespaces = false;
        options.length = std::chrono::milliseconds(5'000);
        options.pause_max = std::chrono::milliseconds(500);
        options.fault_max = std::chrono::milliseconds(2'000);
        options.warm_up = std::chrono::milliseconds(500);
        options.silence = std::chrono::milliseconds(1'500);
        options.faults = {"kill master", "kill slave", "slave deaf to master", "end master"};
        options.per_second = harness::kIsSanitized ? 20 : 100;
        std::string told;
        options.say = [&told](const std::string& line) { told += line + "\n"; };
        const std::atomic<bool> stops{false};
        const Result<bool> is_good = run_chaos(options, stops);
        if (!is_good && is_good.error().code == Errc::kNotFound) {
            harness::say_not_run(is_good.error().detail);
            return;
        }
        INFO(told);
        REQUIRE_MESSAGE(is_good.has_value(), (is_good ? "" : to_string(is_good.error())));
        CHECK(*is_good);
    }
}

}  // namespace gantry::chaos

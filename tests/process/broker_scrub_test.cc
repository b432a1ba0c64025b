// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/temp_directory.h"
#include "tests/harness/wait.h"
#include "tests/process/sender.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace gantry::harness {
namespace {

namespace fs = std::filesystem;

/// Changes a byte of the log while the broker runs.
void damage(const BrokerProcess& broker, std::int64_t log_offset) {
    const std::int64_t base = log_offset / kSegmentBytes * kSegmentBytes;
    const std::string digits = std::to_string(base);
    const fs::path segment = broker.directory() / "b" / "store" / "commitlog" /
                             (std::string(20 - digits.size(), '0') + digits);
    std::fstream file(segment, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(log_offset - base);
    file.put('!');
    REQUIRE(file.flush().good());
}

TEST_SUITE("process/broker_scrub") {
    TEST_CASE("a byte that changes under a running broker is found, and costs its message alone") {
        const TempDirectory directory;
        Sender sender(directory.path(),
                      {{"store.flush", "sync"},
                       {"store.scrub_interval_s", "1"},
                       {"store.scrub_bytes_per_second", "64MiB"}});
        sender.send_some(120);
        damage(sender.broker, sender.places[10] + 3'000);
        REQUIRE(wait_until(Process::kPatience, [&] {
            return sender.value("gantry_store_scrub_findings_total") > 0 &&
                   sender.value("gantry_store_lost_messages_total") > 0;
        }));
        CHECK(sender.value("gantry_store_lost_messages_total") == 1);
        CHECK(sender.value("gantry_store_scrub_findings_damage_total") == 1);
        sender.kept.erase(sender.kept.begin() + 10);
        sender.lost = 1;
        sender.check_kept();
        const double rounds = sender.value("gantry_store_scrub_rounds_total");
        REQUIRE(wait_until(Process::kPatience, [&] {
            return sender.value("gantry_store_scrub_rounds_total") > rounds + 1;
        }));
        CHECK(sender.value("gantry_store_scrub_findings_total") == 1);
        CHECK(sender.value("gantry_store_writable") == 1);
        sender.check_serves();
    }

    TEST_CASE("told to refuse, a running broker tells damage and leaves it where it is") {
        const TempDirectory directory;
        Sender sender(directory.path(),
                      {{"store.flush", "sync"},
                       {"store.on_damage", "refuse"},
                       {"store.scrub_bytes_per_second", "64MiB"},
                       {"store.scrub_interval_s", "1"}});
        sender.send_some(30);
        damage(sender.broker, sender.places[10] + 3'000);
        REQUIRE(wait_until(Process::kPatience,
                           [&] { return sender.value("gantry_store_scrub_findings_total") > 0; }));
        CHECK(sender.value("gantry_store_lost_ranges") == 0);
        // It is counted before it is written down.
        CHECK(wait_until(Process::kPatience, [&] {
            return has(sender.broker.process().err(), "topic=T queue=0 from=10 to=11");
        }));
    }
}

}  // namespace
}  // namespace gantry::harness

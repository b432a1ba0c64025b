// SPDX-License-Identifier: Apache-2.0
#include "common/failpoint/failpoint.h"
#include "common/random.h"
#include "storage/check/store_check.h"
#include "tests/harness/build.h"
#include "tests/storage/faults/writer_child.h"
#include "tests/storage/store_fixture.h"

#include <algorithm>
#include <array>
#include <map>

namespace gantry::storage {
namespace {

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* const given = std::getenv(name);
    return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

std::uint32_t number_of(const std::string& body) {
    return static_cast<std::uint32_t>(std::strtoul(body.c_str() + 8, nullptr, 10));
}

/// A store that is killed again and again, and everything that is known of it.
class KilledStore {
public:
    explicit KilledStore(Random& random) : random_(random) {
        plan_.options = small_options(directory_.path());
        plan_.options.segment_bytes = 32 << 10;
        plan_.options.prefault_bytes = 32 << 10;
        plan_.options.hot_bytes = 64 << 10;
        plan_.options.flush = FlushMode::kSync;
        plan_.options.flush_interval_ms = 3'600'000;
        plan_.options.checkpoint_bytes = 40'000;
        plan_.options.key_file_entries = 64;
    }

    /// Runs a writer with these failpoints, and checks what it leaves; whether it was killed.
    bool run(const std::string& failpoints) {
        CAPTURE(failpoints);
        plan_.failpoints = failpoints;
        plan_.seed = random_.next();
        plan_.appends = static_cast<std::uint32_t>(60 + random_.below(60));
        const WriterEnd end = run_writer(plan_);
        // Numbers that were stored and not acknowledged are not used again.
        plan_.first_number += plan_.appends + 10;
        for (const Acknowledged& said : end.acknowledged) {
            note(said.queue, said.queue_offset, said.number);
            ++acknowledged_;
        }
        return end.was_killed;
    }

    /// Opens the store: everything acknowledged and everything ever seen is there, at its place.
    void check() {
        StoreFixture at(directory_.path());
        at.options = plan_.options;
        at.open();
        restart_ms_max_ = std::max(restart_ms_max_, at.recovery.milliseconds);
        for (std::int32_t id = 0; id < kWriterQueues && at.store->find_topic("t") != nullptr;
             ++id) {
            check_queue(at, id);
        }
        REQUIRE(at.store->close());
        at.store.reset();
        const auto report = check_store(*at.posix, {.directory = directory_.path()});
        REQUIRE(report);
        for (const Finding& finding : report->findings) {
            FAIL("check: " << finding.file << ": " << finding.what << " at " << finding.at.value);
        }
        REQUIRE(report->is_good);
    }

    std::uint64_t acknowledged() const { return acknowledged_; }

    std::uint64_t restart_ms_max() const { return restart_ms_max_; }

private:
    void note(std::int32_t queue, std::int64_t offset, std::uint32_t number) {
        const auto known = known_.at(static_cast<std::size_t>(queue)).try_emplace(offset, number);
        REQUIRE(known.first->second == number);
    }

    void check_queue(StoreFixture& at, std::int32_t id) {
        CAPTURE(id);
        Queue& queue = at.queue("t", id);
        const std::vector<std::string> bodies = read_bodies(*at.store, queue);
        const auto& known = known_.at(static_cast<std::size_t>(id));
        const std::int64_t end = known.empty() ? 0 : known.rbegin()->first + 1;
        REQUIRE(static_cast<std::int64_t>(bodies.size()) >= end);
        std::uint32_t last = 0;
        for (std::size_t offset = 0; offset < bodies.size(); ++offset) {
            const std::uint32_t number = number_of(bodies[offset]);
            REQUIRE(bodies[offset] == numbered_body(number, writer_body_bytes(number)));
            REQUIRE((offset == 0 || number > last));
            last = number;
            note(id, static_cast<std::int64_t>(offset), number);
        }
        if (!bodies.empty()) {
            const auto found = at.store->find_by_key(
                {"t", writer_key(last), 0, std::numeric_limits<WallMs>::max(), 10});
            REQUIRE(found.size() == 1);
        }
    }

    Random& random_;
    TemporaryDirectory directory_{fast_directory()};
    WriterPlan plan_;
    std::array<std::map<std::int64_t, std::uint32_t>, kWriterQueues> known_;
    std::uint64_t acknowledged_ = 0;
    std::uint64_t restart_ms_max_ = 0;
};

bool is_of_the_store(std::string_view site) {
    return !site.starts_with("send.") && !site.starts_with("ack.") && !site.starts_with("pop.") &&
           !site.starts_with("transaction.") && !site.starts_with("mend.") &&
           !site.starts_with("replica.");
}

/// A life in which every place of the store is passed. How often it was killed at `site`.
int kill_at(KilledStore& store, Random& random, std::string_view site, std::uint64_t nth) {
    constexpr int kAttempts = 20;
    const std::string kill = std::string(site) + "=kill@" + std::to_string(nth);
    CAPTURE(kill);
    int kills = 0;
    kills += store.run(kill) ? 1 : 0;  // a first start
    store.check();
    const int attempts_max = nth == 1 ? kAttempts : 1;
    for (int attempt = 0; attempt == 0 || (kills == 0 && attempt < attempts_max); ++attempt) {
        // Leaves a batch half filled, for a recovery that has something to cut.
        const std::uint64_t records = 15 + random.below(45);
        REQUIRE(store.run("append.record=kill@" + std::to_string(records)));
        kills += store.run(kill) ? 1 : 0;
        store.check();
    }
    REQUIRE_FALSE(store.run(""));
    store.check();
    return kills;
}

TEST_SUITE("storage/failpoints") {
    TEST_CASE("killed at any stage of a write, the store keeps what it acknowledged and goes on") {
        REQUIRE(failpoint::is_built_in());
        const std::uint64_t seed = number_from_environment("GANTRY_TEST_SEED", random_seed());
        const std::uint64_t rounds =
            number_from_environment("GANTRY_TEST_ROUNDS", harness::kIsSanitized ? 1 : 2);
        CAPTURE(seed);
        Random random(seed);
        std::uint64_t kills = 0;
        std::uint64_t acknowledged = 0;
        std::uint64_t restart_ms_max = 0;
        for (std::uint64_t round = 0; round < rounds; ++round) {
            for (const failpoint::Site& site : failpoint::kSites) {
                if (!is_of_the_store(site.name)) {
                    continue;
                }
                KilledStore store(random);
                const std::uint64_t nth = round == 0 ? 1 : 1 + random.below(1U << random.below(7));
                const int killed = kill_at(store, random, site.name, nth);
                CHECK_MESSAGE((round > 0 || killed > 0), site.name << " is never passed");
                kills += static_cast<std::uint64_t>(killed) + 1;
                acknowledged += store.acknowledged();
                restart_ms_max = std::max(restart_ms_max, store.restart_ms_max());
            }
        }
        MESSAGE("GANTRY_TEST_SEED=" << seed << " GANTRY_TEST_ROUNDS=" << rounds
                                    << " kills=" << kills << " acknowledged=" << acknowledged
                                    << " restart_ms_max=" << restart_ms_max);
    }
}

}  // namespace
}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "broker/order/queue_locks.h"

#include "common/file_system.h"
#include "storage/index/consume_queues.h"
#include "storage/state_machine.h"
#include "storage/topic_table.h"
#include "tests/harness/temp_directory.h"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/queue_locks");

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ManualClock final : public Clock {
public:
    WallMs wall_ms() const noexcept override { return 0; }

    SteadyTime steady() const noexcept override { return now; }

    SteadyTime now{seconds(1'000)};
};

/// Locks over a log in memory, of which a restart reads every record again.
class Locked {
public:
    Locked() { restart(); }

    void restart() {
        locks.reset();
        state.reset();
        topics.reset();
        queues.reset();
        auto opened = storage::ConsumeQueues::open(
            *files,
            {.directory = directory.path(), .first_file_blocks = 4, .helper_thread = false});
        REQUIRE(opened.has_value());
        queues = std::move(opened->queues);
        topics = std::make_unique<storage::TopicTable>(*queues);
        state = std::make_unique<storage::LogStateMachine>(
            *topics, [this](std::string body) { return append(std::move(body)); });
        for (std::size_t i = 0; i < log.size(); ++i) {
            REQUIRE(state->replay({as_bytes(log[i]),
                                   LogOffset(static_cast<std::int64_t>(i)),
                                   LogOffset(static_cast<std::int64_t>(i + 1)),
                                   QueueOffset(static_cast<std::int64_t>(i)),
                                   0},
                                  false));
        }
        locks = std::make_unique<QueueLocks>(clock);
        locks->set_state(*state);
    }

    Result<storage::Appended> append(std::string body) {
        if (is_full) {
            return Error{Errc::kDiskFull, "no room"};
        }
        log.push_back(std::move(body));
        storage::Appended appended;
        appended.end = LogOffset(static_cast<std::int64_t>(log.size()));
        return appended;
    }

    std::int64_t lock(const std::string& client,
                      const QueueLocks::Name& name = {"G", "T", 0},
                      milliseconds lease = QueueLocks::kLifetime) {
        const Result<QueueLocks::Grant> grant = locks->lock(name, client, lease);
        REQUIRE(grant);
        return grant->token;
    }

    harness::TempDirectory directory;
    ManualClock clock;
    std::unique_ptr<FileSystem> files = make_posix_file_system();
    std::unique_ptr<storage::ConsumeQueues> queues;
    std::unique_ptr<storage::TopicTable> topics;
    std::unique_ptr<storage::LogStateMachine> state;
    std::unique_ptr<QueueLocks> locks;
    std::vector<std::string> log;
    bool is_full = false;
};

constexpr QueueLocks::Name kQueue{"G", "T", 0};

}  // namespace

TEST_CASE_FIXTURE(Locked, "a lock lapses when its holder does not renew it") {
    const std::int64_t first = lock("a");
    CHECK(first > 0);
    clock.now += seconds(59);
    CHECK(lock("b") == 0);
    CHECK(lock("a") == first);
    clock.now += seconds(59);
    CHECK(lock("b") == 0);
    clock.now += seconds(1);
    const std::int64_t second = lock("b");
    CHECK(second > first);
    REQUIRE(locks->unlock(kQueue, "a"));
    CHECK(lock("a") == 0);
    CHECK(lock("a", {"G2", "T", 0}) > second);
}

TEST_CASE_FIXTURE(Locked, "a token is good until another client has the lock, or none") {
    const std::int64_t first = lock("a");
    CHECK_FALSE(locks->is_fenced(kQueue, first));
    CHECK(locks->is_fenced(kQueue, first + 1));
    CHECK_FALSE(locks->is_fenced(kQueue, 0));
    clock.now += seconds(61);
    CHECK_FALSE(locks->is_fenced(kQueue, first));  // nobody else took it
    const std::int64_t second = lock("b");
    CHECK(locks->is_fenced(kQueue, first));
    CHECK_FALSE(locks->is_fenced(kQueue, second));
    REQUIRE(locks->unlock(kQueue, "b"));
    CHECK(locks->is_fenced(kQueue, second));
    CHECK(lock("b") > second);
    CHECK(locks->remark(kQueue, first).find("lockToken 1 is over") != std::string::npos);
}

TEST_CASE_FIXTURE(Locked, "renewals leave no record, grants and releases one each") {
    lock("a");
    lock("a");
    clock.now += seconds(61);
    lock("a");
    CHECK(log.size() == 1);
    lock("a", kQueue, milliseconds(5'000));  // another lease
    CHECK(log.size() == 2);
    clock.now += seconds(6);
    lock("b");
    CHECK(log.size() == 3);
    REQUIRE(locks->unlock(kQueue, "a"));
    CHECK(log.size() == 3);
    REQUIRE(locks->unlock(kQueue, "b"));
    CHECK(log.size() == 4);
}

TEST_CASE_FIXTURE(Locked, "after a restart holders have their whole lease again, tokens go on") {
    const std::int64_t first = lock("a", kQueue, milliseconds(5'000));
    clock.now += milliseconds(4'999);
    restart();
    CHECK_FALSE(locks->is_fenced(kQueue, first));
    clock.now += milliseconds(4'999);
    CHECK(lock("b") == 0);
    CHECK(lock("a", kQueue, milliseconds(5'000)) == first);
    clock.now += milliseconds(5'000);
    const std::int64_t second = lock("b");
    CHECK(second > first);
    REQUIRE(locks->unlock(kQueue, "b"));
    restart();
    CHECK(lock("c") > second);
    CHECK(locks->is_fenced(kQueue, second));
}

TEST_CASE_FIXTURE(Locked, "a store that takes nothing grants nothing, and lets holders renew") {
    const std::int64_t first = lock("a");
    is_full = true;
    CHECK(lock("a") == first);
    const Result<QueueLocks::Grant> grant = locks->lock({"G", "T", 1}, "a");
    REQUIRE_FALSE(grant);
    CHECK(grant.error().code == Errc::kDiskFull);
    CHECK_FALSE(locks->unlock(kQueue, "a"));
    CHECK(lock("a") == first);
    CHECK(locks->lock({"G", "T", -1}, "a").error().code == Errc::kRefused);
}

TEST_CASE_FIXTURE(Locked, "who lets a watched lease lapse is told of once") {
    REQUIRE(locks->lock(kQueue, "a", milliseconds(5'000), true));
    REQUIRE(locks->lock({"G", "T", 1}, "stock"));
    clock.now += milliseconds(4'999);
    CHECK(locks->stalled().empty());
    clock.now += milliseconds(1);
    const std::vector<QueueLocks::Stalled> stalled = locks->stalled();
    REQUIRE(stalled.size() == 1);
    CHECK(stalled[0].group == "G");
    CHECK(stalled[0].client_id == "a");
    CHECK(locks->stalled().empty());
    clock.now += seconds(61);
    CHECK(locks->stalled().empty());
    REQUIRE(locks->lock(kQueue, "a", milliseconds(5'000), true));
    clock.now += milliseconds(5'000);
    CHECK(locks->stalled().size() == 1);
    REQUIRE(locks->lock(kQueue, "a", milliseconds(5'000), true));
    REQUIRE(locks->unlock(kQueue, "a"));
    clock.now += milliseconds(5'000);
    CHECK(locks->stalled().empty());
}

TEST_CASE_FIXTURE(Locked, "a deleted topic or group takes its locks with it") {
    const std::int64_t first = lock("a");
    const std::int64_t other = lock("a", {"H", "T", 0});
    wire::StateRecord record;
    record.add_changes()->set_groupdelete("H");
    REQUIRE(state->commit(record));
    CHECK(locks->is_fenced({"H", "T", 0}, other));
    CHECK_FALSE(locks->is_fenced(kQueue, first));
    record.mutable_changes(0)->set_topicdelete("T");
    REQUIRE(state->commit(record));
    CHECK(locks->is_fenced(kQueue, first));
    CHECK(lock("b") > other);
}

TEST_SUITE_END();

}  // namespace gantry::broker

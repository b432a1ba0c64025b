// SPDX-License-Identifier: Apache-2.0
#include "storage/order/queue_lock_table.h"

#include <doctest/doctest.h>

#include <string>

namespace gantry::storage {
namespace {

wire::QueueLockPut lock_of(const std::string& group,
                           const std::string& topic,
                           const std::string& client,
                           std::int64_t token) {
    wire::QueueLockPut put;
    put.set_group(group);
    put.set_topic(topic);
    put.set_client(client);
    put.set_token(token);
    put.set_lease(1'000);
    return put;
}

}  // namespace

TEST_SUITE_BEGIN("storage/queue_lock_table");

TEST_CASE("a snapshot has who holds what, and how far tokens have come") {
    QueueLockTable table;
    table.apply(lock_of("G", "T", "a", 1));
    table.apply(lock_of("H", "T", "b", 2));
    table.apply(lock_of("G", "U", "c", 3));
    table.apply(lock_of("G", "U", "", 3));
    table.remove_group("H");
    wire::StateSnapshot snapshot;
    table.save(snapshot);
    CHECK(snapshot.order().held_size() == 1);
    QueueLockTable restored;
    REQUIRE(restored.restore(snapshot));
    REQUIRE(restored.find("G", "T", 0) != nullptr);
    CHECK(restored.find("G", "T", 0)->client() == "a");
    CHECK(restored.find("G", "U", 0) == nullptr);
    CHECK(restored.find("H", "T", 0) == nullptr);
    CHECK(restored.last_token() == 3);
    table.remove_topic("T");
    CHECK(table.find("G", "T", 0) == nullptr);
}

TEST_CASE("the bytes of the format's example") {
    wire::StateRecord record;
    *record.add_changes()->mutable_queuelockput() = lock_of("g", "t", "c", 7);
    record.mutable_changes(0)->mutable_queuelockput()->set_lease(15'000);
    CHECK(record.SerializeAsString() == std::string("\x0a\x11\xd2\x01\x0e\x0a\x01g\x12\x01t\x22\x01"
                                                    "c\x28\x07\x30\x98\x75"));
}

TEST_CASE("what no broker writes is refused, in a snapshot it is damage") {
    CHECK(QueueLockTable::check(lock_of("G", "T", "a", 1)));
    CHECK(QueueLockTable::check(lock_of("", "T", "a", 1)).error().code == Errc::kRefused);
    CHECK(QueueLockTable::check(lock_of("G", "", "a", 1)).error().code == Errc::kRefused);
    CHECK(QueueLockTable::check(lock_of("G", "T", "a", 0)).error().detail ==
          "queue lock: token 0 is not 1 or more");
    wire::StateSnapshot snapshot;
    *snapshot.mutable_order()->add_held() = lock_of("G", "T", "a", 5);
    snapshot.mutable_order()->set_lasttoken(4);
    CHECK(QueueLockTable().restore(snapshot).error().code == Errc::kCorrupt);
}

TEST_SUITE_END();

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/order/parked_table.h"

#include "storage/order/order_table.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace gantry::storage {
namespace {

wire::StateChange put_of(const std::string& key,
                         const std::vector<std::int64_t>& offsets,
                         const std::string& group = "G") {
    wire::StateChange change;
    wire::ParkedPut& put = *change.mutable_parkedput();
    put.set_group(group);
    put.set_topic("T");
    put.set_queueid(1);
    put.set_key(key);
    put.mutable_offsets()->Add(offsets.begin(), offsets.end());
    return change;
}

wire::StateChange change_of(const std::string& key, std::int32_t action, std::int64_t offset = 0) {
    wire::StateChange change;
    wire::ParkedChange& put = *change.mutable_parkedchange();
    put.set_group("G");
    put.set_topic("T");
    put.set_queueid(1);
    put.set_key(key);
    put.set_action(action);
    put.set_offset(offset);
    return change;
}

}  // namespace

TEST_SUITE_BEGIN("storage/parked_table");

TEST_CASE("messages of a key are parked in order, each once, and leave from the front") {
    OrderTable table;
    table.apply(put_of("k", {5}), 1'000);
    table.apply(put_of("k", {5, 8}), 2'000);
    auto info = table.parked_key({"G", "T", 1, "k"});
    REQUIRE(info);
    CHECK(info->count == 2);
    CHECK(info->first == 5);
    CHECK(info->last == 8);
    CHECK(info->since_ms == 1'000);
    CHECK_FALSE(info->is_released);
    table.apply(change_of("k", ParkedTable::kReleased), 0);
    table.apply(change_of("k", ParkedTable::kDone, 8), 0);  // not the first
    CHECK(table.parked_count() == 2);
    table.apply(change_of("k", ParkedTable::kDone, 5), 0);
    info = table.parked_key({"G", "T", 1, "k"});
    REQUIRE(info);
    CHECK(info->first == 8);
    CHECK(info->is_released);
    table.apply(change_of("k", ParkedTable::kHeld), 0);
    CHECK_FALSE(table.parked_key({"G", "T", 1, "k"})->is_released);
    table.apply(change_of("k", ParkedTable::kDone, 8), 0);
    CHECK_FALSE(table.parked_key({"G", "T", 1, "k"}));
    CHECK(table.parked_count() == 0);
}

TEST_CASE("lists: of a group, of a queue, dropped and deleted ones are gone") {
    OrderTable table;
    table.apply(put_of("b", {1}), 0);
    table.apply(put_of("a", {2, 3}), 0);
    table.apply(put_of("c", {4}, "H"), 0);
    const auto keys = table.parked_keys("G", "", 0);
    REQUIRE(keys.size() == 2);
    CHECK(keys[0].key == "a");
    CHECK(table.parked_keys("G", "T", 1).size() == 2);
    CHECK(table.parked_keys("G", "T", 0).empty());
    CHECK(table.parked_keys("G", "U", 1).empty());
    CHECK(table.parked_count() == 4);
    table.apply(change_of("a", ParkedTable::kDropped), 0);
    CHECK(table.parked_count() == 2);
    table.remove_group("H");
    CHECK(table.parked_keys("H", "", 0).empty());
    table.remove_topic("T");
    CHECK(table.parked_count() == 0);
}

TEST_CASE("a snapshot has it all") {
    OrderTable table;
    table.apply(put_of("k", {5, 7}), 1'000);
    table.apply(change_of("k", ParkedTable::kReleased), 0);
    wire::StateSnapshot snapshot;
    table.save(snapshot);
    OrderTable restored;
    REQUIRE(restored.restore(snapshot));
    const auto info = restored.parked_key({"G", "T", 1, "k"});
    REQUIRE(info);
    CHECK(info->count == 2);
    CHECK(info->is_released);
    CHECK(info->since_ms == 1'000);
    CHECK(restored.parked_count() == 2);
    snapshot.mutable_order()->mutable_parked(0)->set_offsets(1, 5);
    CHECK(OrderTable().restore(snapshot).error().code == Errc::kCorrupt);
}

TEST_CASE("what no broker writes is refused") {
    CHECK(OrderTable::check(put_of("k", {0})));
    CHECK(OrderTable::check(put_of("", {0})).error().code == Errc::kRefused);
    CHECK(OrderTable::check(put_of(std::string(1'025, 'k'), {0})).error().code == Errc::kRefused);
    CHECK(OrderTable::check(put_of("k", {})).error().code == Errc::kRefused);
    CHECK(OrderTable::check(put_of("k", {3, 3})).error().code == Errc::kRefused);
    CHECK(OrderTable::check(change_of("k", 5)).error().detail ==
          "parked key: action 5 is not within 1 to 4");
}

TEST_SUITE_END();

}  // namespace gantry::storage

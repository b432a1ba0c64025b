// SPDX-License-Identifier: Apache-2.0
#include "storage/repair/store_repair.h"

#include "storage/replica/storage_id.h"
#include "tests/storage/check/stopped_store.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

RepairPlan plan(const StoppedStore& store, RepairOptions options = {}) {
    options.directory = store.directory();
    Result<RepairPlan> planned = plan_repair(*store.at.files, options);
    if (!planned) {
        FAIL("plan: " << to_string(planned.error()));
    }
    return std::move(planned).value();
}

/// Plans and does it; the store must be good afterwards.
RepairReport repair(StoppedStore& store, RepairOptions options = {}) {
    options.directory = store.directory();
    const RepairPlan planned = plan(store, options);
    const Result<RepairReport> done =
        apply_repair(*store.at.files, store.at.clock, options, planned);
    if (!done) {
        FAIL("repair: " << to_string(done.error()));
    }
    for (const Finding& finding : done->after.findings) {
        MESSAGE(finding.what);
    }
    CHECK(done->after.is_good);
    CHECK(plan(store).steps.empty());
    return *done;
}

std::size_t count_messages(StoppedStore& store) {
    store.at.open();
    std::size_t count = 0;
    for (const char* topic : {"orders", "payments"}) {
        for (std::int32_t queue = 0; queue < 2; ++queue) {
            count += read_bodies(*store.at.store, store.at.queue(topic, queue)).size();
        }
    }
    store.stop();
    return count;
}

}  // namespace

TEST_SUITE("storage/repair/store_repair") {
    TEST_CASE("a good store has nothing to repair, and planning changes nothing") {
        const StoppedStore store(400);
        const auto before = store.contents();
        CHECK(plan(store).steps.empty());
        CHECK(plan(store, {.rebuilds_all = true}).steps.size() == 2);
        CHECK(plan(store, {.cut_at = store.places[100].first}).lost_messages == 300);
        CHECK(store.contents() == before);
    }

    TEST_CASE("damaged consume queues, checkpoint and snapshots are rebuilt, messages stay") {
        StoppedStore store(400);
        const auto log = StoppedStore::content_of(store.segment(LogOffset(0)));
        for (const char* damaged : {"consumequeue/directory", "checkpoint"}) {
            CAPTURE(damaged);
            StoppedStore::flip(store.directory() / damaged, 12);
            CHECK(plan(store).steps.size() == 1);
            repair(store);
            CHECK(count_messages(store) == 400);
        }
        for (const auto& entry : fs::directory_iterator(store.directory() / "state")) {
            StoppedStore::flip(entry.path(), 12);
        }
        const RepairPlan planned = plan(store);
        CHECK_FALSE(planned.bad_snapshots.empty());
        repair(store);
        CHECK(count_messages(store) == 400);
        CHECK(StoppedStore::content_of(store.segment(LogOffset(0))) == log);
    }

    TEST_CASE("missing checksums are added") {
        StoppedStore store(500);
        const std::uint64_t blocks = plan(store).before.blocks_summed;
        CHECK(blocks > 2);
        fs::remove_all(store.directory() / "checksum");
        CHECK(plan(store).blocks_unsummed == blocks);
        const RepairReport done = repair(store);
        CHECK(done.blocks_summed == blocks);
        CHECK(done.after.blocks_summed == blocks);
    }

    TEST_CASE("indexes and the checkpoint that are missing are made again") {
        StoppedStore store(300);
        fs::remove_all(store.directory() / "consumequeue");
        fs::remove_all(store.directory() / "index");
        fs::remove(store.directory() / "checkpoint");
        CHECK(plan(store).steps.size() == 3);
        repair(store);
        CHECK(count_messages(store) == 300);
    }

    TEST_CASE("everything derived can be rebuilt although it looks good") {
        StoppedStore store(400);
        repair(store, {.rebuilds_all = true});
        CHECK(count_messages(store) == 400);
        store.at.open();
        const Store::KeyQuery query{"payments", "key-100", 0, INT64_MAX, 10};
        CHECK(store.at.store->find_by_key(query) ==
              std::vector<LogOffset>{store.places[100].first});
        store.stop();
    }

    TEST_CASE("damage of the log is touched only when told") {
        StoppedStore store(400);
        store.flip(store.places[200].first + 120);
        const RepairPlan planned = plan(store);
        REQUIRE(planned.remaining.size() == 1);
        CHECK(planned.remaining[0].at == store.places[200].first);
        const auto before = store.contents();
        const RepairOptions options{.directory = store.directory()};
        CHECK(code_of(apply_repair(*store.at.files, store.at.clock, options, planned)) ==
              Errc::kCorrupt);
        CHECK(store.contents() == before);
    }

    TEST_CASE("a cut at the first damage loses exactly what the plan says, and keeps its bytes") {
        StoppedStore store(500);
        store.at.open();
        store.at.queue("orders", 0);
        wire::StateRecord committed;
        wire::OffsetPut& put = *committed.add_changes()->mutable_offsetput();
        put.set_group("g");
        put.set_topic("orders");
        put.set_queueid(0);
        put.set_offset(store.at.queue("orders", 0).max().value);
        REQUIRE(store.at.store->state().commit(committed));
        store.stop();
        const std::size_t first_bad = 120;
        store.flip(store.places[first_bad].first + 120);
        store.flip(store.places[400].first + 5);
        const LogOffset cut = store.places[first_bad].first;
        std::string bytes = StoppedStore::content_of(store.segment(cut));
        bytes = bytes.substr(static_cast<std::size_t>(cut.value) % kTestSegmentBytes);
        const RepairOptions options{.cuts_at_first_damage = true};
        const RepairPlan planned = plan(store, options);
        CHECK(planned.cut == cut);
        CHECK(planned.lost_messages == 500 - first_bad - 2 + 1);  // and the committed offset
        CHECK(planned.lost_damage.size() == 2);
        const CutQueue& orders = planned.lost.at({"orders", 0});
        CHECK(orders.first == 21);  // the one at the cut is damaged
        CHECK(orders.last == 83);
        const RepairReport done = repair(store, options);
        CHECK(done.after.end >= cut);
        CHECK(StoppedStore::content_of(planned.backup).substr(0, bytes.size()) == bytes);
        CHECK(done.bytes_backed_up == bytes_between(cut, planned.data_end));
        CHECK(count_messages(store) == first_bad);
        store.at.open();
        CHECK(store.at.store->state().offset("g", "orders", 0).value_or(0) <= 20);
        const auto appended = store.at.append(store.at.queue("orders", 0), {{"new", "", ""}});
        CHECK(appended->queue_offset == QueueOffset(20));
        store.stop();
    }

    TEST_CASE("a cut at a record's beginning, without a backup") {
        StoppedStore store(300);
        const std::size_t kept = 250;
        repair(store, {.cut_at = store.places[kept].first, .has_backup = false});
        CHECK(count_messages(store) == kept);
        for (const auto& entry : fs::directory_iterator(store.directory())) {
            CHECK(entry.path().extension() != ".log");
        }
    }

    TEST_CASE("a cut inside a record or outside the log is refused, as is damage before it") {
        StoppedStore store(300);
        const auto refused = [&store](LogOffset at) {
            const auto planned =
                plan_repair(*store.at.files, {.directory = store.directory(), .cut_at = at});
            REQUIRE(code_of(planned) == Errc::kRefused);
            return planned.error().detail;
        };
        CHECK(refused(store.places[100].first + 10)
                  .find(std::to_string(store.places[100].first.value)) != std::string::npos);
        CHECK(refused(LogOffset(INT64_MAX / 2)).find("outside the log") != std::string::npos);
        store.flip(store.places[50].first + 120);
        CHECK(plan(store, {.cut_at = store.places[200].first}).remaining.size() == 1);
    }

    TEST_CASE("told to quarantine, damage is kept from readers and the rest is served") {
        StoppedStore store(500);
        // A body, a frame, and a field that only a block's sum covers.
        store.flip(store.places[50].first + 120);
        store.flip(store.places[51].first + 4);
        store.flip(store.places[400].first + 41);
        const auto before = store.contents();
        const RepairOptions options{.quarantines = true};
        const RepairPlan planned = plan(store, options);
        CHECK(store.contents() == before);
        CHECK(planned.remaining.empty());
        REQUIRE(planned.quarantined.size() == 3);
        CHECK(planned.quarantined[0].from == store.places[50].first);
        CHECK(planned.quarantined[0].to == store.places[50].end);
        CHECK(planned.quarantined[0].messages ==
              std::vector<std::string>{"topic payments queue 0 offset 16"});
        CHECK(planned.quarantined[1].from == store.places[51].first);
        CHECK(planned.quarantined[1].to == store.places[51].end);
        const RepairPlan::Piece& block = planned.quarantined[2];
        const auto is_boundary = [&store](LogOffset at) {
            return std::any_of(store.places.begin(), store.places.end(), [at](const auto& place) {
                return place.first == at || place.end == at;
            });
        };
        CHECK(is_boundary(block.from));
        CHECK(is_boundary(block.to));
        std::size_t lost = 0;
        for (const Appended& place : store.places) {
            lost += place.first < block.to && place.end > block.from ? 1 : 0;
        }
        CHECK(block.messages.size() == lost);
        repair(store, options);
        CHECK(count_messages(store) == 500 - 2 - lost);
        const auto after = store.contents();
        for (const auto& [path, content] : before) {
            if (path.find("commitlog") != std::string::npos) {
                CHECK(after.at(path) == content);
            }
        }
    }

    TEST_CASE("what a missing segment held is quarantined when told") {
        StoppedStore store(500);
        const LogOffset base(kTestSegmentBytes);
        fs::remove(store.segment(base));
        CHECK(plan(store).remaining.size() >= 1);
        repair(store, {.quarantines = true});
        std::size_t kept = 0;
        for (const Appended& place : store.places) {
            kept += place.end <= base || place.first >= base + kTestSegmentBytes ? 1 : 0;
        }
        CHECK(kept > 200);
        CHECK(count_messages(store) == kept);
    }

    TEST_CASE("damage before a cut is quarantined, that behind it is cut") {
        StoppedStore store(300);
        store.flip(store.places[50].first + 120);
        store.flip(store.places[270].first + 120);
        const RepairPlan planned =
            plan(store, {.cut_at = store.places[250].first, .quarantines = true});
        CHECK(planned.quarantined.size() == 1);
        CHECK(planned.remaining.empty());
        repair(store, {.cut_at = store.places[250].first, .quarantines = true});
        CHECK(count_messages(store) == 249);
        CHECK(code_of(plan_repair(*store.at.files,
                                  {.directory = store.directory(),
                                   .cuts_at_first_damage = true,
                                   .quarantines = true})) == Errc::kRefused);
    }

    TEST_CASE("a store that a broker has open is refused") {
        StoppedStore store(10);
        store.at.open();
        CHECK(code_of(plan_repair(*store.at.files, {.directory = store.directory()})) ==
              Errc::kConflict);
        store.stop();
    }

    TEST_CASE("a copy of a replicated log gets no record of its own, and is another one when cut") {
        StoppedStore store(300);
        store.at.open();
        wire::StateRecord committed;
        wire::OffsetPut& put = *committed.add_changes()->mutable_offsetput();
        put.set_group("g");
        put.set_topic("orders");
        put.set_queueid(0);
        put.set_offset(store.at.queue("orders", 0).max().value + 1);
        REQUIRE(store.at.store->state().commit(committed));
        const LogOffset behind = store.at.store->watermarks().appended;
        REQUIRE(store.at.append(store.at.queue("orders", 0), {{"last", "", ""}}));
        store.stop();
        const auto identity = [&] {
            const auto opened = StorageIdentity::open(*store.at.files, store.at.options, "run");
            REQUIRE(opened);
            return opened->id();
        };
        const std::uint64_t id = identity();
        repair(store, {.rebuilds_all = true});
        CHECK(identity() == id);
        // The offset stays, the message it counts goes.
        const RepairOptions options{.cut_at = behind};
        const std::vector<std::string> steps = plan(store, options).steps;
        CHECK(std::any_of(steps.begin(), steps.end(), [](const std::string& step) {
            return step.find("storage id") != std::string::npos;
        }));
        CHECK(repair(store, options).after.end == behind);
        CHECK(identity() != id);
    }

    TEST_CASE("a copy that was killed looks so after a repair") {
        StoppedStore store(300);
        REQUIRE(StorageIdentity::open(*store.at.files, store.at.options, "run"));
        for (const bool was_killed : {false, true}) {
            if (was_killed) {
                std::ofstream(store.directory() / "abort").put('\n');
            }
            repair(store, {.rebuilds_all = true});
            CHECK(fs::exists(store.directory() / "abort") == was_killed);
        }
        CHECK(count_messages(store) == 300);
    }
}

}  // namespace gantry::storage

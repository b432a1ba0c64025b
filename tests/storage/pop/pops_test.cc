// SPDX-License-Identifier: Apache-2.0
#include "storage/pop/pops.h"

#include "storage/state_machine.h"
#include "tests/storage/damage/killed_store.h"

#include <string>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

OffsetSpan span(std::int64_t from, std::int64_t end) {
    return {QueueOffset(from), QueueOffset(end)};
}

/// A store in which nothing becomes durable by itself.
struct Fixture {
    explicit Fixture(const fs::path& path) : at(path) {
        at.options.flush_interval_ms = 3'600'000;
        at.open();
    }

    template <class Work>
    auto with(Work work, const std::string& group = "g") {
        return at.store->pops().table().with(group, "t", work);
    }

    void hand_out(std::int64_t from, std::int64_t end, WallMs pop = 50) {
        with([&](PopShare& share) {
            share.open(0, QueueOffset(0)).hand_out({span(from, end), 100, pop, 1});
            return true;
        });
    }

    std::int64_t acknowledge(std::int64_t from, std::int64_t end, WallMs pop = 50) {
        return with([&](PopShare& share) {
            PopQueue* const queue = share.find(0);
            return queue == nullptr ? -1 : queue->acknowledge(span(from, end), pop);
        });
    }

    std::vector<PopLease> leases() {
        return with([](PopShare& share) {
            PopQueue* const queue = share.find(0);
            return queue == nullptr ? std::vector<PopLease>() : queue->leases();
        });
    }

    std::optional<std::int64_t> committed() { return at.store->state().offset("g", "t", 0); }

    Status write(Pops::What what = Pops::What::kAll) { return at.store->pops().write(what); }

    StoreFixture at;
};

/// The store as a kill would leave it now.
std::unique_ptr<Fixture> killed(const Fixture& live, const TemporaryDirectory& directory) {
    static int number = 0;
    const fs::path image = directory.path() / ("killed-" + std::to_string(++number));
    copy_store(live.at.options.directory, image);
    return std::make_unique<Fixture>(image);
}

TEST_SUITE("storage/pops") {
    TEST_CASE("a lease that was written survives a kill and a clean stop, another does not") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path() / "live");
        f.at.queue("t");
        f.hand_out(0, 5);
        CHECK(killed(f, directory)->leases().empty());
        REQUIRE(f.write(Pops::What::kLeases));
        const std::vector<PopLease> wanted{{span(0, 5), 100, 50, 1}};
        CHECK(killed(f, directory)->leases() == wanted);
        REQUIRE(f.at.store->close());
        f.at.open();
        CHECK(f.at.recovery.records_replayed == 0);
        CHECK(f.leases() == wanted);
    }

    TEST_CASE("acknowledgements cost no record of their own, the next write has them all") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path() / "live");
        f.at.queue("t");
        f.hand_out(0, 100);
        REQUIRE(f.write());
        const LogOffset before = f.at.store->watermarks().appended;
        for (std::int64_t i = 0; i < 90; ++i) {
            CHECK(f.acknowledge(i, i + 1) == 1);
        }
        REQUIRE(f.write(Pops::What::kLeases));
        CHECK(f.at.store->watermarks().appended == before);
        CHECK(f.committed() == 0);
        REQUIRE(f.write());
        CHECK(f.at.store->watermarks().appended - before < 400);
        CHECK(f.committed() == 90);
        REQUIRE(f.write());
        const LogOffset written = f.at.store->watermarks().appended;
        REQUIRE(f.write());
        CHECK(f.at.store->watermarks().appended == written);
        CHECK(killed(f, directory)->leases() == std::vector<PopLease>{{span(90, 100), 100, 50, 1}});
    }

    TEST_CASE("a lease that is written takes the acknowledgements with it") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path() / "live");
        f.at.queue("t");
        f.hand_out(0, 4);
        REQUIRE(f.write(Pops::What::kLeases));
        CHECK(f.acknowledge(1, 3) == 2);
        f.hand_out(4, 6, 60);
        REQUIRE(f.write(Pops::What::kLeases));
        CHECK(killed(f, directory)->leases() == std::vector<PopLease>{{span(0, 1), 100, 50, 1},
                                                                      {span(3, 4), 100, 50, 1},
                                                                      {span(4, 6), 100, 60, 1}});
    }

    TEST_CASE("a committed offset moves the group, and what was in flight is forgotten") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path() / "live");
        f.at.queue("t");
        f.hand_out(0, 10);
        REQUIRE(f.write());
        CHECK(f.acknowledge(0, 3) == 3);
        wire::StateRecord changes;
        wire::OffsetPut& put = *changes.add_changes()->mutable_offsetput();
        put.set_group("g");
        put.set_topic("t");
        put.set_offset(2);
        REQUIRE(f.at.store->state().commit(changes));
        CHECK(f.leases().empty());
        CHECK(f.acknowledge(3, 10) == 0);
        REQUIRE(f.write());
        CHECK(f.committed() == 2);
        const auto image = killed(f, directory);
        CHECK(image->leases().empty());
        CHECK(image->committed() == 2);
    }

    TEST_CASE("what is popped goes with its topic and with its group") {
        const TemporaryDirectory directory(fast_directory());
        for (const bool is_topic : {true, false}) {
            Fixture f(directory.path() / (is_topic ? "topic" : "group"));
            f.at.queue("t");
            f.hand_out(0, 10);
            REQUIRE(f.write());
            f.hand_out(10, 20);
            wire::StateRecord changes;
            if (is_topic) {
                changes.add_changes()->set_topicdelete("t");
            } else {
                changes.add_changes()->set_groupdelete("g");
            }
            REQUIRE(f.at.store->state().commit(changes));
            CHECK(f.leases().empty());
            REQUIRE(f.write());
            CHECK(f.at.store->pops().table().size().messages == 0);
            CHECK(killed(f, directory)->leases().empty());
        }
    }

    TEST_CASE("a snapshot has what is in flight, acknowledged though not written included") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path() / "live");
        f.at.queue("t");
        f.hand_out(0, 10);
        REQUIRE(f.write());
        CHECK(f.acknowledge(0, 4) == 4);
        REQUIRE(f.at.store->close());
        f.at.open();
        CHECK(f.leases() == std::vector<PopLease>{{span(4, 10), 100, 50, 1}});
        // The log goes on behind the snapshot.
        CHECK(f.acknowledge(4, 5) == 1);
        REQUIRE(f.write());
        CHECK(f.committed() == 5);
        CHECK(killed(f, directory)->leases() == std::vector<PopLease>{{span(5, 10), 100, 50, 1}});
    }

    TEST_CASE("a question about what nobody pops leaves nothing behind") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path() / "live");
        CHECK(f.acknowledge(0, 1) == -1);
        wire::StateSnapshot snapshot;
        f.at.store->pops().table().save(snapshot);
        CHECK(snapshot.pops().empty());
        REQUIRE(f.write());
    }

    TEST_CASE("what a store that takes no writes could not be told, it is told later") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path() / "live");
        f.at.queue("t");
        f.hand_out(0, 10);
        REQUIRE(f.at.store->close());
        CHECK(code_of(f.write()) == Errc::kClosed);
        CHECK(f.acknowledge(0, 2) == 2);
        CHECK(code_of(f.write()) == Errc::kClosed);
        CHECK(f.leases() == std::vector<PopLease>{{span(2, 10), 100, 50, 1}});
        CHECK(f.at.store->pops().table().has_changes(true));
        wire::StateRecord record;
        CHECK_FALSE(f.at.store->pops().table().take_changes(record, 1 << 20, true));
        REQUIRE(record.changes_size() == 1);
        CHECK(record.changes(0).popput().whole());
        CHECK(record.changes(0).popput().leases_size() == 1);
    }
}

}  // namespace
}  // namespace gantry::storage

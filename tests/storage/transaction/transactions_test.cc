// SPDX-License-Identifier: Apache-2.0
#include "storage/transaction/transactions.h"

#include "common/random.h"
#include "storage/state_machine.h"
#include "tests/storage/damage/killed_store.h"
#include "tests/wire/seed.h"

#include <algorithm>
#include <map>
#include <set>
#include <thread>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kOpenMax = 1'000;

std::string half_properties(const std::string& group, const std::string& immunity) {
    std::string properties;
    REQUIRE(wire::append_property(properties, wire::property::kProducerGroup, group));
    if (!immunity.empty()) {
        REQUIRE(wire::append_property(properties, wire::property::kCheckImmunity, immunity));
    }
    return properties;
}

/// A store in which nothing becomes durable by itself, so that its log may end anywhere.
struct Fixture {
    explicit Fixture(const fs::path& path) : at(path) {
        at.options.flush_interval_ms = 3'600'000;
        at.options.segment_bytes = 1 << 20;
        at.options.prefault_bytes = 1 << 20;
        at.open();
    }

    Result<Appended> open_half(const std::string& body,
                               const std::string& group = "g",
                               const std::string& immunity = {}) {
        const std::string properties = half_properties(group, immunity);
        wire::Record half;
        half.body = as_bytes(body);
        half.properties = properties;
        return at.store->transactions().open(at.queue(std::string(kHalfTopic)), half, kOpenMax);
    }

    Result<Appended> commit(LogOffset half, const std::string& body) {
        wire::Record message;
        message.body = as_bytes(body);
        return at.store->transactions().end_with(half, at.queue("t"), message);
    }

    TransactionTable& table() { return at.store->transactions().table(); }

    StoreFixture at;
};

std::set<std::int64_t> open_halves(Fixture& f) {
    std::set<std::int64_t> halves;
    for (const OpenTransaction& open : f.table().list(LogOffset(0), kOpenMax)) {
        halves.insert(open.half.value);
    }
    return halves;
}

/// What the log says, change by change.
struct Model {
    struct Event {
        LogOffset end;
        std::int64_t half = 0;
        bool opens = false;
        std::string message;  ///< that ends it
    };

    std::set<std::int64_t> open(LogOffset until) const {
        std::set<std::int64_t> halves;
        for (const Event& event : events) {
            if (event.end <= until && event.opens) {
                halves.insert(event.half);
            } else if (event.end <= until) {
                halves.erase(event.half);
            }
        }
        return halves;
    }

    std::vector<std::string> messages(LogOffset until) const {
        std::vector<std::string> bodies;
        for (const Event& event : events) {
            if (event.end <= until && !event.message.empty()) {
                bodies.push_back(event.message);
            }
        }
        return bodies;
    }

    std::vector<Event> events;
};

/// One random change to the store and the model alike.
void step(Fixture& f, Model& model, Random& random, int number) {
    const std::set<std::int64_t> open = open_halves(f);
    if (open.empty() || random.below(2) == 0) {
        const auto opened =
            f.open_half("half " + std::to_string(number), "g" + std::to_string(random.below(3)));
        REQUIRE(opened);
        model.events.push_back({opened->end, opened->first.value, true, {}});
        return;
    }
    const std::int64_t half =
        *std::next(open.begin(), static_cast<std::ptrdiff_t>(random.below(open.size())));
    Transactions& transactions = f.at.store->transactions();
    switch (random.below(3)) {
        case 0: {
            const std::string body = "committed " + std::to_string(number);
            const auto done = f.commit(LogOffset(half), body);
            REQUIRE(done);
            model.events.push_back({done->end, half, false, body});
            CHECK(code_of(f.commit(LogOffset(half), "again")) == Errc::kNotFound);
            break;
        }
        case 1: {
            const auto done = transactions.end(LogOffset(half));
            REQUIRE(done);
            model.events.push_back({done->end, half, false, {}});
            CHECK(code_of(transactions.end(LogOffset(half))) == Errc::kNotFound);
            break;
        }
        default:
            REQUIRE(transactions.asked(std::vector<LogOffset>{LogOffset(half)}));
    }
}

/// The store as it is after a power cut that left the log up to `cut`.
void check_cut(Fixture& live, const fs::path& path, const Model& model, LogOffset cut) {
    copy_store(live.at.options.directory, path);
    const LogOffset end = live.at.store->watermarks().appended;
    overwrite(segment_path(path), cut.value, std::string(bytes_between(cut, end), '\0'));
    Fixture left(path);
    INFO("cut at ", cut.value, " of ", end.value);
    // A record whose last bytes are zeros is whole without them.
    constexpr std::int64_t kZeroBytes = 2;
    const LogOffset kept = std::max(cut, left.at.store->watermarks().appended);
    CHECK(kept <= cut + kZeroBytes);
    CHECK(open_halves(left) == model.open(kept));
    CHECK(read_bodies(*left.at.store, left.at.queue("t")) == model.messages(kept));
}

TEST_SUITE("storage/transaction") {
    TEST_CASE("wherever the log ends, a transaction is open, or its message is there, or neither") {
        Random random(wire::test_seed("transactions"));
        const TemporaryDirectory directory(fast_directory());
        Fixture live(directory.path() / "live");
        live.at.queue("t");
        live.at.queue(std::string(kHalfTopic));
        Model model;
        LogOffset snapshot;
        for (int i = 0; i < 400; ++i) {
            step(live, model, random, i);
            if (random.below(150) == 0) {
                REQUIRE(live.at.store->close());
                live.at.open();
                snapshot = live.at.store->watermarks().appended;
                CHECK(open_halves(live) == model.open(snapshot));
            }
            if (random.below(20) == 0) {
                const LogOffset end = live.at.store->watermarks().appended;
                const std::uint64_t room = bytes_between(snapshot, end);
                const LogOffset cut =
                    snapshot + static_cast<std::int64_t>(room == 0 ? 0 : random.below(room + 1));
                check_cut(live, directory.path() / "image", model, cut);
            }
        }
        check_cut(live, directory.path() / "image", model, live.at.store->watermarks().appended);
    }

    TEST_CASE("what is known of an open transaction survives a kill and a clean stop") {
        const TemporaryDirectory directory;
        Fixture f(directory.path() / "live");
        const LogOffset half = f.open_half("x", "group", "7")->first;
        REQUIRE(f.at.store->transactions().asked(std::vector<LogOffset>{half, half}));
        const auto check = [half](Fixture& at) {
            const auto found = at.table().find(half);
            REQUIRE(found.has_value());
            CHECK(found->group == "group");
            CHECK(found->immunity_ms == 7'000);
            CHECK(found->asked == 2);
            CHECK(found->asked_ms == at.at.clock.wall_ms());
            CHECK(found->store_ms == at.at.clock.wall_ms());
            CHECK(found->queue_offset.value == 0);
        };
        check(f);
        copy_store(f.at.options.directory, directory.path() / "killed");
        Fixture killed(directory.path() / "killed");
        check(killed);
        REQUIRE(f.at.store->close());
        f.at.open();
        CHECK(f.at.recovery.records_replayed == 0);
        check(f);
    }

    TEST_CASE("of commits and rollbacks at once, one wins") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path());
        f.at.queue("t");
        for (int round = 0; round < 50; ++round) {
            const LogOffset half = f.open_half("x")->first;
            std::atomic<int> committed{0};
            std::atomic<int> rolled_back{0};
            std::vector<std::thread> threads;
            for (int i = 0; i < 4; ++i) {
                threads.emplace_back([&, i] {
                    if (i % 2 == 0) {
                        committed += f.commit(half, "y").has_value() ? 1 : 0;
                    } else {
                        rolled_back += f.at.store->transactions().end(half).has_value() ? 1 : 0;
                    }
                });
            }
            for (std::thread& thread : threads) {
                thread.join();
            }
            CHECK(committed + rolled_back == 1);
        }
        CHECK(f.table().size() == 0);
    }

    TEST_CASE("open transactions are limited, and the refusal names the limit") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path());
        wire::Record half;
        Queue& queue = f.at.queue(std::string(kHalfTopic));
        const auto first = f.at.store->transactions().open(queue, half, 1);
        REQUIRE(first);
        const auto second = f.at.store->transactions().open(queue, half, 1);
        REQUIRE_FALSE(second);
        CHECK(second.error().code == Errc::kBusy);
        CHECK(second.error().detail ==
              "1 transactions wait for an outcome, transaction.open_max 1");
        CHECK(queue.max().value == 1);
        REQUIRE(f.at.store->transactions().end(first->first));
        CHECK(f.at.store->transactions().open(queue, half, 1));
    }

    TEST_CASE("a sender of stored records cannot open or end a transaction") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path());
        const LogOffset half = f.open_half("x")->first;
        Queue& queue = f.at.queue("t");
        wire::Record record;
        record.topic = "t";
        const auto append = [&] {
            std::string bytes(wire::record_bytes(record), '\0');
            wire::encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
            return f.at.store->append_records(queue, as_bytes(bytes), 1, false);
        };
        CHECK(append());
        record.prepared_transaction_offset = half.value;
        CHECK(code_of(append()) == Errc::kRefused);
        record.prepared_transaction_offset = 0;
        record.sys_flag = wire::sys_flag::kTransactionPrepared;
        CHECK(code_of(append()) == Errc::kRefused);
    }

    TEST_CASE("what is due comes in the order of its time, once") {
        TransactionTable table;
        for (std::int64_t i = 0; i < 5; ++i) {
            OpenTransaction open;
            open.half = LogOffset(i * 100);
            open.group = "g";
            table.open(open);
            CHECK(table.next_due() == (i == 0 ? TransactionTable::kNever : 1'001 - i));
            table.schedule(open.half, 1'000 - i);
        }
        CHECK(table.take_due(995, 10).empty());
        REQUIRE(table.close(LogOffset(300)));
        const auto due = table.take_due(999, 2);
        REQUIRE(due.size() == 2);
        CHECK(due[0].half.value == 400);
        CHECK(due[1].half.value == 200);
        CHECK(table.take_due(999, 10).size() == 1);
        CHECK(table.next_due() == 1'000);
        table.schedule(LogOffset(0), TransactionTable::kNever);
        CHECK(table.next_due() == TransactionTable::kNever);
        CHECK(table.oldest()->half.value == 0);
        CHECK(table.list(LogOffset(100), 2).size() == 2);
        CHECK(table.size() == 4);
    }

    TEST_CASE("a snapshot with an impossible transaction is damage") {
        wire::StateSnapshot snapshot;
        snapshot.add_transactions()->set_half(1);
        TransactionTable table;
        const Status restored = table.restore(snapshot);
        REQUIRE_FALSE(restored);
        CHECK(restored.error().code == Errc::kCorrupt);
        snapshot.add_transactiongroups("g");
        CHECK(table.restore(snapshot));
        CHECK(table.find(LogOffset(1))->group == "g");
    }
}

}  // namespace
}  // namespace gantry::storage

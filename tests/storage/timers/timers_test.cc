// SPDX-License-Identifier: Apache-2.0
#include "storage/timers/timers.h"

#include "common/random.h"
#include "storage/state_machine.h"
#include "tests/storage/damage/killed_store.h"
#include "tests/wire/seed.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr WallMs kNow = 1'700'000'000'000;
constexpr WallMs kFar = kNow + WallMs{400} * 86'400'000;
constexpr std::size_t kCancelledMax = 1'000;

/// A store in which nothing becomes durable by itself, and the broker's part in a nutshell. Bodies
/// are "number due".
struct Fixture {
    explicit Fixture(const fs::path& path) : at(path) {
        at.options.flush_interval_ms = 3'600'000;
        at.options.segment_bytes = 1 << 20;
        at.options.prefault_bytes = 1 << 20;
    }

    void open(WallMs now) {
        at.clock.set(now);
        at.open();
        at.queue("t");
        REQUIRE(timers().open(wheel(), now));
    }

    Timers& timers() { return at.store->timers(); }

    Queue& wheel() { return at.queue(std::string(kTimerTopic)); }

    Appended wait(const std::string& body, WallMs due, int queue = 0) {
        std::string properties;
        REQUIRE(wire::append_property(properties, "TIMER_OUT_MS", std::to_string(due)));
        REQUIRE(wire::append_property(properties, "REAL_TOPIC", "t"));
        REQUIRE(wire::append_property(properties, "REAL_QID", std::to_string(queue)));
        wire::Record record;
        record.body = as_bytes(body);
        record.properties = properties;
        const auto stored = timers().append(wheel(), at.queue("t", queue), {&record, 1});
        REQUIRE(stored);
        return *stored;
    }

    void fold() {
        for (;;) {
            const auto more = timers().fold(7);
            REQUIRE(more);
            if (!*more) {
                return;
            }
        }
    }

    /// The next messages that are due, as batches by queue.
    std::vector<TimerBatch> next(WallMs now, std::size_t count) {
        for (;;) {
            const auto more = timers().prepare(now, 100);
            REQUIRE(more);
            if (!*more) {
                break;
            }
        }
        const auto due = timers().due(now, count);
        REQUIRE(due);
        std::map<int, TimerBatch> batches;
        records.clear();
        timers().read(*due, [&](const TimerEntry& timer, const Result<wire::Record>& record) {
            REQUIRE(record);
            CHECK(timer.tick() <= now);
            records.emplace_back(as_text(record->body));
            const std::string_view id = wire::find_property(record->properties, "REAL_QID");
            int queue = 0;
            std::from_chars(id.data(), id.data() + id.size(), queue);
            TimerBatch& batch = batches[queue];
            batch.queue = &at.queue("t", queue);
            wire::Record message;
            message.flag = static_cast<std::int32_t>(records.size() - 1);
            batch.records.push_back(message);
            batch.timers.push_back(timer);
        });
        std::vector<TimerBatch> all;
        for (auto& [queue, batch] : batches) {
            for (wire::Record& record : batch.records) {
                record.body = as_bytes(records[static_cast<std::size_t>(record.flag)]);
            }
            all.push_back(batch);
        }
        return all;
    }

    /// Delivers at most `chunks` chunks of what is due.
    void pump(WallMs now, int chunks = 1'000'000, std::size_t count = 5) {
        fold();
        for (; chunks > 0; --chunks) {
            std::vector<TimerBatch> batches = next(now, count);
            if (batches.empty()) {
                fold();
                return;
            }
            std::uint64_t dropped = 0;
            REQUIRE(timers().deliver(batches, dropped));
            CHECK(dropped == 0);
            timers().finish();
        }
    }

    std::vector<std::string> delivered() {
        std::vector<std::string> bodies;
        for (int queue = 0; queue < 3; ++queue) {
            const auto more = read_bodies(*at.store, at.queue("t", queue));
            bodies.insert(bodies.end(), more.begin(), more.end());
        }
        return bodies;
    }

    StoreFixture at;
    std::vector<std::string> records;
};

std::set<std::string> once(const std::vector<std::string>& bodies) {
    std::set<std::string> all(bodies.begin(), bodies.end());
    CHECK(all.size() == bodies.size());
    return all;
}

/// What was stored to wait and cancelled, with the ends of the records that say so.
struct Model {
    std::map<std::string, LogOffset> waiting;
    std::map<std::string, TimerEntry> entries;
    std::map<std::string, LogOffset> cancelled;

    std::set<std::string> expected(LogOffset until) const {
        std::set<std::string> bodies;
        for (const auto& [body, end] : waiting) {
            const auto cancel = cancelled.find(body);
            if (end <= until && (cancel == cancelled.end() || cancel->second > until)) {
                bodies.insert(body);
            }
        }
        return bodies;
    }
};

/// The store as it is after a power cut that left the log up to `cut`, and again after another one
/// in the middle of what it then delivers.
void check_cut(Fixture& live, const fs::path& path, const Model& model, LogOffset cut, WallMs now) {
    copy_store(live.at.options.directory, path);
    const LogOffset end = live.at.store->watermarks().appended;
    overwrite(segment_path(path), cut.value, std::string(bytes_between(cut, end), '\0'));
    LogOffset kept;
    {
        Fixture left(path);
        left.open(now);
        constexpr std::int64_t kZeroBytes = 2;  // a record whose last bytes are zeros
        kept = std::max(cut, left.at.store->watermarks().appended);
        REQUIRE(kept <= cut + kZeroBytes + 4'096);
        kept = std::min(kept, cut + kZeroBytes);
        left.pump(kFar, 3);
        copy_store(path, path.string() + "-again");
    }
    Fixture again(path.string() + "-again");
    again.open(now + 5'000);
    again.pump(kFar, 2);
    if (now % 2 == 0) {
        REQUIRE(again.timers().commit());
    }
    REQUIRE(again.timers().open(again.wheel(), now));  // as when the index is damaged
    again.pump(kFar);
    INFO("cut at ", cut.value, " of ", end.value);
    CHECK(once(again.delivered()) == model.expected(kept));
    CHECK(again.timers().waiting() == 0);
}

TEST_SUITE("storage/timers") {
    TEST_CASE("wherever the log ends, every message that waits is delivered once") {
        Random random(wire::test_seed("timers"));
        const TemporaryDirectory directory(fast_directory());
        Fixture live(directory.path() / "live");
        WallMs now = kNow;
        live.open(now);
        Model model;
        LogOffset begin = live.at.store->watermarks().appended;
        for (int i = 0; i < 300; ++i) {
            live.at.clock.set(now += static_cast<WallMs>(random.below(40)));
            for (std::uint64_t n = random.below(8); n > 0; --n) {
                const WallMs due = now + 1 + static_cast<WallMs>(random.below(300));
                const std::string body =
                    std::to_string(model.waiting.size()) + ' ' + std::to_string(due);
                const Appended stored = live.wait(body, due, static_cast<int>(random.below(3)));
                model.waiting[body] = stored.end;
                model.entries[body] = {
                    due, stored.first, static_cast<std::int32_t>(stored.end - stored.first)};
            }
            if (random.below(5) == 0 && !model.entries.empty()) {
                const auto some =
                    std::next(model.entries.begin(),
                              static_cast<std::ptrdiff_t>(random.below(model.entries.size())));
                const auto end = live.timers().cancel(some->second, kCancelledMax);
                if (end) {
                    model.cancelled[some->first] = *end;
                }
            }
            live.pump(now, static_cast<int>(random.below(3)), 1 + random.below(16));
            if (random.below(10) == 0) {
                REQUIRE(live.timers().commit());
            }
            if (random.below(12) == 0) {
                REQUIRE(live.timers().roll(now - static_cast<WallMs>(random.below(200))));
            }
            if (random.below(60) == 0) {
                REQUIRE(live.at.store->close());
                live.open(now);
                begin = live.at.store->watermarks().appended;
            }
            if (random.below(8) == 0) {
                const LogOffset end = live.at.store->watermarks().appended;
                const LogOffset cut =
                    begin + static_cast<std::int64_t>(random.below(bytes_between(begin, end) + 1));
                check_cut(live, directory.path() / "image", model, cut, now);
            }
        }
        live.pump(kFar);
        live.pump(kFar + 1'000);  // what came during a round
        CHECK(once(live.delivered()) == model.expected(LogOffset(INT64_MAX)));
    }

    TEST_CASE("none is early, and those of a tick come in the order they were stored") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path());
        f.open(kNow);
        f.wait("b", kNow + 31);
        f.wait("a", kNow + 20);
        f.wait("c", kNow + 35);
        f.pump(kNow + 19);
        CHECK(f.delivered().empty());
        f.pump(kNow + 20);
        CHECK(f.delivered() == std::vector<std::string>{"a"});
        f.pump(kNow + 39);
        CHECK(f.delivered().size() == 1);
        f.pump(kNow + 40);
        CHECK(f.delivered() == std::vector<std::string>{"a", "b", "c"});
        // Its time is over when it comes, and the clock was set back.
        f.wait("late", kNow + 30);
        f.pump(kNow + 10);
        CHECK(f.delivered().size() == 3);
        f.pump(kNow + 60);
        CHECK(f.delivered().back() == "late");
    }

    TEST_CASE("a cancelled message is not delivered, also after a restart, and cannot be again") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path());
        f.open(kNow);
        const Appended first = f.wait("first", kNow + 100'000);
        f.wait("second", kNow + 100'000);
        const TimerEntry timer{
            kNow + 100'000, first.first, static_cast<std::int32_t>(first.end - first.first)};
        const auto full = f.timers().cancel(timer, 0);
        CHECK(code_of(full) == Errc::kBusy);
        CHECK(full.error().detail ==
              "0 messages are cancelled and not due yet, delay.cancelled_max 0");
        REQUIRE(f.timers().cancel(timer, 1));
        CHECK(code_of(f.timers().cancel(timer, 1)) == Errc::kGone);
        f.fold();
        CHECK(f.timers().waiting() == 1);
        REQUIRE(f.at.store->close());
        f.open(kNow);
        f.pump(kNow + 100'000);
        CHECK(f.delivered() == std::vector<std::string>{"second"});
        CHECK(code_of(f.timers().cancel(timer, 9)) == Errc::kGone);
        REQUIRE(f.timers().commit());
        CHECK(f.timers().table().cancelled() == 0);
    }

    TEST_CASE("what waits long is stored again, so that the log can go") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path());
        f.at.options.retention.keep_ms = 1;
        f.at.options.retention.held_topics = {std::string(kTimerTopic)};
        f.at.options.segment_bytes = kTestSegmentBytes;
        f.open(kNow);
        const std::string filler(8'000, 'x');
        const Appended far = f.wait("far", kNow + 900'000'000);
        f.fold();
        const auto fill = [&] {
            for (int i = 0; i < 20; ++i) {
                REQUIRE(f.at.append(f.at.queue("other"), {{filler, {}, {}}}));
            }
            REQUIRE(f.at.store->state().commit([] {
                wire::StateRecord change;
                change.add_changes()->mutable_groupput()->set_groupname("g");
                return change;
            }()));
            f.at.store->flush_soon();
            const LogOffset end = f.at.store->watermarks().appended;
            REQUIRE(harness::wait_until(kPatience,
                                        [&] { return f.at.store->watermarks().flushed >= end; }));
        };
        fill();
        f.at.clock.set(kNow + 10'000);
        REQUIRE(f.timers().commit());
        REQUIRE(f.at.store->delete_expired());
        CHECK(f.at.store->watermarks().first <= far.first);
        REQUIRE(f.timers().roll(kNow + 5'000));
        f.fold();
        fill();
        f.at.clock.set(kNow + 20'000);
        REQUIRE(f.timers().commit());
        CHECK(harness::wait_until(kPatience, [&] {
            REQUIRE(f.at.store->delete_expired());
            return f.at.store->watermarks().first > far.first;
        }));
        CHECK(f.timers().waiting() == 1);
        f.pump(kNow + 900'000'000);
        CHECK(f.delivered() == std::vector<std::string>{"far"});
        CHECK(f.timers().waiting() == 0);
    }

    TEST_CASE("scan goes over what waits, piece by piece") {
        const TemporaryDirectory directory(fast_directory());
        Fixture f(directory.path());
        f.open(kNow);
        for (int i = 0; i < 10; ++i) {
            f.wait("m", kNow + (i % 2 == 0 ? 10 : 1'000 + i));
        }
        f.pump(kNow + 20);
        std::vector<WallMs> dues;
        std::int64_t at = 0;
        while (at >= 0) {
            at = f.timers().scan(at, 3, [&](const TimerEntry& timer) {
                dues.push_back(timer.due - kNow);
                return dues.size() != 2;
            });
        }
        CHECK(dues == std::vector<WallMs>{1'001, 1'003, 1'005, 1'007, 1'009});
    }

    TEST_CASE("a snapshot with impossible timers is damage") {
        wire::StateSnapshot snapshot;
        snapshot.mutable_timers()->add_cancelled()->set_at(-1);
        TimerTable table;
        CHECK(code_of(table.restore(snapshot)) == Errc::kCorrupt);
        snapshot.mutable_timers()->mutable_cancelled(0)->set_at(7);
        snapshot.mutable_timers()->mutable_cancelled(0)->set_due(kNow);
        snapshot.mutable_timers()->add_delivered(9);
        snapshot.mutable_timers()->add_setaside(11);
        REQUIRE(table.restore(snapshot));
        CHECK(table.what({kNow, LogOffset(7), 91}) == TimerTable::What::kCancelled);
        CHECK(table.what({kNow, LogOffset(9), 91}) == TimerTable::What::kOver);
        CHECK(table.what({kNow, LogOffset(11), 91}) == TimerTable::What::kOver);
        CHECK(table.what({kNow, LogOffset(8), 91}) == TimerTable::What::kWaiting);
        wire::StateSnapshot saved;
        table.save(saved);
        CHECK(saved.timers().cancelled(0).due() == kNow);
        CHECK(saved.timers().delivered(0) == 9);
        CHECK(saved.timers().setaside(0) == 11);
    }
}

}  // namespace
}  // namespace gantry::storage

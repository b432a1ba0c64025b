// SPDX-License-Identifier: Apache-2.0
// A store that follows another one byte by byte comes to the same, however the bytes are cut and
// whenever it is stopped, killed or loses power.
#include "tests/storage/crash_file_system.h"
#include "tests/storage/damage/killed_store.h"
#include "tests/storage/replica/leader_load.h"
#include "tests/storage/replica/same_store.h"
#include "tests/wire/seed.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

StoreOptions follower_options(const fs::path& directory) {
    StoreOptions options = small_options(directory);
    options.is_replicated = true;
    options.is_follower = true;
    return options;
}

/// A store over a file system whose power can be cut.
struct CutFollower {
    explicit CutFollower(const fs::path& root) : files(root), at(root / "store") {
        at.options = follower_options(root / "store");
        at.files = &files;
        files.set_durable(
            [this] { return at.store == nullptr ? LogOffset(0) : at.store->watermarks().flushed; });
    }

    ~CutFollower() { at.store.reset(); }

    CrashFileSystem files;
    StoreFixture at;
};

/// A leader under load, and a follower with an unlucky life.
class Campaign {
public:
    explicit Campaign(Random& random)
        : random_(random),
          directory_(fast_directory()),
          leader_(directory_.path() / "leader"),
          load_(leader_, random) {
        leader_.options.segment_bytes = std::uint64_t{24'000} << random.below(3);
        leader_.options.hot_bytes = leader_.options.segment_bytes;
        leader_.open();
        load_.opened();
        begin_follower(next_root());
    }

    void run(std::size_t rounds) {
        for (std::size_t i = 0; i < rounds; ++i) {
            load_.steps(random_.below(40));
            const LogOffset end = leader_.store->watermarks().appended;
            const LogOffset from = store().replica().received();
            const auto behind = static_cast<std::uint64_t>(end - from);
            feed(*leader_.store,
                 store(),
                 random_,
                 from + static_cast<std::int64_t>(random_.below(behind + 1)));
            confirm_some();
            if (random_.below(4) == 0) {
                restart();
            }
        }
        compare();
    }

    void lead() {
        if (random_.below(2) == 0) {  // what is not whole goes
            load_.steps(5);
            const LogOffset from = store().replica().received();
            const LogOffset end = leader_.store->watermarks().appended;
            feed(*leader_.store,
                 store(),
                 random_,
                 from + static_cast<std::int64_t>(
                            random_.below(static_cast<std::uint64_t>(end - from) + 1)));
        }
        const LogOffset before = store().watermarks().appended;
        wire::EpochPut epoch;
        epoch.set_epoch(7);
        epoch.set_id(random_.next());
        const auto led = store().replica().lead(epoch);
        REQUIRE(led);
        REQUIRE(store().watermarks().flushed >= led->end);
        const EpochList wanted{{7, epoch.id(), before}};
        REQUIRE(store().replica().epochs() == wanted);
        REQUIRE(led->first >= before);
        LeaderLoad more(follower_->at, random_);
        store().replica().confirm(LogOffset(INT64_MAX));
        more.opened();
        more.steps(60);
        more.settle();
        // Its own log can be followed from where it began.
        StoreFixture third(directory_.path() / "third");
        third.options = follower_options(directory_.path() / "third");
        third.options.segment_bytes = leader_.options.segment_bytes;
        third.open();
        feed(store(), *third.store, random_);
        confirm_all(store());
        confirm_all(*third.store);
        require_same(store(), *third.store);
        third.store.reset();
    }

private:
    Store& store() { return *follower_->at.store; }

    fs::path next_root() {
        fs::path root = directory_.path() / ("follower-" + std::to_string(++lives_));
        fs::create_directories(root);
        return root;
    }

    void begin_follower(const fs::path& root) {
        follower_ = std::make_unique<CutFollower>(root);
        follower_->at.options.segment_bytes = leader_.options.segment_bytes;
        follower_->at.options.hot_bytes = leader_.options.segment_bytes;
        follower_->at.options.checkpoint_bytes = 4'000 + random_.below(60'000);
        follower_->at.options.flush_interval_ms = random_.below(2) == 0 ? 5 : 3'600'000;
        follower_->at.options.flush = random_.below(2) == 0 ? FlushMode::kSync : FlushMode::kAsync;
        follower_->at.open();
    }

    void confirm_some() {
        if (random_.below(3) == 0) {
            store().flush_soon();
        }
        const LogOffset end = store().watermarks().local;
        const LogOffset from = store().watermarks().confirmed;
        confirmed_ = from + static_cast<std::int64_t>(
                                random_.below(static_cast<std::uint64_t>(end - from) + 1));
        store().replica().confirm(confirmed_);
    }

    void restart() {
        if (random_.below(3) == 0) {
            if (random_.below(2) == 0) {
                confirmed_ = store().watermarks().appended;
                store().replica().confirm(confirmed_);
            }
            const bool is_confirmed = confirmed_ >= store().watermarks().appended;
            REQUIRE(store().close());
            follower_->at.open();
            REQUIRE(follower_->at.recovery.was_clean == is_confirmed);
            confirmed_ = LogOffset(0);
            return;
        }
        const PowerCut cut = follower_->files.cut();
        const bool is_kill = random_.below(3) == 0;
        const fs::path root = next_root();
        write_image(cut, is_kill ? Survives::kEverything : Survives::kRandom, random_, root);
        follower_.reset();
        begin_follower(root);
        confirmed_ = LogOffset(0);
        REQUIRE(follower_->at.recovery.lost_ranges == 0);
        REQUIRE(store().watermarks().appended >= cut.durable);
    }

    /// Waits for the disk where confirmed bytes must be there.
    static void confirm_all(Store& store) {
        store.replica().confirm(LogOffset(INT64_MAX));
        store.flush_soon();
        REQUIRE(harness::wait_until(kPatience, [&] {
            return store.watermarks().confirmed == store.watermarks().appended;
        }));
    }

    void compare() {
        load_.settle();
        feed(*leader_.store, store(), random_);
        confirm_all(store());
        require_same(*leader_.store, store());
    }

    Random& random_;
    TemporaryDirectory directory_;
    StoreFixture leader_;
    LeaderLoad load_;
    std::unique_ptr<CutFollower> follower_;
    LogOffset confirmed_;  ///< what the follower was told
    int lives_ = 0;
};

/// A leader with some log, and a follower of it.
struct Pair {
    Pair() : folder(fast_directory()), leader(folder.path() / "a"), follower(folder.path() / "b") {
        follower.options = follower_options(folder.path() / "b");
        leader.open();
        follower.open();
    }

    void catch_up(Random& random) {
        feed(*leader.store, *follower.store, random);
        log().confirm(LogOffset(INT64_MAX));
    }

    ReplicaLog& log() { return follower.store->replica(); }

    TemporaryDirectory folder;
    StoreFixture leader;
    StoreFixture follower;
};

wire::EpochPut epoch_put(std::int64_t epoch, std::uint64_t id) {
    wire::EpochPut put;
    put.set_epoch(epoch);
    put.set_id(id);
    return put;
}

TEST_SUITE("storage/replica/follow") {
    TEST_CASE("a follower comes to the same as its leader, and can lead") {
        Random random(wire::test_seed("storage/replica/follow"));
        for (int i = 0; i < 4; ++i) {
            CAPTURE(i);
            Campaign campaign(random);
            campaign.run(14);
            campaign.lead();
        }
    }

    TEST_CASE("a follower appends nothing of its own, and leads when told") {
        Random random(1);
        Pair pair;
        Queue& queue = pair.leader.queue("t");
        REQUIRE(pair.leader.append(queue, {{"one", "", ""}}));
        pair.catch_up(random);
        Store& follower = *pair.follower.store;
        Queue& own = *follower.find_topic("t")->queue(0);
        CHECK(code_of(pair.follower.append(own, {{"two", "", ""}})) == Errc::kReadOnly);
        wire::StateRecord changes;
        changes.add_changes()->set_topicdelete("t");
        CHECK(code_of(follower.state().commit(changes)) == Errc::kReadOnly);
        CHECK(follower.find_topic("t") != nullptr);
        CHECK(follower.read_only_reason().find("slave") != std::string::npos);
        REQUIRE(pair.log().lead(epoch_put(3, 9)));
        CHECK(follower.read_only_reason().empty());
        REQUIRE(pair.follower.append(own, {{"two", "", ""}}));
        CHECK(read_bodies(follower, own) == std::vector<std::string>{"one", "two"});
        CHECK(code_of(pair.log().lead(epoch_put(3, 10))) == Errc::kConflict);
        REQUIRE(pair.log().lead(epoch_put(4, 10)));
        CHECK(pair.log().epochs().size() == 2);
        pair.log().fence("another one is master");
        CHECK(code_of(pair.follower.append(own, {{"no", "", ""}})) == Errc::kReadOnly);
        CHECK(code_of(follower.state().commit(changes)) == Errc::kReadOnly);
        CHECK(follower.read_only_reason() == "another one is master");
        CHECK(code_of(pair.log().lead(epoch_put(5, 11))) == Errc::kConflict);
        CHECK(read_bodies(follower, own).size() == 2);
    }

    TEST_CASE("bytes that are no continuation are refused, and nothing of them is published") {
        Random random(2);
        Pair pair;
        Queue& queue = pair.leader.queue("t");
        REQUIRE(pair.leader.append(queue, {{"one", "", ""}}));
        pair.catch_up(random);
        const LogOffset end = pair.leader.store->watermarks().appended;
        REQUIRE(pair.leader.append(queue, {{"two", "", ""}, {"three", "", ""}}));
        const LogOffset more = pair.leader.store->watermarks().appended;
        const std::string good = log_bytes(*pair.leader.store, end, more);
        const std::size_t second = load_be<std::uint32_t>(as_bytes(good).data());
        // Size, magic, CRC, queue offset, log offset, body; the same of the second record.
        for (const std::size_t at : {std::size_t{0},
                                     std::size_t{5},
                                     std::size_t{8},
                                     std::size_t{23},
                                     std::size_t{30},
                                     std::size_t{88},
                                     second + 1,
                                     second + 20,
                                     second + 88}) {
            CAPTURE(at);
            std::string bad = good;
            bad[at] = static_cast<char>(bad[at] ^ 0x15);
            const Status taken = pair.log().append_raw(end, as_bytes(bad));
            CHECK((taken || taken.error().code == Errc::kCorrupt));
            CHECK(pair.follower.store->watermarks().appended == end);
            CHECK(read_bodies(*pair.follower.store, *pair.follower.store->find_topic("t")->queue(0))
                      .size() == 1);
        }
        CHECK(pair.log().append_raw(end + 1, as_bytes(good)).error().code == Errc::kConflict);
        REQUIRE(pair.log().append_raw(end, as_bytes(good)));
        require_same(*pair.leader.store, *pair.follower.store);
    }

    TEST_CASE("a frame is published when its last byte is there, and starts over when told") {
        Random random(3);
        Pair pair;
        Queue& queue = pair.leader.queue("t");
        pair.catch_up(random);
        const LogOffset begin = pair.leader.store->watermarks().appended;
        REQUIRE(pair.leader.append(queue, {{"one", "", ""}, {"two", "", ""}}));
        const std::string bytes =
            log_bytes(*pair.leader.store, begin, pair.leader.store->watermarks().appended);
        REQUIRE(pair.log().append_raw(begin, as_bytes(bytes).first(bytes.size() - 1)));
        CHECK(pair.follower.store->watermarks().appended == begin);
        CHECK(pair.log().received() - begin == static_cast<std::int64_t>(bytes.size()) - 1);
        REQUIRE(pair.log().append_raw(begin, as_bytes(bytes).first(7)));
        CHECK(pair.log().received() - begin == 7);
        REQUIRE(pair.log().append_raw(begin + 7, as_bytes(bytes).subspan(7)));
        require_same(*pair.leader.store, *pair.follower.store);
    }

    TEST_CASE("a kill in the middle of a record leaves nothing of it, wherever that is") {
        Random random(8);
        Pair pair;
        Queue& queue = pair.leader.queue("topic-of-the-test");
        pair.catch_up(random);
        const LogOffset begin = pair.leader.store->watermarks().appended;
        SUBCASE("a message with properties") {
            REQUIRE(pair.leader.append(queue, {{"body", "tag", "key"}}));
        }
        SUBCASE("a record of the state, which has none") {
            wire::StateRecord changes;
            changes.add_changes()->mutable_groupput()->set_groupname("group");
            REQUIRE(pair.leader.store->state().commit(changes));
        }
        const std::string bytes =
            log_bytes(*pair.leader.store, begin, pair.leader.store->watermarks().appended);
        // Zeros at the end are there before they are sent.
        const std::size_t whole = bytes.find_last_not_of('\0') + 1;
        StoreFixture killed(pair.folder.path() / "killed");
        killed.options.is_replicated = true;
        killed.options.is_follower = true;
        for (std::size_t sent = whole > 60 ? whole - 60 : 0; sent <= bytes.size(); ++sent) {
            CAPTURE(sent);
            REQUIRE(pair.log().append_raw(begin, as_bytes(bytes).first(sent)));
            copy_store(pair.follower.options.directory, killed.options.directory);
            // As after a cut, or before the first one of a store that was planted.
            fs::remove(killed.options.directory / "checkpoint");
            killed.open();
            const bool is_whole = sent >= whole;
            REQUIRE(killed.store->watermarks().appended ==
                    (is_whole ? pair.leader.store->watermarks().appended : begin));
            feed(*pair.leader.store, *killed.store, random);
            killed.store->replica().confirm(LogOffset(INT64_MAX));
            require_same(*pair.leader.store, *killed.store);
            killed.store.reset();
        }
    }

    TEST_CASE("readers see what is confirmed, and a checkpoint covers no more") {
        Random random(4);
        Pair pair;
        Queue& queue = pair.leader.queue("t");
        for (int i = 0; i < 5; ++i) {
            REQUIRE(pair.leader.append(queue,
                                       {{numbered_body(static_cast<std::size_t>(i), 50), "", ""}}));
        }
        const LogOffset some = pair.leader.store->watermarks().appended;
        REQUIRE(pair.leader.append(queue, {{"last", "", ""}}));
        feed(*pair.leader.store, *pair.follower.store, random);
        Store& follower = *pair.follower.store;
        Queue& own = *follower.find_topic("t")->queue(0);
        CHECK(follower.watermarks().confirmed == LogOffset(0));
        CHECK(follower.confirmed_max(own) == QueueOffset(0));
        std::atomic<int> told{0};
        follower.on_progress([&] { ++told; });
        pair.log().confirm(some);
        CHECK(told > 0);
        CHECK(follower.watermarks().confirmed == some);
        CHECK(read_bodies(follower, own).size() == 5);
        pair.log().confirm(LogOffset(1));
        CHECK(follower.watermarks().confirmed == some);
        REQUIRE(follower.close());
        pair.follower.open();
        CHECK_FALSE(pair.follower.recovery.was_clean);
        CHECK(pair.follower.store->watermarks().appended ==
              pair.leader.store->watermarks().appended);
        pair.log().confirm(LogOffset(INT64_MAX));
        require_same(*pair.leader.store, *pair.follower.store);
        REQUIRE(pair.follower.store->close());
        pair.follower.open();
        CHECK(pair.follower.recovery.was_clean);
    }

    TEST_CASE("readers and checkpoints go on while the log comes in") {
        Random random(6);
        Pair pair;
        pair.follower.options.checkpoint_bytes = 5'000;
        pair.follower.open();
        for (std::size_t i = 0; i < 600; ++i) {
            Queue& queue = pair.leader.queue("t", static_cast<std::int32_t>(i % 3));
            REQUIRE(pair.leader.append(queue, {{numbered_body(i, 200), "", "key"}}));
        }
        pair.log().confirm(LogOffset(INT64_MAX));
        std::atomic<bool> is_over{false};
        std::atomic<std::size_t> reads{0};
        std::thread reader([&] {
            while (!is_over) {
                Topic* const topic = pair.follower.store->find_topic("t");
                for (std::int32_t id = 0; topic != nullptr && id < 3; ++id) {
                    const Queue& queue = *topic->queue(id);
                    const ReadResult result =
                        pair.follower.store->read(queue, {.from = queue.min()});
                    if (result.status == ReadStatus::kCorrupt) {
                        FAIL_CHECK("lost messages at " << result.lost_from.value);
                    }
                    reads += result.count;
                }
            }
        });
        feed(*pair.leader.store, *pair.follower.store, random);
        REQUIRE(harness::wait_until(kPatience, [&] { return reads > 100; }));
        is_over = true;
        reader.join();
        require_same(*pair.leader.store, *pair.follower.store);
        const fs::path image = pair.folder.path() / "image";
        copy_store(pair.follower.options.directory, image);
        StoreFixture killed(image);
        killed.options = follower_options(image);
        killed.open();
        killed.store->replica().confirm(LogOffset(INT64_MAX));
        require_same(*pair.leader.store, *killed.store);
    }

    TEST_CASE("a store that is not replicated confirms what it holds") {
        const TemporaryDirectory folder(fast_directory());
        StoreFixture at(folder.path() / "store");
        at.open();
        REQUIRE(at.append(at.queue("t"), {{"one", "", ""}}));
        const Watermarks marks = at.store->watermarks();
        CHECK(marks.local == marks.appended);
        CHECK(marks.confirmed == marks.appended);
        CHECK(at.store->replica().role() == ReplicaLog::Role::kLeading);
        CHECK_FALSE(at.store->replica().needs_seed());
    }

    TEST_CASE("quarantined log is given to nobody") {
        Killed killed(30, true);
        StoreFixture at(killed.copy());
        overwrite(segment_path(at.options.directory), killed.places[10].first.value + 100, "XX");
        at.open();
        REQUIRE(at.recovery.lost_ranges == 1);
        const LogOffset from = killed.places[10].first;
        const auto before = at.store->replica().piece(LogOffset(0), 1 << 20);
        REQUIRE(before);
        CHECK(before->run.length == static_cast<std::uint64_t>(from.value));
        CHECK(code_of(at.store->replica().piece(from, 100)) == Errc::kCorrupt);
        CHECK(code_of(at.store->replica().piece(from + 5, 100)) == Errc::kCorrupt);
        CHECK(at.store->replica().piece(killed.places[10].end, 100));
        CHECK(code_of(at.store->replica().piece(LogOffset(1 << 30), 1)) == Errc::kNotFound);
    }

    TEST_CASE("checksums of blocks say the epoch") {
        const TemporaryDirectory folder(fast_directory());
        StoreFixture at(folder.path() / "store");
        at.open();
        Queue& queue = at.queue("t");
        REQUIRE(at.append(queue, {{"one", "", ""}}));
        REQUIRE(at.store->replica().lead(epoch_put(12, 1)));
        const LogOffset end = at.append(queue, {{"two", "", ""}}).value().end;
        at.store->flush_soon();
        const BlockSums sums(*at.posix, at.options.directory / "checksum");
        REQUIRE(harness::wait_until(kPatience, [&] {
            const auto loaded = sums.load(LogOffset(0));
            return loaded && !loaded->empty() && loaded->back().end() >= end &&
                   loaded->back().epoch == 12;
        }));
    }
}

}  // namespace
}  // namespace gantry::storage

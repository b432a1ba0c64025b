// SPDX-License-Identifier: Apache-2.0
#include "storage/repair/mender.h"

#include "common/failpoint/failpoint.h"
#include "storage/check/store_check.h"
#include "tests/harness/build.h"
#include "tests/storage/repair/other_copy.h"

#include <algorithm>
#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMessages = 300;

/// Two copies of a durable log: `good` is a closed store that stays as it is, `at` another one with
/// the same bytes, not open yet.
struct Copies {
    explicit Copies(bool with_checkpoint = true)
        : killed(kMessages, true, 900, with_checkpoint),
          good(killed.image),
          at(killed.directory.path() / "mended") {
        copy_store(good, at.options.directory);
    }

    const fs::path& path() const { return at.options.directory; }

    fs::path segment(std::int64_t number) const {
        return segment_path(path(), number * std::int64_t{kTestSegmentBytes});
    }

    /// Changes bytes of a message.
    void damage(std::size_t number, std::int64_t inside, const std::string& bytes) const {
        const std::int64_t place = killed.places[number].first.value + inside;
        const std::int64_t in_segment = place % std::int64_t{kTestSegmentBytes};
        overwrite(segment_path(path(), place - in_segment), in_segment, bytes);
    }

    void flip(std::size_t number, std::int64_t inside) const {
        const LogOffset place(killed.places[number].first.value + inside);
        std::string byte = log_bytes(path(), place, 1).value();
        byte[0] = static_cast<char>(byte[0] ^ 0x20);
        damage(number, inside, byte);
    }

    MendReport repair() {
        const Result<MendReport> report = at.store->repair();
        REQUIRE_MESSAGE(report.has_value(), (report ? "" : to_string(report.error())));
        return *report;
    }

    double value(const std::string& name) { return at.metrics.values().at(name); }

    double lost_ranges() { return value("gantry_store_lost_ranges"); }

    /// Bodies of the topic that are served, damage stepped over.
    std::vector<std::string> served() { return read_bodies(*at.store, at.queue("t")); }

    std::size_t found_by_key() {
        return at.store->find_by_key({"t", "key", 0, at.clock.wall_ms(), 1'000}).size();
    }

    bool is_same_log() const {
        const std::uint64_t end = static_cast<std::uint64_t>(killed.places.back().end.value);
        const auto mine = log_bytes(path(), LogOffset(0), end);
        return mine && *mine == log_bytes(good, LogOffset(0), end).value();
    }

    /// All is there again: now, after a kill and after a clean stop.
    void require_whole() {
        CHECK(lost_ranges() == 0);
        CHECK(value("gantry_store_lost_messages_total") == 0);
        CHECK(is_same_log());
        REQUIRE(served() == killed.bodies);
        CHECK(found_by_key() == kMessages);
        const fs::path again = killed.directory.path() / "killed";
        copy_store(path(), again);
        REQUIRE(at.store->close());
        at.store.reset();
        for (const fs::path& store : {again, path()}) {
            StoreFixture opened(store);
            opened.open();
            CHECK(opened.recovery.lost_ranges == 0);
            CHECK(opened.recovery.bytes_cut == 0);
            REQUIRE(read_bodies(*opened.store, opened.queue("t")) == killed.bodies);
            REQUIRE(opened.store->close());
            opened.store.reset();
            const auto checked = check_store(*opened.posix, {.directory = store});
            REQUIRE(checked);
            CHECK(checked->is_good);
            CHECK(checked->findings.empty());
        }
    }

    Killed killed;
    fs::path good;
    StoreFixture at;
};

/// A copy in which one bit at `place` is another.
OtherCopies::Lie changed_at(LogOffset place) {
    return [place](LogOffset from, std::string bytes) -> Result<std::string> {
        const std::int64_t at = place - from;
        if (at >= 0 && at < static_cast<std::int64_t>(bytes.size())) {
            bytes[static_cast<std::size_t>(at)] ^= 1;
        }
        return bytes;
    };
}

TEST_SUITE("storage/mender") {
    TEST_CASE("what the scrubber finds is taken from the other copy, to the byte") {
        Copies copies;
        copies.at.open();
        std::size_t lost = 1;
        SUBCASE("a flipped bit in a body") {
            copies.flip(150, 300);
        }
        SUBCASE("a flipped bit in a size") {
            copies.flip(150, 1);
        }
        SUBCASE("a flipped bit in a field without a CRC") {
            copies.flip(150, 41);
            lost = 0;  // as many as the block has
        }
        SUBCASE("zeros over many records") {
            copies.damage(150, 10, std::string(20'000, '\0'));
            lost = 0;
        }
        SUBCASE("garbage over the end of a segment") {
            const auto behind = std::find_if(
                copies.killed.places.begin(), copies.killed.places.end(), [](const Appended& at) {
                    return at.first.value >= std::int64_t{2 * kTestSegmentBytes};
                });
            const auto number = static_cast<std::size_t>(behind - copies.killed.places.begin());
            copies.damage(number - 3, 0, std::string(1'500, 'g'));
            lost = 0;
        }
        const Result<ScrubReport> scrubbed = copies.at.store->scrub();
        REQUIRE(scrubbed);
        CHECK(scrubbed->damage > 0);
        const std::size_t before = copies.served().size();
        CHECK(before < kMessages);
        CHECK((lost == 0 || before == kMessages - lost));
        copies.at.store->repair_from(honest_copy(copies.good));
        REQUIRE(harness::wait_until(kPatience, [&] { return copies.lost_ranges() == 0; }));
        CHECK(copies.value("gantry_store_repaired_ranges_total") > 0);
        CHECK(copies.value("gantry_store_repaired_blocks_total") > 0);
        CHECK(copies.value("gantry_store_repaired_bytes_total") > 0);
        CHECK(copies.value("gantry_store_repair_failures_total") == 0);
        const Result<ScrubReport> again = copies.at.store->scrub();
        REQUIRE(again);
        CHECK(again->damage + again->wrong_units == 0);
        copies.require_whole();
    }

    TEST_CASE("what a start has quarantined is taken from the other copy, whatever is missing") {
        Copies copies;
        bool are_indexes_gone = false;
        SUBCASE("a damaged body") {
            copies.flip(150, 300);
        }
        SUBCASE("a damaged head") {
            copies.flip(150, 2);
        }
        SUBCASE("a segment") {
            fs::remove(copies.segment(2));
        }
        SUBCASE("a segment, and the indexes") {
            fs::remove(copies.segment(2));
            are_indexes_gone = true;
        }
        SUBCASE("two segments in a row") {
            fs::remove(copies.segment(1));
            fs::remove(copies.segment(2));
        }
        SUBCASE("all bytes of a segment") {
            fs::resize_file(copies.segment(2), 0);
        }
        SUBCASE("most of a segment") {
            fs::resize_file(copies.segment(2), 10'000);
        }
        SUBCASE("a segment, with its checksums") {
            fs::remove(copies.segment(2));
            fs::remove(copies.path() / "checksum" / copies.segment(2).filename());
        }
        if (are_indexes_gone) {
            for (const char* part : {"consumequeue", "index", "checkpoint"}) {
                fs::remove_all(copies.path() / part);
            }
        }
        copies.at.open();
        CHECK(copies.at.recovery.lost_ranges > 0);
        CHECK(copies.served().size() < kMessages);
        copies.at.store->repair_from(honest_copy(copies.good));
        REQUIRE(harness::wait_until(kPatience, [&] { return copies.lost_ranges() == 0; }));
        copies.require_whole();
    }

    TEST_CASE("a consumer that went past lost messages goes on, one that comes later gets them") {
        Copies copies;
        copies.flip(150, 300);
        copies.at.open();
        Queue& queue = copies.at.queue("t");
        const ReadResult told = copies.at.store->read(queue, {.from = QueueOffset(150)});
        CHECK(told.status == ReadStatus::kCorrupt);
        CHECK(told.lost_from == QueueOffset(150));
        CHECK(told.next == QueueOffset(151));
        copies.at.store->repair_from(honest_copy(copies.good));
        REQUIRE(harness::wait_until(kPatience, [&] { return copies.lost_ranges() == 0; }));
        const ReadResult on = copies.at.store->read(queue, {.from = told.next});
        CHECK(on.status == ReadStatus::kFound);
        const ReadResult later = copies.at.store->read(queue, {.from = QueueOffset(150)});
        CHECK(later.status == ReadStatus::kFound);
        CHECK(later.lost_from == QueueOffset(0));
    }

    TEST_CASE("wrong bytes of a copy are refused, and the next copy is asked") {
        Copies copies;
        copies.at.open();
        copies.flip(150, 300);
        REQUIRE(copies.at.store->scrub());
        REQUIRE(copies.lost_ranges() == 1);
        const LogOffset bad = copies.killed.places[150].first;
        OtherCopies::Lie lie;
        SUBCASE("another body") {
            lie = changed_at(bad + 300);
        }
        SUBCASE("a field without a CRC") {
            lie = changed_at(bad + 41);
        }
        SUBCASE("a record before it in the block") {
            lie = changed_at(bad - 2'000);
        }
        SUBCASE("zeros") {
            lie = [](LogOffset, const std::string& bytes) -> Result<std::string> {
                return std::string(bytes.size(), '\0');
            };
        }
        SUBCASE("records of another place") {
            const fs::path good = copies.good;
            lie = [good](LogOffset, const std::string& bytes) {
                return log_bytes(good, LogOffset(0), bytes.size());
            };
        }
        SUBCASE("fewer bytes") {
            lie = [](LogOffset, const std::string& bytes) -> Result<std::string> {
                return bytes.substr(0, bytes.size() - 1);
            };
        }
        SUBCASE("none") {
            lie = [](LogOffset, const std::string&) -> Result<std::string> {
                return Error{Errc::kGone, "that copy is away"};
            };
        }
        const auto liar = std::make_shared<OtherCopies>(copies.good);
        liar->add(lie);
        copies.at.store->repair_from(liar);
        const MendReport refused = copies.repair();
        CHECK(refused.ranges == 0);
        CHECK(refused.failures == 1);
        CHECK_FALSE(refused.why.empty());
        CHECK(copies.lost_ranges() == 1);
        CHECK(copies.value("gantry_store_repair_failures_total") > 0);
        CHECK(copies.value("gantry_store_repaired_bytes_total") == 0);
        CHECK(copies.served().size() == kMessages - 1);
        const auto both = std::make_shared<OtherCopies>(copies.good);
        both->add(lie);
        both->add_honest();
        copies.at.store->repair_from(both);
        REQUIRE(harness::wait_until(kPatience, [&] { return copies.lost_ranges() == 0; }));
        copies.require_whole();
    }

    TEST_CASE("without the block's checksum a record must still be whole and in its place") {
        Copies copies;
        copies.at.open();
        for (const auto& file : fs::directory_iterator(copies.path() / "checksum")) {
            fs::remove(file.path());
        }
        copies.flip(150, 300);
        REQUIRE(copies.at.store->scrub());
        REQUIRE(copies.lost_ranges() == 1);
        copies.at.store->repair_from(honest_copy(copies.good));
        REQUIRE(harness::wait_until(kPatience, [&] { return copies.lost_ranges() == 0; }));
        CHECK(copies.is_same_log());
    }

    TEST_CASE("topics that a start could not read come back with the start after the repair") {
        Copies copies(false);
        // The first record of the log makes the topic.
        overwrite(segment_path(copies.path()), 60, "garbage");
        copies.at.open();
        REQUIRE(copies.lost_ranges() > 0);
        REQUIRE(copies.at.store->find_topic("t") == nullptr);
        copies.at.store->repair_from(honest_copy(copies.good));
        REQUIRE(harness::wait_until(kPatience, [&] { return copies.lost_ranges() == 0; }));
        CHECK(fs::exists(copies.path() / "unfolded"));
        REQUIRE(copies.at.store->close());
        copies.at.store.reset();
        copies.at.open();
        CHECK(copies.at.store->find_topic("t") != nullptr);
        CHECK_FALSE(fs::exists(copies.path() / "unfolded"));
        CHECK(copies.is_same_log());
    }

    TEST_CASE("a stop does not wait for a copy that does not answer") {
        Copies copies;
        copies.flip(150, 300);
        copies.at.open();

        class Silent final : public ReplicaSource {
        public:
            std::size_t copies() override { return 1; }

            Result<std::string> fetch(std::size_t, LogOffset, std::uint64_t) override {
                is_asked.store(true);
                while (!is_cancelled.load()) {
                    std::this_thread::yield();
                }
                return Error{Errc::kClosed, "cancelled"};
            }

            void cancel() noexcept override { is_cancelled.store(true); }

            std::atomic<bool> is_asked{false};
            std::atomic<bool> is_cancelled{false};
        };

        const auto silent = std::make_shared<Silent>();
        copies.at.store->repair_from(silent);
        REQUIRE(harness::wait_until(kPatience, [&] { return silent->is_asked.load(); }));
        REQUIRE(copies.at.store->close());
        CHECK(code_of(copies.at.store->repair()) == Errc::kClosed);
    }

    TEST_CASE("killed or failing at any stage of a repair, what is lost is lost or mended") {
        if (!failpoint::is_built_in()) {
            return;
        }
        for (const failpoint::Site& site : failpoint::kSites) {
            if (!site.name.starts_with("mend.")) {
                continue;
            }
            CAPTURE(site.name);
            Copies copies;
            fs::remove(copies.segment(2));
            copies.flip(10, 300);
            const pid_t child = ::fork();
            REQUIRE(child >= 0);
            if (child == 0) {
                ::alarm(60);
                Result<Store::Opened> opened = copies.at.try_open();
                if (!opened || !failpoint::set_from_text(std::string(site.name) + "=kill@1")) {
                    std::_Exit(3);
                }
                opened->store->repair_from(honest_copy(copies.good));
                static_cast<void>(opened->store->repair());
                std::_Exit(0);
            }
            int status = 0;
            REQUIRE(::waitpid(child, &status, 0) == child);
            REQUIRE(WIFSIGNALED(status));
            REQUIRE(WTERMSIG(status) == SIGKILL);
            copies.at.open();
            for (const std::string& body : copies.served()) {
                REQUIRE(std::find(copies.killed.bodies.begin(), copies.killed.bodies.end(), body) !=
                        copies.killed.bodies.end());
            }
            if (site.can_fail) {
                REQUIRE(failpoint::set_from_text(std::string(site.name) + "=error"));
            }
            copies.at.store->repair_from(honest_copy(copies.good));
            REQUIRE(harness::wait_until(kPatience, [&] { return copies.lost_ranges() == 0; }));
            failpoint::clear();
            copies.require_whole();
        }
    }
}

}  // namespace
}  // namespace gantry::storage

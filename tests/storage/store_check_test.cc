// SPDX-License-Identifier: Apache-2.0
#include "storage/check/store_check.h"

#include "storage/log/segment.h"
#include "tests/harness/build.h"
#include "tests/storage/store_fixture.h"

#include <algorithm>
#include <fstream>
#include <map>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

std::string content_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void flip(const fs::path& path, std::uint64_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const int before = file.get();
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(before ^ 0x20));
    REQUIRE(file.good());
}

/// Every file of a store and what is in it.
std::map<std::string, std::string> contents(const fs::path& store) {
    std::map<std::string, std::string> all;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(store)) {
        all[entry.path().string()] = entry.is_regular_file() ? content_of(entry.path()) : "";
    }
    return all;
}

/// A store with messages in several queues and segments, stopped cleanly.
struct Stopped {
    explicit Stopped(std::size_t messages, std::size_t body_bytes = 60)
        : directory(fast_directory()), at(directory.path() / "store") {
        at.open();
        for (std::size_t i = 0; i < messages; ++i) {
            Queue& queue =
                at.queue(i % 3 == 0 ? "orders" : "payments", static_cast<std::int32_t>(i % 2));
            const auto appended = at.append(queue, {{numbered_body(i, body_bytes), "tag", "key"}});
            REQUIRE(appended);
            places.push_back(*appended);
            names.push_back("topic " + std::string(queue.topic) + " queue " +
                            std::to_string(queue.queue_id) + " offset " +
                            std::to_string(appended->queue_offset.value));
        }
        REQUIRE(at.store->close());
        at.store.reset();
    }

    CheckReport check() {
        const auto report = check_store(*at.files, {.directory = at.options.directory});
        if (!report) {
            FAIL("check: " << to_string(report.error()));
        }
        return *report;
    }

    fs::path segment(std::int64_t base = 0) const {
        return at.options.directory / "commitlog" / segment_name(LogOffset(base));
    }

    TemporaryDirectory directory;
    StoreFixture at;
    std::vector<Appended> places;
    std::vector<std::string> names;
};

bool names(const Finding& finding, const std::string& message) {
    return std::find(finding.messages.begin(), finding.messages.end(), message) !=
           finding.messages.end();
}

}  // namespace

TEST_SUITE("storage/store_check") {
    TEST_CASE("a sound store has no finding, and the check changes nothing") {
        Stopped store(1'500);
        const auto before = contents(store.at.options.directory);
        CheckReport report = store.check();
        CHECK(report.is_good);
        CHECK(report.findings_total == 0);
        CHECK(report.was_stopped_cleanly);
        CHECK(report.segments >= 2);
        CHECK(report.records >= 1'500);  // and those of the state machine
        CHECK(report.units_compared == report.records);
        CHECK(report.blocks_summed >= 3);
        CHECK(report.end >= store.places.back().end);
        CHECK(contents(store.at.options.directory) == before);
    }

    TEST_CASE("any one flipped byte of the log is found, and its message named") {
        Stopped store(12);
        for (std::size_t i = 0; i < store.places.size(); ++i) {
            const auto begin = static_cast<std::uint64_t>(store.places[i].first.value);
            const auto end = static_cast<std::uint64_t>(store.places[i].end.value);
            for (std::uint64_t at = begin; at < end; at += harness::kIsSanitized ? 11 : 1) {
                CAPTURE(at);
                flip(store.segment(), at);
                const CheckReport report = store.check();
                flip(store.segment(), at);
                REQUIRE_FALSE(report.is_good);
                REQUIRE(report.findings.size() == 1);
                const Finding& finding = report.findings.front();
                REQUIRE(finding.kind == Finding::Kind::kDamage);
                CAPTURE(finding.what);
                CAPTURE(finding.bytes);
                CAPTURE(finding.messages);
                CAPTURE(store.names[i]);
                REQUIRE(names(finding, store.names[i]));
                REQUIRE(finding.at <= LogOffset(static_cast<std::int64_t>(at)));
                REQUIRE(finding.at + static_cast<std::int64_t>(finding.bytes) >
                        LogOffset(static_cast<std::int64_t>(at)));
                REQUIRE(finding.file == store.segment().string());
            }
        }
        CHECK(store.check().is_good);
    }

    TEST_CASE("damage in the middle hides nothing behind it") {
        Stopped store(1'500);
        flip(store.segment(), static_cast<std::uint64_t>(store.places[3].first.value) + 2);
        const auto later = std::find_if(store.places.begin(), store.places.end(), [](auto& place) {
            return place.first > LogOffset(kTestSegmentBytes + 1'000);
        });
        REQUIRE(later != store.places.end());
        const auto index = static_cast<std::size_t>(later - store.places.begin());
        flip(store.segment(kTestSegmentBytes),
             static_cast<std::uint64_t>(later->end.value) - kTestSegmentBytes - 100);
        const CheckReport report = store.check();
        REQUIRE(report.findings.size() == 2);
        CHECK(report.findings[0].messages == std::vector<std::string>{store.names[3]});
        CHECK(names(report.findings[1], store.names[index]));
        CHECK(report.records >= 1'498);
    }

    TEST_CASE("a unit that points elsewhere and one that is lost are told") {
        Stopped store(300);
        // The unit of a message: its log offset, big-endian, behind an extent's header.
        std::string wanted(8, '\0');
        store_be(reinterpret_cast<std::byte*>(wanted.data()), store.places[150].first.value);
        // Files are made ahead: which one an extent lies in depends on when they were ready.
        fs::path units;
        std::size_t at = std::string::npos;
        for (const char* const file : {"00000000", "00000001", "00000002"}) {
            units = store.at.options.directory / "consumequeue" / file;
            at = fs::exists(units) ? content_of(units).find(wanted, 4'096) : std::string::npos;
            if (at != std::string::npos) {
                break;
            }
        }
        REQUIRE(at != std::string::npos);
        flip(units, at + 7);
        CheckReport report = store.check();
        REQUIRE(report.findings.size() == 1);
        CHECK(report.findings[0].kind == Finding::Kind::kIndex);
        CHECK(names(report.findings[0], store.names[150]));
        CHECK_FALSE(report.is_good);
        flip(units, at + 7);
        flip(store.at.options.directory / "consumequeue" / "directory", 40);
        report = store.check();
        REQUIRE(report.findings.size() == 1);
        CHECK(report.findings[0].kind == Finding::Kind::kIndex);
        CHECK(report.units_compared == 0);
    }

    TEST_CASE("messages of a topic that was deleted and made again are no finding") {
        const TemporaryDirectory directory(fast_directory());
        StoreFixture at(directory.path() / "store");
        at.open();
        REQUIRE(at.append(at.queue("t"), {{"first life", "", ""}}));
        wire::StateRecord changes;
        changes.add_changes()->set_topicdelete("t");
        REQUIRE(at.store->state().commit(changes));
        CHECK(at.queue("t").max() == QueueOffset(0));
        REQUIRE(at.store->close());
        at.store.reset();
        const auto report = check_store(*at.files, {.directory = at.options.directory});
        REQUIRE(report);
        CHECK(report->is_good);
        CHECK(report->findings_total == 0);
    }

    TEST_CASE("a missing segment is told with its messages") {
        Stopped store(1'500);
        REQUIRE(fs::remove(store.segment(kTestSegmentBytes)));
        const CheckReport report = store.check();
        REQUIRE(report.findings_total == 1);
        CHECK(report.findings[0].file == store.segment(kTestSegmentBytes).string());
        CHECK(report.findings[0].bytes == kTestSegmentBytes);
        for (std::size_t i = 0; i < store.places.size(); ++i) {
            const bool is_lost = store.places[i].first >= LogOffset(kTestSegmentBytes) &&
                                 store.places[i].end <= LogOffset(2 * kTestSegmentBytes);
            REQUIRE(names(report.findings[0], store.names[i]) == is_lost);
        }
        CHECK(report.records > 700);
    }

    TEST_CASE("the torn tail of a killed store is told and no damage") {
        TemporaryDirectory directory(fast_directory());
        StoreFixture at(directory.path() / "live");
        at.options.flush_interval_ms = 3'600'000;
        at.open();
        Queue& queue = at.queue("t");
        LogOffset last;
        for (std::size_t i = 0; i < 20; ++i) {
            last = at.append(queue, {{numbered_body(i, 60), "", ""}}).value().first;
        }
        const fs::path image = directory.path() / "image";
        copy_store(at.options.directory, image);
        flip(image / "commitlog" / segment_name(LogOffset(0)),
             static_cast<std::uint64_t>(last.value) + 1);
        const auto report = check_store(*at.files, {.directory = image});
        REQUIRE(report);
        CHECK(report->is_good);
        CHECK_FALSE(report->was_stopped_cleanly);
        REQUIRE(report->findings.size() == 1);
        CHECK(report->findings[0].kind == Finding::Kind::kTail);
        CHECK(report->findings[0].at == last);
        CHECK(report->end == last);

        // The live one belongs to its broker.
        CHECK(code_of(check_store(*at.files, {.directory = at.options.directory})) ==
              Errc::kConflict);
        CHECK(code_of(check_store(*at.files, {.directory = directory.path()})) == Errc::kNotFound);
    }

    TEST_CASE("more findings than asked for are counted") {
        Stopped store(200);
        for (std::size_t i = 0; i < 200; i += 10) {
            flip(store.segment(), static_cast<std::uint64_t>(store.places[i].first.value) + 100);
        }
        const auto report = check_store(
            *store.at.files, {.directory = store.at.options.directory, .findings_max = 5});
        REQUIRE(report);
        CHECK(report->findings.size() == 5);
        CHECK(report->findings_total == 20);
    }
}

}  // namespace gantry::storage

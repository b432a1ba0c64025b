// SPDX-License-Identifier: Apache-2.0
#include "storage/log/log_volumes.h"

#include "storage/check/store_check.h"
#include "storage/log/segment.h"
#include "tests/harness/wait.h"
#include "tests/storage/store_fixture.h"

#include <algorithm>
#include <string>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kPatience{60};

/// A store with room for its log on several volumes.
struct Volumes {
    Volumes() : at(directory.path() / "store") {
        at.options.log_directories = {directory.path() / "one", directory.path() / "two"};
        at.options.volume_bytes_max = 20 * kTestSegmentBytes;
        at.options.retention.check_ms = 3'600'000;
    }

    void append(int count) {
        for (int i = 0; i < count; ++i) {
            bodies.push_back(numbered_body(bodies.size(), 1'000));
            REQUIRE(at.append(at.queue("t"), {{bodies.back(), "", ""}}));
        }
    }

    std::size_t segments_in(const std::string& name) const {
        const auto names = at.files->list(directory.path() / name).value();
        return static_cast<std::size_t>(
            std::count_if(names.begin(), names.end(), [](const std::string& file) {
                return parse_segment_name(file).has_value();
            }));
    }

    void check_served() {
        const std::vector<std::string> found = read_bodies(*at.store, at.queue("t"));
        const auto min = at.queue("t").min().value;
        CHECK(found == std::vector<std::string>(bodies.begin() + min, bodies.end()));
    }

    /// A start is refused, and the directory of that name is told.
    void check_refused(Errc code, const std::string& name) {
        const auto opened = at.try_open();
        REQUIRE(code_of(opened) == code);
        CHECK(opened.error().detail.find((directory.path() / name).string()) != std::string::npos);
    }

    TemporaryDirectory directory;
    StoreFixture at;
    std::vector<std::string> bodies;
};

TEST_SUITE("storage/log_volumes") {
    TEST_CASE_FIXTURE(Volumes, "files of the log go where most room is, and are found again") {
        at.open();
        append(500);
        CHECK(segments_in("one") >= 4);
        CHECK(segments_in("two") >= 4);
        CHECK_FALSE(fs::exists(at.options.directory / "commitlog"));
        const auto numbers = at.metrics.values();
        const std::string label = "{directory=\"" + (directory.path() / "two").string() + "\"}";
        CHECK(numbers.at("gantry_store_volume_log_bytes" + label) >= 4.0 * kTestSegmentBytes);
        CHECK(numbers.at("gantry_store_volume_free_bytes" + label) > 0);
        at.open();
        CHECK(at.recovery.was_clean);
        check_served();
        append(100);
        check_served();
        REQUIRE(at.store->close());
        at.store.reset();
        const auto report = check_store(*at.files, {.directory = at.options.directory});
        REQUIRE(report);
        CHECK(report->is_good);
        CHECK(report->segments == segments_in("one") + segments_in("two"));
    }

    TEST_CASE_FIXTURE(Volumes, "old files go from every volume") {
        at.options.retention.bytes_max = 4 * kTestSegmentBytes;
        at.open();
        append(500);
        at.store->flush_soon();
        REQUIRE(harness::wait_until(kPatience, [this] {
            const Watermarks marks = at.store->watermarks();
            return marks.flushed == marks.appended;
        }));
        REQUIRE(at.store->delete_expired());
        CHECK(at.queue("t").min() > QueueOffset(200));
        CHECK(segments_in("one") + segments_in("two") <= 5);
        check_served();
        at.open();
        check_served();
    }

    TEST_CASE_FIXTURE(Volumes,
                      "a directory that is missing, or empty, stops the start by its name") {
        at.open();
        append(300);
        at.store.reset();
        const fs::path two = directory.path() / "two";
        fs::rename(two, directory.path() / "away");
        check_refused(Errc::kNotFound, "two");
        fs::create_directory(two);
        check_refused(Errc::kNotFound, "two");
        fs::remove(two);
        fs::rename(directory.path() / "away", two);
        at.open();
        check_served();
    }

    TEST_CASE_FIXTURE(Volumes, "a directory leaves the store only without files of the log") {
        const std::vector<fs::path> both = at.options.log_directories;
        at.open();
        append(300);
        at.options.log_directories = {both[0]};
        check_refused(Errc::kRefused, "two");
        at.options.log_directories.clear();
        check_refused(Errc::kRefused, "one");
        // Another may come.
        at.options.log_directories = {both[1], directory.path() / "three", both[0]};
        at.open();
        append(200);
        CHECK(segments_in("three") > 0);
        check_served();
        at.store.reset();
        for (const fs::directory_entry& file : fs::directory_iterator(both[0])) {
            if (parse_segment_name(file.path().filename().string())) {
                fs::rename(file.path(), both[1] / file.path().filename());
            }
        }
        at.options.log_directories = {both[1], directory.path() / "three"};
        at.open();
        check_served();
        fs::remove_all(both[0]);
        at.open();
        check_served();
    }

    TEST_CASE_FIXTURE(Volumes, "a store with one directory gets another one") {
        const fs::path own = at.options.directory / "commitlog";
        at.options.log_directories.clear();
        at.open();
        append(200);
        CHECK_FALSE(fs::exists(at.options.directory / "volumes"));
        at.options.log_directories = {directory.path() / "one"};
        check_refused(Errc::kRefused, "store/commitlog");
        at.options.log_directories = {own, directory.path() / "one"};
        at.open();
        append(300);
        CHECK(segments_in("one") > 1);
        at.open();
        check_served();
    }
}

}  // namespace
}  // namespace gantry::storage

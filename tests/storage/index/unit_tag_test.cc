// SPDX-License-Identifier: Apache-2.0
#include "storage/index/unit_tag.h"

#include "storage/check/store_check.h"
#include "tests/storage/store_fixture.h"

#include <limits>
#include <string>
#include <vector>

namespace gantry::storage {
namespace {

constexpr WallMs k2025 = 1'735'689'600'000;
constexpr WallMs kNow = k2025 + 40'000'000'000;

std::string properties_of(const std::string& tag, const std::string& expires_at) {
    std::string properties;
    if (!tag.empty()) {
        REQUIRE(wire::append_property(properties, wire::property::kTags, tag));
    }
    if (!expires_at.empty()) {
        REQUIRE(wire::append_property(properties, wire::property::kExpiresAt, expires_at));
    }
    return properties;
}

std::int64_t tag_of(const std::string& tag, WallMs expires_at) {
    return unit_tag(properties_of(tag, std::to_string(expires_at)));
}

/// A store with messages that expire or not, as their sender wrote them.
struct Fixture {
    Fixture() : at(directory.path()) { at.open(); }

    void append(const std::string& body, const std::string& tag, WallMs expires_at) {
        const std::string properties =
            properties_of(tag, expires_at == 0 ? "" : std::to_string(expires_at));
        wire::Record record;
        record.topic = "t";
        record.body = as_bytes(body);
        record.properties = properties;
        Queue& queue = at.queue("t");
        if (is_native) {
            std::string bytes(wire::record_bytes(record), '\0');
            wire::encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
            REQUIRE(at.store->append_records(queue, as_bytes(bytes), 1, false));
        } else {
            REQUIRE(at.store->append_messages(queue, {&record, 1}));
        }
    }

    ReadResult read(WallMs now, const std::vector<std::int64_t>* tags = nullptr) {
        return at.store->read(at.queue("t"),
                              {.from = QueueOffset(0), .tag_hashes = tags, .now = now});
    }

    std::vector<std::string> bodies(const ReadResult& result) const {
        std::vector<std::string> found;
        for (const LogRun& run : result.runs) {
            const std::string bytes = run_bytes(run);
            REQUIRE(wire::for_each_record(
                as_bytes(bytes), [&](const std::byte*, const wire::Record& record) -> Status {
                    found.emplace_back(as_text(record.body));
                    return ok();
                }));
        }
        return found;
    }

    TemporaryDirectory directory;
    StoreFixture at;
    bool is_native = true;
};

using Bodies = std::vector<std::string>;

}  // namespace

TEST_SUITE("storage/index/unit_tag") {
    TEST_CASE("a unit's tag says the hash and, when there is one, the end of the time to live") {
        CHECK(unit_tag("") == 0);
        CHECK(unit_tag(properties_of("TagA", "")) == 2'598'919);
        CHECK(unit_tag(properties_of("polygenelubricants", "")) == -2'147'483'648LL);
        for (const std::string tag : {"", "TagA", "polygenelubricants"}) {
            CHECK(expiry_in(unit_tag(properties_of(tag, ""))) == 0);
            const std::int64_t expiring = tag_of(tag, kNow);
            CHECK(tag_hash_in(expiring) == wire::tag_hash(tag));
            CHECK(expiry_in(expiring) == kNow);
            CHECK(expiry_in(tag_of(tag, kNow + 1)) == kNow + 250);
        }
        // Before the beginning is at it, behind the end is never, and so is what is no number.
        CHECK(expiry_in(tag_of("", 1)) == k2025 + 250);
        CHECK(expiry_in(tag_of("", k2025)) == k2025 + 250);
        constexpr WallMs kLast = k2025 + 0xFFFF'FFFELL * 250;
        CHECK(expiry_in(tag_of("", kLast)) == kLast);
        CHECK(expiry_in(tag_of("", kLast + 1)) == 0);
        CHECK(expiry_in(tag_of("", std::numeric_limits<WallMs>::max())) == 0);
        for (const char* const text : {"x", "12x", "99999999999999999999", "-"}) {
            CHECK(unit_tag(properties_of("TagA", text)) == 2'598'919);
        }
    }

    TEST_CASE("time is over from its end on, and never for messages without an end") {
        for (const std::string tag : {"", "TagA", "polygenelubricants"}) {
            const std::int64_t plain = unit_tag(properties_of(tag, ""));
            const std::int64_t expiring = tag_of(tag, kNow);
            CHECK(ExpiryClock(kNow).is_over(expiring));
            CHECK(ExpiryClock(std::numeric_limits<WallMs>::max()).is_over(expiring));
            CHECK_FALSE(ExpiryClock(kNow - 1).is_over(expiring));
            CHECK_FALSE(ExpiryClock(0).is_over(expiring));
            for (const WallMs now : {WallMs{0}, kNow, std::numeric_limits<WallMs>::max()}) {
                CHECK_FALSE(ExpiryClock(now).is_over(plain));
            }
        }
    }

    TEST_CASE_FIXTURE(Fixture, "expired messages are left out, and offsets go on behind them") {
        SUBCASE("of native senders") {}
        SUBCASE("of stock senders") {
            is_native = false;
        }
        append("0", "a", kNow);
        append("1", "b", 0);
        append("2", "a", kNow + 1'000);
        append("3", "", kNow);
        CHECK(bodies(read(kNow - 1)) == Bodies{"0", "1", "2", "3"});
        CHECK(bodies(read(0)) == Bodies{"0", "1", "2", "3"});
        const ReadResult some = read(kNow);
        CHECK(bodies(some) == Bodies{"1", "2"});
        CHECK(some.expired == 2);
        CHECK(some.next == QueueOffset(4));
        const std::vector<std::int64_t> tags{wire::tag_hash("a")};
        CHECK(bodies(read(kNow - 1, &tags)) == Bodies{"0", "2"});
        CHECK(bodies(read(kNow, &tags)) == Bodies{"2"});
        const ReadResult none = read(kNow + 1'000, &tags);
        CHECK(none.status == ReadStatus::kNoMatch);
        CHECK(none.next == QueueOffset(4));
        CHECK(none.expired == 3);
    }

    TEST_CASE_FIXTURE(Fixture,
                      "units made anew from the log know the end too, and a check agrees") {
        append("0", "a", kNow);
        append("1", "a", 0);
        const std::filesystem::path killed = at.copies.path() / "killed";
        copy_store(at.options.directory, killed);
        std::filesystem::remove_all(killed / "consumequeue");
        at.store.reset();
        at.options.directory = killed;
        at.open();
        const std::vector<std::int64_t> tags{wire::tag_hash("a")};
        CHECK(bodies(read(kNow, &tags)) == Bodies{"1"});
        REQUIRE(at.store->scrub().value().wrong_units == 0);
        at.store.reset();
        const auto report = check_store(*at.posix, {.directory = killed});
        REQUIRE(report);
        CHECK(report->is_good);
    }
}

}  // namespace gantry::storage

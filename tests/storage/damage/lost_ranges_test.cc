// SPDX-License-Identifier: Apache-2.0
#include "storage/log/lost_ranges.h"

#include "tests/storage/damage/killed_store.h"

namespace gantry::storage {
namespace {

LostRange range(std::int64_t from, std::int64_t to, std::uint64_t messages = 0) {
    return {LogOffset(from), LogOffset(to), 1'700'000'000'000, messages, "rot"};
}

using Pairs = std::vector<std::pair<std::int64_t, std::int64_t>>;

Pairs pairs(const LostRangeList& list) {
    Pairs found;
    for (const LostRange& lost : list) {
        found.emplace_back(lost.from.value, lost.to.value);
    }
    return found;
}

struct Fixture {
    LostRanges::Opened open() const {
        auto opened = LostRanges::open(*files, path);
        REQUIRE(opened);
        return std::move(opened).value();
    }

    /// As a restart would find it.
    Pairs stored() const { return pairs(*open().ranges->snapshot()); }

    TemporaryDirectory directory;
    std::filesystem::path path = directory.path() / "lost";
    std::unique_ptr<FileSystem> files = make_posix_file_system();
};

TEST_SUITE("storage/lost_ranges") {
    TEST_CASE("what is added is there after a restart, whole") {
        const Fixture at;
        CHECK(at.open().ranges->empty());
        {
            const auto opened = at.open();
            REQUIRE(opened.ranges->add(range(300, 400, 7)));
            REQUIRE(opened.ranges->add(range(100, 200)));
        }
        const auto opened = at.open();
        CHECK(opened.damage.empty());
        CHECK_FALSE(opened.ranges->empty());
        const auto list = opened.ranges->snapshot();
        REQUIRE(pairs(*list) == Pairs{{100, 200}, {300, 400}});
        CHECK((*list)[1].messages == 7);
        CHECK((*list)[1].reason == "rot");
        CHECK((*list)[1].found_ms == 1'700'000'000'000);
    }

    TEST_CASE("only what is not covered yet is added, and counted once") {
        const Fixture at;
        const auto opened = at.open();
        REQUIRE(opened.ranges->add(range(100, 200)));
        REQUIRE(opened.ranges->add(range(300, 400)));
        CHECK(pairs(*opened.ranges->add(range(120, 180))).empty());
        const auto added = opened.ranges->add(range(50, 450, 9));
        REQUIRE(added);
        CHECK(pairs(*added) == Pairs{{50, 100}, {200, 300}, {400, 450}});
        std::uint64_t messages = 0;
        for (const LostRange& lost : *opened.ranges->snapshot()) {
            messages += lost.messages;
        }
        CHECK(messages == 9);
        CHECK(at.stored() == Pairs{{50, 100}, {100, 200}, {200, 300}, {300, 400}, {400, 450}});
    }

    TEST_CASE("find_lost gives the first range that overlaps") {
        const LostRangeList list{range(100, 200), range(200, 300), range(500, 600)};
        const auto found = [&list](std::int64_t from, std::int64_t to) {
            const LostRange* const lost = find_lost(list, LogOffset(from), LogOffset(to));
            return lost != nullptr ? lost->from.value : -1;
        };
        CHECK(found(0, 100) == -1);
        CHECK(found(0, 101) == 100);
        CHECK(found(199, 1'000) == 100);
        CHECK(found(200, 201) == 200);
        CHECK(found(300, 500) == -1);
        CHECK(found(599, 600) == 500);
        CHECK(found(600, 700) == -1);
    }

    TEST_CASE("a new tail and a new beginning take ranges away durably") {
        const Fixture at;
        const auto opened = at.open();
        REQUIRE(opened.ranges->add({range(100, 200), range(300, 400), range(500, 600)}));
        REQUIRE(opened.ranges->cut(LogOffset(350)));
        CHECK(at.stored() == Pairs{{100, 200}, {300, 350}});
        REQUIRE(opened.ranges->forget_before(LogOffset(199)));
        CHECK(at.stored() == Pairs{{100, 200}, {300, 350}});
        REQUIRE(opened.ranges->forget_before(LogOffset(200)));
        CHECK(at.stored() == Pairs{{300, 350}});
        REQUIRE(opened.ranges->cut(LogOffset(0)));
        CHECK(opened.ranges->empty());
        CHECK(at.stored().empty());
    }

    TEST_CASE("any changed or missing byte of the file is noticed") {
        const Fixture at;
        REQUIRE(at.open().ranges->add({range(100, 200), range(300, 400)}));
        const auto size = static_cast<std::size_t>(std::filesystem::file_size(at.path));
        const std::string whole = read_bytes(at.path, 0, size);
        for (std::size_t i = 0; i < size; ++i) {
            CAPTURE(i);
            std::string changed = whole;
            changed[i] = static_cast<char>(changed[i] ^ 1);
            overwrite(at.path, 0, changed);
            const auto opened = at.open();
            CHECK_FALSE(opened.damage.empty());
            CHECK(opened.ranges->empty());
        }
        overwrite(at.path, 0, whole);
        for (std::size_t keep = 0; keep < size; ++keep) {
            std::ofstream(at.path, std::ios::binary | std::ios::trunc) << whole.substr(0, keep);
            CHECK_FALSE(at.open().damage.empty());
        }
    }

    TEST_CASE("a list that cannot be written still holds until the restart") {
        Fixture at;
        const auto opened = at.open();
        std::filesystem::remove_all(at.directory.path());
        CHECK_FALSE(opened.ranges->add(range(100, 200)).has_value());
        CHECK(pairs(*opened.ranges->snapshot()) == Pairs{{100, 200}});
        std::filesystem::create_directory(at.directory.path());
    }

    TEST_CASE("metrics show bytes, ranges and messages") {
        const Fixture at;
        MetricRegistry metrics;
        const auto opened = at.open();
        opened.ranges->register_metrics(metrics);
        REQUIRE(opened.ranges->add({range(100, 200, 3), range(300, 450, 4)}));
        const auto values = metrics.values();
        CHECK(values.at("gantry_store_lost_bytes") == 250);
        CHECK(values.at("gantry_store_lost_ranges") == 2);
        CHECK(values.at("gantry_store_lost_messages_total") == 7);
    }
}

}  // namespace
}  // namespace gantry::storage

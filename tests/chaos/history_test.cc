// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/history/history.h"

#include "tests/chaos/history/log_compare.h"
#include "tests/chaos/history/outages.h"
#include "tests/harness/temp_directory.h"

#include <doctest/doctest.h>

#include <fstream>
#include <string>

namespace gantry::chaos {
namespace {

namespace fs = std::filesystem;

void write_file(const fs::path& file, const std::string& text) {
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
}

fs::path segment(const fs::path& store, std::int64_t base) {
    std::string name = std::to_string(base);
    return store / "commitlog" / (std::string(20 - name.size(), '0') + name);
}

/// A send that was acknowledged at that second.
Operation sent_at(std::int64_t second) {
    Operation it;
    it.invoked = it.returned = second * 1'000'000;
    return it;
}

}  // namespace

TEST_SUITE("chaos/history") {
    TEST_CASE("what is written is read again") {
        const harness::TempDirectory directory;
        const fs::path file = directory.path() / "p1.history";
        {
            auto history = HistoryFile::create(file).value();
            Operation it;
            it.invoked = 12;
            it.returned = 34;
            it.process = history->number("p1");
            it.topic = history->number("T");
            it.queue = 3;
            it.producer = history->number("p1");
            it.counter = 77;
            it.sum = 0xABCD;
            it.offset = 5;
            it.epoch = 2;
            it.member = history->number("10.0.0.1:99");
            it.log_offset = 4096;
            history->add(it);
            Operation unknown;
            unknown.process = it.process;
            unknown.outcome = Outcome::kUnknown;
            history->add(unknown);
        }
        std::ofstream(file, std::ios::app) << "13 35 p1 send T";
        History history;
        REQUIRE(read_history(file, history).has_value());
        REQUIRE(history.operations.size() == 2);
        CHECK(format(history.operations[0], history.names) ==
              "12 34 p1 send T 3 p1-77 abcd ok 5 2 10.0.0.1:99@4096");
        CHECK(format(history.operations[1], history.names) == "0 0 p1 send - - - 0 unknown - - -");
    }

    TEST_CASE("a line that is none is refused with its number") {
        const harness::TempDirectory directory;
        const fs::path file = directory.path() / "h";
        write_file(file, "0 0 p1 send - - - 0 ok - - -\n0 0 p1 sent - - - 0 ok - - -\n");
        History history;
        const Status read = read_history(file, history);
        REQUIRE(!read.has_value());
        CHECK(read.error().detail.find(":2: not a line") != std::string::npos);
        CHECK(!read_history(directory.path() / "none", history).has_value());
    }
}

TEST_SUITE("chaos/outages") {
    TEST_CASE("the longest silence that a fault began is its outage") {
        History history;
        for (const std::int64_t second : {1, 2, 3, 9, 10, 30, 31}) {
            history.operations.push_back(sent_at(second));
        }
        Operation failed = sent_at(5);
        failed.outcome = Outcome::kFail;
        history.operations.push_back(failed);
        const auto found = outages(history,
                                   {{"kill", 2'500'000, 4'000'000},
                                    {"kill", 9'500'000, 9'600'000},
                                    {"cut", 10'500'000, 12'000'000}});
        REQUIRE(found.size() == 2);
        CHECK(found[0].kind == "cut");
        CHECK(found[0].max_ms == 19'500);
        CHECK(found[1].count == 2);
        CHECK(found[1].median_ms == 6'000);
        CHECK(found[1].max_ms == 6'000);
        CHECK(report(found).find("kill") != std::string::npos);
    }

    TEST_CASE("sends that never came back are an outage to the end of the fault") {
        History history;
        history.operations.push_back(sent_at(1));
        const auto found = outages(history, {{"all", 2'000'000, 9'000'000}});
        CHECK(found.at(0).max_ms == 7'000);
    }
}

TEST_SUITE("chaos/log_compare") {
    TEST_CASE("logs are equal as far as they are confirmed, wherever they begin") {
        const harness::TempDirectory directory;
        const fs::path a = directory.path() / "a";
        const fs::path b = directory.path() / "b";
        write_file(segment(a, 0), "deleted ");
        write_file(segment(a, 8), "abcdefgh");
        write_file(segment(a, 16), "ijkl----");
        write_file(segment(b, 8), "abcdefgh");
        write_file(segment(b, 16), "ijkl++++");
        CHECK(log_difference({a, b}, 20).value().empty());
        CHECK(log_difference({a, b}, 21).value() ==
              segment(b, 16).string() + " differs at log offset 20");
        write_file(segment(b, 8), "abcdeXgh");
        CHECK(log_difference({a, b}, 20).value() ==
              segment(b, 8).string() + " differs at log offset 13");
        fs::remove(segment(b, 16));
        write_file(segment(b, 8), "abcdefgh");
        CHECK(log_difference({a, b}, 20).value().find("no file of log offset 16") !=
              std::string::npos);
    }

    TEST_CASE("nothing to compare is an error") {
        const harness::TempDirectory directory;
        const fs::path a = directory.path() / "a";
        const fs::path b = directory.path() / "b";
        CHECK(!log_difference({a, b}, 20).has_value());
        write_file(segment(a, 0), "x");
        write_file(segment(b, 64), "x");
        CHECK(!log_difference({a, b}, 20).has_value());
    }
}

}  // namespace gantry::chaos

// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/history/checker.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace gantry::chaos {
namespace {

/// A history in lines, each "process op ... " as in a file, without its times.
Verdict judged(const std::vector<std::string>& lines, const std::vector<EpochMark>& marks = {}) {
    History history;
    std::int64_t now = 0;
    for (const std::string& line : lines) {
        now += 10;
        const std::string times = std::to_string(now) + ' ' + std::to_string(now + 5) + ' ';
        Result<Operation> parsed = parse(times + line, history.names);
        REQUIRE_MESSAGE(parsed.has_value(), line);
        history.operations.push_back(*parsed);
    }
    return check(history, marks);
}

/// Only that rule is broken, so often.
void check_broken(const Verdict& verdict, const std::string& name, std::uint64_t times = 1) {
    INFO(report(verdict));
    CHECK_FALSE(verdict.is_good());
    for (const Verdict::Rule& rule : verdict.rules) {
        CHECK(rule.broken == (rule.name == name ? times : 0));
    }
}

const std::vector<std::string> kGood{
    "p1 send T 0 p1-1 a1 ok 0 1 h1@100",
    "p2 send T 0 p2-1 b1 ok 1 1 h1@200",
    "p1 send T 0 p1-2 a2 unknown - - -",
    "p1 send T 0 p1-3 a3 fail - - -",
    "p1 send T 1 p1-4 a4 ok 0 2 h2@300",
    "c.1 receive T 0 p1-1 a1 ok 0 - -",
    "c.1 receive T 0 p1-1 a1 ok 0 - -",
    "c.2 receive T 0 p2-1 b1 ok 1 - -",
    "c.1 receive T 0 p1-2 a2 ok 2 - -",
    "c.1 receive T 1 p1-4 a4 ok 0 - -",
    "c.1 commit T 0 g-0 0 ok 2 - -",
    "d read T 0 p1-1 a1 ok 0 - -",
    "d read T 0 p2-1 b1 ok 1 - -",
    "d read T 0 p1-2 a2 ok 2 - -",
    "d read T 1 p1-4 a4 ok 0 - -",
    "d committed T 0 g-0 0 ok 2 - -",
};

/// The good history with one line replaced, or left out when the new one is empty.
std::vector<std::string> good_but(const std::string& old_start, const std::string& line) {
    std::vector<std::string> lines;
    bool is_done = false;
    for (const std::string& good : kGood) {
        if (!is_done && good.rfind(old_start, 0) == 0) {
            is_done = true;
            if (!line.empty()) {
                lines.push_back(line);
            }
        } else {
            lines.push_back(good);
        }
    }
    REQUIRE(is_done);
    return lines;
}

std::vector<std::string> good_and(const std::string& line) {
    std::vector<std::string> lines = kGood;
    lines.push_back(line);
    return lines;
}

}  // namespace

TEST_SUITE("chaos/checker") {
    TEST_CASE("a good history is good, and counted") {
        const Verdict verdict = judged(kGood);
        INFO(report(verdict));
        CHECK(verdict.is_good());
        CHECK(verdict.sends_ok == 3);
        CHECK(verdict.sends_failed == 1);
        CHECK(verdict.sends_unknown == 1);
        CHECK(verdict.unknown_stored == 1);
        CHECK(verdict.read == 4);
        CHECK(verdict.received == 5);
        CHECK(verdict.received_again == 1);
        CHECK(verdict.commits == 1);
    }

    TEST_CASE("an acknowledged message that is not read is lost") {
        const Verdict verdict = judged({"p1 send T 0 p1-1 a1 ok 0 1 h1@100",
                                        "p1 send T 0 p1-2 a2 ok 1 1 h1@200",
                                        "d read T 0 p1-1 a1 ok 0 - -"});
        check_broken(verdict, "lost");
        CHECK(verdict.rule("lost").examples.at(0) == "p1-2 at queue 0 offset 1");
    }

    TEST_CASE("a message at another offset than acknowledged is told") {
        check_broken(judged({"p1 send T 0 p1-1 a1 ok 4 1 h1@100", "d read T 0 p1-1 a1 ok 0 - -"}),
                     "moved");
    }

    TEST_CASE("a message stored twice is a duplicate") {
        const Verdict verdict = judged({"p1 send T 0 p1-1 a1 unknown - - -",
                                        "d read T 0 p1-1 a1 ok 0 - -",
                                        "d read T 0 p1-1 a1 ok 1 - -"});
        check_broken(verdict, "duplicate");
    }

    TEST_CASE("messages of one producer in another order are told") {
        const Verdict verdict = judged({"p1 send T 0 p1-1 a1 ok 1 1 h1@100",
                                        "p1 send T 0 p1-2 a2 ok 0 1 h1@200",
                                        "d read T 0 p1-2 a2 ok 0 - -",
                                        "d read T 0 p1-1 a1 ok 1 - -"});
        check_broken(verdict, "order");
    }

    TEST_CASE("an offset left out is a hole") {
        check_broken(judged({"p1 send T 0 p1-1 a1 ok 0 1 h1@100",
                             "p1 send T 0 p1-2 a2 ok 2 1 h1@200",
                             "d read T 0 p1-1 a1 ok 0 - -",
                             "d read T 0 p1-2 a2 ok 2 - -"}),
                     "holes");
    }

    TEST_CASE("an offset that is two messages is rewritten") {
        const Verdict verdict = judged(good_and("c.1 receive T 0 p1-4 a4 ok 1 - -"));
        check_broken(verdict, "rewritten");
    }

    TEST_CASE("two acknowledgements for one offset are told, one of them is lost") {
        const Verdict verdict = judged(good_and("p1 send T 1 p1-5 a5 ok 0 2 h2@400"));
        CHECK(verdict.rule("rewritten").broken == 1);
        CHECK(verdict.rule("lost").broken == 1);
    }

    TEST_CASE("a message nobody sent, or with another body, is told") {
        check_broken(judged({"d read T 0 p9-1 a1 ok 0 - -"}), "from_nowhere");
        check_broken(judged({"p1 send T 0 p1-1 a1 ok 0 1 h1@100", "d read T 0 p1-1 a2 ok 0 - -"}),
                     "from_nowhere");
    }

    TEST_CASE("a message said to have failed and stored is told") {
        check_broken(judged({"p1 send T 0 p1-1 a1 fail - - -", "d read T 0 p1-1 a1 ok 0 - -"}),
                     "from_nowhere");
    }

    TEST_CASE("a message that a consumer saw and nobody finds again is told") {
        check_broken(
            judged({"p1 send T 0 p1-1 a1 unknown - - -", "c.1 receive T 0 p1-1 a1 ok 0 - -"}),
            "seen_then_gone");
    }

    TEST_CASE("a message that a group never got is told") {
        check_broken(judged(good_but("c.1 receive T 1", "")), "undelivered");
    }

    TEST_CASE("a commit that is gone is told, a later commit does not count") {
        check_broken(judged(good_but("d committed", "d committed T 0 g-0 0 ok 1 - -")),
                     "commit_lost");
        CHECK(judged(good_and("c.1 commit T 0 g-0 0 ok 3 - -")).is_good());
    }

    TEST_CASE("two masters that acknowledge in one epoch are told") {
        const Verdict verdict = judged(good_but("p2 send", "p2 send T 0 p2-1 b1 ok 1 1 h2@200"));
        check_broken(verdict, "two_masters");
    }

    TEST_CASE("epochs are found by log offset where the acknowledgement does not tell") {
        const std::vector<std::string> lines{"p1 send T 0 p1-1 a1 ok 0 - h1@100",
                                             "p1 send T 0 p1-2 a2 ok 1 - h1@200",
                                             "p1 send T 0 p1-3 a3 ok 2 - h2@300",
                                             "d read T 0 p1-1 a1 ok 0 - -",
                                             "d read T 0 p1-2 a2 ok 1 - -",
                                             "d read T 0 p1-3 a3 ok 2 - -"};
        CHECK(judged(lines).is_good());
        CHECK(judged(lines, {{1, 0, "h1"}, {2, 250, "h2"}}).is_good());
        check_broken(judged(lines, {{1, 0, "h1"}, {2, 150, "h2"}}), "two_masters");
    }

    TEST_CASE("a later master may acknowledge a repeated send of an earlier epoch") {
        const std::vector<std::string> lines{"p1 send T 0 p1-1 a1 ok 0 - h1@100",
                                             "p1 send T 0 p1-2 a2 ok 1 - h2@200",
                                             "d read T 0 p1-1 a1 ok 0 - -",
                                             "d read T 0 p1-2 a2 ok 1 - -"};
        CHECK(judged(lines, {{1, 0, "h1"}, {2, 250, "h2"}}).is_good());
        check_broken(judged(lines, {{1, 0, "h1"}, {2, 250, "h3"}}), "two_masters");
    }
}

}  // namespace gantry::chaos

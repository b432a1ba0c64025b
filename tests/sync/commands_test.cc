// SPDX-License-Identifier: Apache-2.0
#include "sync/commands.h"

#include "sync/report/status.h"
#include "tests/harness/temp_directory.h"

#include <doctest/doctest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace gantry::sync {
namespace {

struct Outcome {
    int code = -1;  ///< -1: no command
    std::string out;
    std::string err;
};

Outcome run(std::vector<const char*> words) {
    words.insert(words.begin(), "gantry-sync");
    std::ostringstream out;
    std::ostringstream err;
    const auto code = run_command(static_cast<int>(words.size()), words.data(), {out, err});
    return {code.value_or(-1), out.str(), err.str()};
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// A usage error whose text has `part`.
void check_usage(const Outcome& outcome, const std::string& part) {
    CHECK(outcome.code == 2);
    CHECK_MESSAGE(has(outcome.err, part), outcome.err);
    CHECK(outcome.out.empty());
}

}  // namespace

TEST_SUITE("sync/commands") {
    TEST_CASE("what no command is named is the daemon's") {
        CHECK(run({}).code == -1);
        CHECK(run({"--set"}).code == -1);
        CHECK(run({"chekc", "f.toml"}).code == -1);
    }

    TEST_CASE("wrong words exit with 2 and are named") {
        check_usage(run({"check"}), "check takes FILE, got 0");
        check_usage(run({"check", "a", "b"}), "check takes FILE, got 2");
        check_usage(run({"check", "--colour", "a"}), "colour");
        check_usage(run({"translate", "f", "--group", "g"}), "translate needs --route");
        check_usage(run({"translate", "f", "--route", "r"}), "translate needs --group");
        check_usage(run({"status", "-o", "yaml"}), "--output \"yaml\" is none of table, json");
        check_usage(run({"status", "5"}), "status takes nothing, got \"5\"");
        check_usage(run({"status", "--watch", "0"}), "--watch \"0\": allowed are 1 to 3600");
        check_usage(run({"status", "--watch=-1"}), "--watch \"-1\": allowed are 1 to 3600");
        check_usage(run({"status", "--watch=soon"}), "--watch \"soon\"");
        check_usage(run({"status", "--http", "nowhere"}), "--http address \"nowhere\"");
        check_usage(run({"status", "--http", "127.0.0.1:99999"}), "up to 65535");
    }

    TEST_CASE("every command has its own help") {
        for (const char* const command : {"check", "status", "translate"}) {
            const Outcome help = run({command, "--help"});
            CHECK(help.code == 0);
            CHECK(has(help.out, std::string("gantry-sync ") + command));
        }
    }

    TEST_CASE("exit codes are the CLI's: 3 not found, 4 unreachable, 1 what is wrong otherwise") {
        const harness::TempDirectory directory;
        const std::string file = (directory.path() / "routes.toml").string();
        std::ofstream(file) << "[clusters.a]\nnameservers = [\"127.0.0.1:1\"]\n";
        const Outcome missing = run({"check", "/nonexistent.toml"});
        CHECK(missing.code == 3);
        CHECK(has(missing.err, "/nonexistent.toml: No such file"));
        CHECK(run({"check", directory.path().c_str()}).code == 1);
        const Outcome route = run({"translate", file.c_str(), "--route", "nope", "--group", "g"});
        CHECK(route.code == 3);
        CHECK_MESSAGE(has(route.err, "no route is named \"nope\"; the file has none"), route.err);
        const Outcome group = run({"translate", file.c_str(), "--route", "nope", "--group", "a b"});
        CHECK(group.code == 1);
        CHECK_MESSAGE(has(group.err, "group \"a b\""), group.err);
        const Outcome nobody = run({"status", "--http", "127.0.0.1:1"});
        CHECK(nobody.code == 4);
        CHECK_MESSAGE(has(nobody.err, "--http 127.0.0.1:1: Connection refused"), nobody.err);
        const Outcome none = run({"check", file.c_str()});
        CHECK(none.code == 0);
        CHECK(none.out == "good: no routes\n");
    }

    TEST_CASE("the table of status says why there is nothing, and what is not known") {
        const auto table = [](std::vector<RouteReport> reports) {
            return status_table(status_json(reports, 1'000)).value();
        };
        CHECK(table({}) == "no routes\n");
        RouteReport idle;
        idle.name = "typo";
        idle.from = "berlin";
        CHECK(has(table({idle}), "no topic of berlin fits, or other daemons have all its queues"));
        RouteReport away = idle;
        away.problem = "queue 0 is away";
        QueueReport& queue = away.queues.emplace_back();
        queue.source = {"T", "b", 0};
        queue.state = QueueCopier::State::kRunning;
        const std::string shown = table({away});
        CHECK(has(shown, "queue 0 is away"));
        CHECK_FALSE(has(shown, "no topic"));
        CHECK_MESSAGE(has(shown, "running    -      -"), shown);  // its end is not known
    }

    TEST_CASE("what another program answers is no status") {
        for (const char* const text : {"[]",
                                       "{\"routes\":",
                                       "{\"routes\":5}",
                                       "{\"routes\":[{\"name\":\"r\"}]}",
                                       "{\"routes\":[{\"queues\":[1]}]}",
                                       "404 Not Found",
                                       ""}) {
            const Result<std::string> shown = status_table(text);
            REQUIRE_MESSAGE(!shown, text);
            CHECK(shown.error().code == Errc::kCorrupt);
        }
    }
}

}  // namespace gantry::sync

// SPDX-License-Identifier: Apache-2.0
#include "cli/retry/backoff.h"
#include "cli/session.h"
#include "cli/table.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/metrics.h"
#include "protocol/wire/state.pb.h"
#include "storage/store.h"
#include "tests/harness/temp_directory.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <sstream>
#include <string>
#include <vector>

namespace gantry::cli {
namespace {

struct Outcome {
    int code = 0;
    std::string out;
    std::string err;
};

Outcome run(std::vector<const char*> words) {
    words.insert(words.begin(), "gantry");
    std::istringstream in;
    std::ostringstream out;
    std::ostringstream err;
    Session session({in, out, err});
    const int code = run_cli(static_cast<int>(words.size()), words.data(), session);
    return {code, out.str(), err.str()};
}

}  // namespace

TEST_SUITE("tools/cli") {
    TEST_CASE("--help lists every command and the exit codes") {
        const Outcome help = run({"--help"});
        CHECK(help.code == 0);
        for (const char* command :
             {"topic create", "topic list",      "topic describe",   "topic update",
              "topic delete", "group list",      "group describe",   "group set",
              "delay list",   "delay cancel",    "dlq list",         "dlq show",
              "dlq redrive",  "dlq purge",       "transaction list", "transaction resume",
              "order list",   "order release",   "order drop",       "message get",
              "cluster",      "broker describe", "message query",    "produce",
              "consume",      "store check",     "store dump",       "store import",
              "store repair", "broker list",     "broker replicas",  "broker promote",
              "Exit codes"}) {
            CHECK(help.out.find(command) != std::string::npos);
        }
    }

    TEST_CASE("usage errors exit with 2 and name what is wrong") {
        CHECK(run({}).code == 2);
        const Outcome unknown = run({"topik", "list"});
        CHECK(unknown.code == 2);
        CHECK(unknown.err.find("topik list") != std::string::npos);
        const Outcome option = run({"topic", "list", "--colour"});
        CHECK(option.code == 2);
        CHECK(option.err.find("colour") != std::string::npos);
        const Outcome missing = run({"topic", "create"});
        CHECK(missing.code == 2);
        CHECK(missing.err.find("TOPIC") != std::string::npos);
        const Outcome output = run({"topic", "list", "-o", "yaml"});
        CHECK(output.code == 2);
        CHECK(output.err.find("yaml") != std::string::npos);
    }

    TEST_CASE("every command has its own help") {
        const Outcome help = run({"topic", "create", "--help"});
        CHECK(help.code == 0);
        CHECK(help.out.find("--read-queues") != std::string::npos);
    }

    TEST_CASE("a noun alone shows what can be done with it") {
        const Outcome help = run({"message", "--help"});
        CHECK(help.code == 0);
        CHECK(help.out.find("message get ID") != std::string::npos);
        CHECK(help.out.find("message query TOPIC") != std::string::npos);
        CHECK(help.out.find("topic") == std::string::npos);
        const Outcome bare = run({"message"});
        CHECK(bare.code == 2);
        CHECK(bare.err == help.out);
        const Outcome unknown = run({"message", "gett"});
        CHECK(unknown.code == 2);
        CHECK(unknown.err.find("message gett") != std::string::npos);
    }

    TEST_CASE("deleting asks for --yes before it talks to anybody") {
        const Outcome refused = run({"topic", "delete", "orders", "-n", "127.0.0.1:1"});
        CHECK(refused.code == 1);
        CHECK(refused.err.find("--yes") != std::string::npos);
    }

    TEST_CASE("dead letters: what is to be done is said once, and in its limits") {
        const auto said = [](std::vector<const char*> words) {
            words.insert(words.end(), {"-n", "127.0.0.1:1"});
            const Outcome refused = run(words);
            CHECK(refused.code == 1);
            return refused.err;
        };
        CHECK(said({"dlq", "redrive", "G"}).find("given: 0") != std::string::npos);
        CHECK(said({"dlq", "redrive", "G", "--all", "--offset", "3"}).find("given: 2") !=
              std::string::npos);
        CHECK(said({"dlq", "purge", "G"}).find("--yes") != std::string::npos);
        CHECK(said({"dlq", "purge", "G", "--yes", "--before", "soon"}).find("\"soon\"") !=
              std::string::npos);
        CHECK(said({"dlq", "show", "G", "--count", "10001"})
                  .find("--count 10001 is not in 1..10000") != std::string::npos);
        CHECK(said({"group", "set", "G"}).find("--retry-max, --backoff or --out-of-range") !=
              std::string::npos);
        CHECK(said({"group", "set", "G", "--backoff", "1s,soon"}).find("\"soon\" is no time") !=
              std::string::npos);
        CHECK(run({"dlq", "show"}).code == 2);
    }

    TEST_CASE("a backoff is written as it is read") {
        for (const char* const text : {"default",
                                       "10s",
                                       "1s,5s,90s,2m,1h",
                                       "1500ms,0ms",
                                       "exponential:5s,2h,2",
                                       "exponential:1ms,1s,1"}) {
            const auto backoff = parse_backoff(text);
            REQUIRE(backoff);
            CHECK(backoff_text(*backoff) == text);
        }
        CHECK(parse_backoff("1s,5s")->table_ms == std::vector<std::int64_t>{1'000, 5'000});
        for (const char* const text : {"",
                                       "10",
                                       "10s,",
                                       "s",
                                       "-1s",
                                       "1.5s",
                                       "1d",
                                       "9999999999999s",
                                       "exponential:",
                                       "exponential:1s,2s",
                                       "exponential:1s,2s,2s"}) {
            CAPTURE(text);
            CHECK_FALSE(parse_backoff(text));
        }
    }

    TEST_CASE("store check wants a store, and names what is none") {
        const Outcome none = run({"store", "check", "/nonexistent-store"});
        CHECK(none.code == 3);
        CHECK(none.err.find("/nonexistent-store is no store") != std::string::npos);
        CHECK(none.out.empty());
        CHECK(run({"store", "check"}).code == 2);
    }

    TEST_CASE("store check says what it read, as a table and as JSON") {
        const harness::TempDirectory directory;
        const std::unique_ptr<FileSystem> files = make_posix_file_system();
        {
            SystemClock clock;
            MetricRegistry metrics;
            storage::StoreOptions options;
            options.directory = directory.path();
            options.segment_bytes = 1 << 20;
            options.free_bytes_min = 0;
            auto opened = storage::Store::open(*files, clock, metrics, options);
            REQUIRE(opened);
            const Outcome busy = run({"store", "check", directory.path().c_str()});
            CHECK(busy.code == 6);
            REQUIRE(opened->store->close());
        }
        const Outcome table = run({"store", "check", directory.path().c_str()});
        CHECK(table.code == 0);
        CHECK(table.out.find("verdict") != std::string::npos);
        const Outcome json = run({"store", "check", directory.path().c_str(), "-o", "json"});
        CHECK(json.code == 0);
        const auto report = nlohmann::json::parse(json.out);
        CHECK(report["good"] == true);
        CHECK(report["findings"].empty());
    }

    TEST_CASE("store dump prints records and what they change, store repair asks for --yes") {
        const harness::TempDirectory directory;
        const std::unique_ptr<FileSystem> files = make_posix_file_system();
        const char* const path = directory.path().c_str();
        {
            SystemClock clock;
            MetricRegistry metrics;
            storage::StoreOptions options;
            options.directory = directory.path();
            options.segment_bytes = 1 << 20;
            options.free_bytes_min = 0;
            auto opened = storage::Store::open(*files, clock, metrics, options);
            REQUIRE(opened);
            wire::StateRecord changes;
            wire::TopicConfig& topic = *changes.add_changes()->mutable_topicput();
            topic.set_topicname("orders");
            topic.set_readqueuenums(2);
            topic.set_writequeuenums(2);
            topic.set_perm(6);
            REQUIRE(opened->store->state().commit(changes));
            wire::Record record;
            record.body = as_bytes("h\xff\n");
            REQUIRE(opened->store->append_messages(*opened->store->find_topic("orders")->queue(1),
                                                   {&record, 1}));
            CHECK(run({"store", "dump", path}).code == 6);
            REQUIRE(opened->store->close());
        }
        const Outcome text = run({"store", "dump", path});
        CHECK(text.code == 0);
        CHECK(text.out.find("topic orders: read 2, write 2, perm 6") != std::string::npos);
        CHECK(text.out.find("topic orders queue 1 offset 0") != std::string::npos);
        CHECK(text.out.find("body 3 B: h\\xff\\x0a") != std::string::npos);
        const Outcome json = run({"store", "dump", path, "--topic", "orders", "-o", "json"});
        const auto line = nlohmann::json::parse(json.out);
        CHECK(line["body_base64"] == "aP8K");
        const Outcome hex =
            run({"store", "dump", path, "--topic", "orders", "--body", "hex", "-o", "json"});
        CHECK(nlohmann::json::parse(hex.out)["body_hex"] == "68ff0a");
        CHECK(run({"store", "dump", path, "--body", "morse"}).code == 1);
        const Outcome units = run({"store", "dump", path, "--what", "units", "--topic", "orders"});
        CHECK(units.out.find("topic orders queue 1 offset 0: ") == 0);
        const Outcome state = run({"store", "dump", path, "--what", "state"});
        CHECK(state.out.find("topic orders: read 2") != std::string::npos);
        CHECK(run({"store", "dump", path, "--what", "sums"}).out.find("log 0, ") == 0);
        CHECK(run({"store", "dump", path, "--what", "checkpoint"}).out.find("checkpoint ") == 0);

        const Outcome good = run({"store", "repair", path});
        CHECK(good.code == 0);
        CHECK(good.out.find("nothing to repair") != std::string::npos);
        const Outcome asked = run({"store", "repair", path, "--rebuild-all"});
        CHECK(asked.code == 1);
        CHECK(asked.err.find("--yes") != std::string::npos);
        const Outcome done = run({"store", "repair", path, "--rebuild-all", "--yes", "-o", "json"});
        CHECK(done.code == 0);
        CHECK(nlohmann::json::parse(done.out)["after"]["good"] == true);
        CHECK(run({"store", "repair", path, "--cut-at", "somewhere"}).code == 1);
    }

    TEST_CASE("store import wants to know where to, and a RocketMQ store to import") {
        const Outcome nowhere = run({"store", "import", "/nonexistent"});
        CHECK(nowhere.code == 1);
        CHECK(nowhere.err.find("--to") != std::string::npos);
        const harness::TempDirectory directory;
        const std::string target = (directory.path() / "new").string();
        CHECK(run({"store", "import", "/nonexistent", "--to", target.c_str()}).code == 3);
    }

    TEST_CASE("a nameserver that is not there exits with 4") {
        const Outcome gone = run({"topic", "list", "-n", "127.0.0.1:1", "--timeout", "300"});
        CHECK(gone.code == 4);
        CHECK(gone.err.find("127.0.0.1:1") != std::string::npos);
    }
}

TEST_SUITE("tools/table") {
    TEST_CASE("columns are aligned, numbers to the right") {
        Table table({"NAME", "COUNT"});
        table.add({"a", "5"});
        table.add({"longer", "1000"});
        CHECK(table.text() == "NAME    COUNT\na           5\nlonger   1000\n");
    }

    TEST_CASE("bytes and times are readable") {
        CHECK(bytes_text(1023) == "1023 B");
        CHECK(bytes_text(1536) == "1.5 KiB");
        CHECK(time_text(0) == "-");
        CHECK(time_text(1'795'217'708'399) == "2026-11-20 23:35:08.399");
    }

    TEST_CASE("times are milliseconds or dates in UTC") {
        CHECK(parse_time("1795217708399").value() == 1'795'217'708'399);
        CHECK(parse_time("2026-11-20T23:35:08Z").value() == 1'795'217'708'000);
        CHECK(parse_time("2026-11-20").value() == 1'795'132'800'000);
        CHECK_FALSE(parse_time("yesterday"));
    }
}

}  // namespace gantry::cli

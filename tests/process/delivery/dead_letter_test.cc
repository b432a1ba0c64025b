// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"
#include "client/consumer.h"
#include "common/mutex.h"
#include "common/random.h"
#include "protocol/wire/message.pb.h"
#include "tests/harness/broker_calls.h"
#include "tests/harness/build.h"
#include "tests/harness/cluster.h"
#include "tests/harness/programs.h"
#include "tests/harness/rpc_client.h"
#include "tests/harness/wait.h"
#include "tests/process/sender.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{60'000};
constexpr int kPageMessages = 32;  // what a redrive has under way

std::uint64_t test_seed() {
    const char* const given = std::getenv("GANTRY_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
}

std::multiset<std::string> numbered(int count) {
    std::multiset<std::string> bodies;
    for (int i = 0; i < count; ++i) {
        bodies.insert("m" + std::to_string(i));
    }
    return bodies;
}

/// A cluster with the topic T, and the command line to it.
class DeadLetters {
public:
    explicit DeadLetters(const std::string& flush = "async") {
        Cluster::Options options;
        options.broker_settings["store.flush"] = flush;
        options.broker_settings["store.segment_bytes"] = "16MiB";
        options.broker_settings["store.free_bytes_min"] = "0";
        auto started = Cluster::start(options);
        REQUIRE_MESSAGE(started.has_value(), (started ? "" : to_string(started.error())));
        cluster = std::move(started).value();
        REQUIRE(create_topic(*connect(), "T", 1).summary() == "0");
    }

    std::unique_ptr<RpcClient> connect() {
        return std::make_unique<RpcClient>(cluster->broker().address());
    }

    std::vector<std::string> command(std::vector<std::string> words) {
        words.insert(words.end(), {"-n", cluster->nameserver().address()});
        return words;
    }

    ProgramRun run(const std::vector<std::string>& words) {
        auto ended = run_program(cli_executable(), command(words));
        REQUIRE_MESSAGE(ended.has_value(), (ended ? "" : to_string(ended.error())));
        return std::move(ended).value();
    }

    /// Runs a command that must succeed; what it printed as JSON.
    json ask(std::vector<std::string> words) {
        words.insert(words.end(), {"-o", "json"});
        const ProgramRun ended = run(words);
        REQUIRE_MESSAGE(ended.code == 0, ended.err);
        return json::parse(ended.out);
    }

    /// How many wait, as `gantry dlq list` says.
    std::int64_t waiting(const std::string& group) {
        for (const json& row : ask({"dlq", "list"})) {
            if (row["group"] == group) {
                return row["count"].get<std::int64_t>();
            }
        }
        return -1;
    }

    /// Sends "m0", "m1" ... to T, all at once; their log offsets.
    std::vector<std::int64_t> send_numbered(int count) {
        const auto client = connect();
        std::vector<std::future<Answer>> sends;
        for (int i = 0; i < count; ++i) {
            wire::SendRecordsRequest request;
            request.set_topic("T");
            request.set_queueid(0);
            request.set_count(1);
            request.set_haskeys(true);
            request.set_hastags(true);
            sends.push_back(
                client->start(wire::RequestCode::kSendRecords,
                              &request,
                              records("T", 0, {{"m" + std::to_string(i), "Tag", "key"}})));
        }
        std::vector<std::int64_t> offsets;
        for (std::future<Answer>& send : sends) {
            const Answer sent = send.get();
            REQUIRE(sent.summary() == "0");
            offsets.push_back(sent.fields<wire::SendRecordsResponse>().logoffset());
        }
        return offsets;
    }

    static std::future<Answer> give_up(RpcClient& client, std::int64_t log_offset) {
        wire::ConsumerSendMsgBackRequest request;
        request.set_group("G");
        request.set_offset(log_offset);
        request.set_delaylevel(-1);
        return client.start(wire::RequestCode::kConsumerSendMsgBack, &request);
    }

    /// Sends `count` messages to T and makes them dead letters of the group G; `in_order`: one
    /// after the other.
    void make_dead(int count, bool in_order = false) {
        REQUIRE(run({"group", "set", "G", "--retry-max", "16"}).code == 0);
        const auto client = connect();
        std::vector<std::future<Answer>> given_up;
        for (const std::int64_t offset : send_numbered(count)) {
            given_up.push_back(give_up(*client, offset));
            if (in_order) {
                given_up.back().wait();
            }
        }
        for (std::future<Answer>& answer : given_up) {
            REQUIRE(answer.get().summary() == "0");
        }
    }

    /// How far a redrive of G has come; -1: it did not begin, or nobody answers.
    std::int64_t progress(RpcClient& client) {
        wire::QueryConsumerOffsetRequest request;
        request.set_consumergroup("GANTRY_SYS_DLQ");
        request.set_topic("%DLQ%G");
        request.set_queueid(0);
        request.set_setzeroifnotfound(false);
        const Answer answer = client.call(wire::RequestCode::kQueryConsumerOffset, &request);
        return answer.summary() == "0" ? answer.fields<wire::OffsetResponse>().offset() : -1;
    }

    std::unique_ptr<Process> start_redrive(const std::string& name) {
        auto started = Process::start(cli_executable(),
                                      command({"dlq", "redrive", "G", "--all"}),
                                      cluster->directory(),
                                      name);
        REQUIRE(started.has_value());
        return std::move(started).value();
    }

    /// Waits until a redrive is past `offset`, or has ended.
    void wait_past(Process& redrive, std::int64_t offset) {
        const auto client = connect();
        const auto end = std::chrono::steady_clock::now() + kPatience;
        while (progress(*client) < offset && redrive.is_running()) {
            REQUIRE(std::chrono::steady_clock::now() < end);
        }
    }

    /// Each of `count` dead letters is in the retry topic of G, and at most `twice_max` again.
    void check_redriven(int count, int twice_max) {
        const std::vector<std::string> found = read_queue(*connect(), "%RETRY%G", 0);
        const std::set<std::string> once(found.begin(), found.end());
        const std::multiset<std::string> wanted = numbered(count);
        CHECK(once == std::set<std::string>(wanted.begin(), wanted.end()));
        CHECK(static_cast<int>(found.size()) <= count + twice_max);
        CHECK(waiting("G") == 0);
    }

    std::unique_ptr<Cluster> cluster;
};

/// Another group of T, that takes everything.
class Audit {
public:
    explicit Audit(Cluster& cluster) {
        client::Client::Options options;
        options.nameservers = {cluster.nameserver().address()};
        auto client = client::Client::start(options);
        REQUIRE(client.has_value());
        client::PushConsumer::Options push;
        push.group = "audit";
        push.start_from.kind = client::StartFrom::Kind::kFirst;
        consumer_ = client::PushConsumer::create(*client, push).value();
        REQUIRE(consumer_->subscribe("T"));
        REQUIRE(consumer_->start([this](std::span<const client::MessageView> messages) {
            const MutexLock lock(mutex_);
            for (const client::MessageView& message : messages) {
                seen_.insert(std::string(message.body()));
            }
            return client::ConsumeResult::kSuccess;
        }));
    }

    std::multiset<std::string> seen() {
        const MutexLock lock(mutex_);
        return seen_;
    }

    /// Ends it when all that was there has been taken.
    void stop() { consumer_->stop(); }

private:
    Mutex mutex_;
    std::multiset<std::string> seen_ GANTRY_GUARDED_BY(mutex_);
    std::unique_ptr<client::PushConsumer> consumer_;
};

std::unique_ptr<Process> start_example(DeadLetters& f,
                                       const std::string& name,
                                       const std::vector<std::string>& rest) {
    std::vector<std::string> arguments = {
        f.cluster->nameserver().address(), "T", (f.cluster->directory() / "ledger").string()};
    arguments.insert(arguments.end(), rest.begin(), rest.end());
    auto started = Process::start(GANTRY_RETRY_EXAMPLE, arguments, f.cluster->directory(), name);
    REQUIRE(started.has_value());
    return std::move(started).value();
}

/// Bodies in the ledger of the example.
std::multiset<std::string> booked(DeadLetters& f) {
    std::multiset<std::string> bodies;
    std::ifstream lines(f.cluster->directory() / "ledger");
    for (std::string id, body; lines >> id >> body;) {
        bodies.insert(body);
    }
    return bodies;
}

}  // namespace

TEST_SUITE("process/dead_letters") {
    TEST_CASE("what a broken consumer gives up is redriven to its healed group, and to no other") {
        constexpr int kCount = 40;
        DeadLetters f;
        Audit audit(*f.cluster);
        CHECK(f.run({"group", "set", "billing", "--retry-max", "1", "--backoff", "1s"}).code == 0);
        f.send_numbered(kCount);
        const auto broken = start_example(f, "broken", {"1", "600", "down"});
        CHECK(wait_until(kPatience, [&] { return f.waiting("billing") == kCount; }));
        broken->kill();
        CHECK(booked(f).empty());

        const json shown = json::parse([&] {
            const ProgramRun run = f.run({"dlq", "show", "billing", "--count", "1", "-o", "json"});
            CHECK_MESSAGE(run.code == 0, run.err);
            return run.out;
        }());
        CHECK(shown["origin_topic"] == "T");
        CHECK(shown["retries"] == 2);  // one delivery, one retry
        CHECK(shown["tag"] == "Tag");
        CHECK(shown["key"] == "key");
        CHECK(shown["waits"] == true);

        const json dry = f.ask({"dlq", "redrive", "billing", "--all", "--dry-run"});
        CHECK(dry["redriven"] == kCount);
        CHECK(f.waiting("billing") == kCount);
        const auto healed = start_example(f, "healed", {std::to_string(kCount), "60"});
        const json done = f.ask({"dlq", "redrive", "billing", "--all"});
        CHECK(done["redriven"] == kCount);
        CHECK(done["to"] == "%RETRY%billing");
        const auto ended = healed->wait_exit(kPatience);
        REQUIRE(ended.has_value());
        CHECK_MESSAGE(ended->code == 0, healed->err());
        CHECK(booked(f) == numbered(kCount));
        CHECK(f.waiting("billing") == 0);
        CHECK(f.ask({"dlq", "redrive", "billing", "--all"})["redriven"] == 0);
        CHECK(wait_until(kPatience, [&] { return audit.seen().size() >= kCount; }));
        audit.stop();
        CHECK(audit.seen() == numbered(kCount));
    }

    TEST_CASE(
        "a redrive that is killed again and again leaves none out, and goes on where it was") {
        constexpr int kCount = kIsSanitized ? 300 : 1'000;
        const std::uint64_t seed = test_seed();
        CAPTURE(seed);
        Random random(seed);
        DeadLetters f(random.below(2) == 0 ? "sync" : "async");
        f.make_dead(kCount);
        int kills = 0;
        for (std::int64_t at = 0; at < kCount && kills < 5;) {
            at += 1 + static_cast<std::int64_t>(random.below(kCount / 4));
            const auto redrive = f.start_redrive("redrive" + std::to_string(kills));
            f.wait_past(*redrive, at);
            redrive->kill();
            ++kills;
        }
        CHECK(f.run({"dlq", "redrive", "G", "--all"}).code == 0);
        f.check_redriven(kCount, kills * kPageMessages);
    }

    TEST_CASE("a broker killed in the middle of a redrive: the next one finishes it") {
        constexpr int kCount = kIsSanitized ? 300 : 1'000;
        const std::uint64_t seed = test_seed();
        CAPTURE(seed);
        Random random(seed);
        DeadLetters f(random.below(2) == 0 ? "sync" : "async");
        f.make_dead(kCount);
        constexpr int kKills = 3;
        for (int kill = 0; kill < kKills; ++kill) {
            const auto redrive = f.start_redrive("redrive" + std::to_string(kill));
            f.wait_past(*redrive, 1 + static_cast<std::int64_t>(random.below(kCount / 2)));
            f.cluster->broker().kill();
            CHECK(redrive->wait_exit(kPatience).has_value());
            require_started(f.cluster->broker().start());
            REQUIRE(f.cluster->wait_for_brokers(1));
        }
        const ProgramRun last = f.run({"dlq", "redrive", "G", "--all"});
        CHECK_MESSAGE(last.code == 0, last.err);
        f.check_redriven(kCount, kKills * kPageMessages);
    }

    TEST_CASE("one of them, to another topic, and the rest purged") {
        DeadLetters f;
        f.make_dead(5, true);
        REQUIRE(create_topic(*f.connect(), "OTHER", 1).summary() == "0");
        // In the order they died: m0 first. What is not the oldest keeps its place.
        CHECK(f.ask({"dlq", "redrive", "G", "--offset", "2", "--to-topic", "OTHER"})["redriven"] ==
              1);
        CHECK(f.waiting("G") == 5);
        CHECK(read_queue(*f.connect(), "OTHER", 0) == std::vector<std::string>{"m2"});
        CHECK(f.ask({"dlq", "redrive", "G", "--offset", "0", "--to-topic", "OTHER"})["redriven"] ==
              1);
        CHECK(f.waiting("G") == 4);
        const ProgramRun shown =
            f.run({"dlq", "show", "G", "-o", "json", "--from", "3", "--count", "1"});
        const std::string id = json::parse(shown.out)["offset_message_id"];
        CHECK(f.ask({"dlq", "redrive", "G", "--message-id", id})["redriven"] == 1);
        CHECK(read_queue(*f.connect(), "%RETRY%G", 0) == std::vector<std::string>{"m3"});

        CHECK(f.run({"dlq", "purge", "G"}).err.find("--yes") != std::string::npos);
        CHECK(f.ask({"dlq", "purge", "G", "--yes", "--before", "2020-01-01"})["purged"] == 0);
        CHECK(f.waiting("G") == 4);
        CHECK(f.ask({"dlq", "purge", "G", "--yes"})["purged"] == 4);
        CHECK(f.waiting("G") == 0);
        CHECK(f.run({"dlq", "show", "G"}).out.find('\n') + 1 ==
              f.run({"dlq", "show", "G"}).out.size());
        f.cluster->broker().kill();
        require_started(f.cluster->broker().start());
        REQUIRE(f.cluster->wait_for_brokers(1));
        CHECK(f.waiting("G") == 0);

        const auto refused = [&](std::vector<std::string> more) {
            more.insert(more.begin(), {"dlq", "redrive", "G"});
            const ProgramRun run = f.run(more);
            CHECK(run.code != 0);
            return run.err;
        };
        CHECK(refused({"--offset", "9"}).find("offset 9 is outside 0..4") != std::string::npos);
        CHECK(refused({"--message-id", "none"}).find("none") != std::string::npos);
        CHECK(refused({"--offset", "1", "--to-topic", "NOWHERE"}).find("NOWHERE") !=
              std::string::npos);
        CHECK(refused({"--offset", "1", "--to-topic", "%DLQ%G"}).find("%DLQ%G") !=
              std::string::npos);
        CHECK(refused({"--all", "--broker", "b9"}).find("b9") != std::string::npos);
        CHECK(f.run({"dlq", "show", "H"}).code == 3);
        CHECK(f.run({"dlq", "show", "G", "--broker", "b9"}).code == 3);
        const ProgramRun policy = f.run({"group", "set", "G", "--backoff", "9999h"});
        CHECK(policy.code == 1);
        CHECK(policy.err.find("next[0] 35996400000 is outside 0..31536000000") !=
              std::string::npos);
    }

    TEST_CASE("a group's settings are shown as they were set") {
        DeadLetters f;
        CHECK(f.run({"group", "set", "G", "--retry-max", "3", "--backoff", "1s,5m"}).code == 0);
        CHECK(f.run({"group", "set", "G", "--retry-max", "4"}).code == 0);
        CHECK(f.ask({"group", "describe", "G"})["retry"] ==
              json{{"retry_max", 4}, {"backoff", "1s,5m"}});
        CHECK(f.run({"group", "set", "G", "--backoff", "exponential:1s,10m,3"}).code == 0);
        CHECK(f.ask({"group", "describe", "G"})["retry"]["backoff"] == "exponential:1s,10m,3");
        CHECK(f.run({"group", "set", "G", "--backoff", "default"}).code == 0);
        CHECK(f.run({"group", "describe", "G"}).out.find("default") != std::string::npos);
    }
}

}  // namespace gantry::harness

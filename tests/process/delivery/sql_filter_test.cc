// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"
#include "client/consumer.h"
#include "client/producer.h"
#include "common/mutex.h"
#include "tests/harness/broker_calls.h"
#include "tests/harness/build.h"
#include "tests/harness/cluster.h"
#include "tests/harness/http_get.h"
#include "tests/harness/programs.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace gantry::harness {
namespace {

using client::MessageSelector;

constexpr int kQueues = 2;
constexpr int kMessages = kIsSanitized ? 4'000 : 20'000;
constexpr int kOneIn = 100;
constexpr char kWanted[] = "price = 7 AND kind STARTSWITH 'bo'";

/// A cluster with a topic, and a client of it.
class Filtered {
public:
    Filtered() {
        Cluster::Options options;
        options.broker_settings = {{"store.segment_bytes", "8MiB"},
                                   {"store.prefault_bytes", "1MiB"},
                                   {"store.free_bytes_min", "0"}};
        auto started = Cluster::start(options);
        REQUIRE_MESSAGE(started.has_value(), (started ? "" : to_string(started.error())));
        cluster = std::move(started).value();
        RpcClient rpc(cluster->broker().address(), wire::Codec::kNative);
        REQUIRE(create_topic(rpc, "T", kQueues).summary() == "0");
        client::Client::Options wanted;
        wanted.nameservers = {cluster->nameserver().address()};
        client = client::Client::start(wanted).value();
    }

    /// Sends messages [from, to), of which one in kOneIn is wanted, and remembers those.
    void produce(int from, int to) {
        client::Producer::Options options;
        options.deadline = std::chrono::seconds(60);
        options.retry_unknown = true;
        auto producer = client::Producer::create(client, options).value();
        for (int i = from; i < to; ++i) {
            client::Message message;
            message.topic = "T";
            message.body = std::to_string(i) + std::string(500, 'b');
            message.properties = {{"price", std::to_string(i % kOneIn)}, {"kind", "book"}};
            if (i % kOneIn == 7) {
                expected.insert(message.body);
            }
            const auto failed = [](const Result<client::SendReceipt>& receipt) {
                CHECK_MESSAGE(receipt.has_value(), (receipt ? "" : to_string(receipt.error())));
            };
            while (!producer->send_async(message, failed)) {
                REQUIRE(producer->flush(std::chrono::seconds(60)));
            }
        }
        REQUIRE(producer->flush(std::chrono::seconds(60)));
        REQUIRE(producer->close(std::chrono::seconds(10)));
    }

    ProgramRun gantry(std::vector<std::string> arguments) {
        arguments.insert(arguments.end(), {"-n", cluster->nameserver().address()});
        const Result<ProgramRun> run = run_program(cli_executable(), arguments);
        REQUIRE_MESSAGE(run.has_value(), (run ? "" : to_string(run.error())));
        return *run;
    }

    std::unique_ptr<Cluster> cluster;
    std::shared_ptr<client::Client> client;
    std::set<std::string> expected;
};

std::set<std::string> lines_of(const std::string& text) {
    std::set<std::string> lines;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = text.find('\n', at);
        lines.insert(text.substr(at, end - at));
        at = end == std::string::npos ? text.size() : end + 1;
    }
    return lines;
}

}  // namespace

TEST_SUITE_BEGIN("process/sql_filter");

TEST_CASE_FIXTURE(Filtered, "a filtered consumer loses nothing when its broker is killed, twice") {
    produce(0, kMessages);
    client::PullConsumer::Options options;
    options.group = "G";
    options.start_from.kind = client::StartFrom::Kind::kFirst;
    // Little at a time, so that there is a middle to kill it in.
    options.pull_messages_max = 4;
    options.buffer_bytes_max = 8'192;
    options.poll_hold = std::chrono::milliseconds(500);
    auto consumer = client::PullConsumer::create(client, options).value();
    REQUIRE(consumer->subscribe("T", MessageSelector::by_sql(kWanted)));

    std::map<std::string, int> seen;
    const std::size_t third = expected.size() / 3;
    std::size_t kills = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(180);
    while (seen.size() < expected.size() && std::chrono::steady_clock::now() < deadline) {
        for (const client::MessageView& message : consumer->poll(std::chrono::seconds(1), 8)) {
            ++seen[std::string(message.body())];
        }
        // While the broker is away that fails; what is not committed comes again.
        static_cast<void>(consumer->commit());
        if (kills < 2 && seen.size() >= (kills + 1) * third) {
            ++kills;
            cluster->broker().kill();
            REQUIRE(cluster->broker().start());
            if (kills == 2) {
                produce(kMessages, kMessages + 10 * kOneIn);
            }
        }
    }
    CHECK(kills == 2);
    CHECK(seen.size() == expected.size());
    for (const auto& one : seen) {
        REQUIRE_MESSAGE(expected.count(one.first) == 1, one.first.substr(0, 20));
    }
    consumer->close();
}

TEST_CASE_FIXTURE(Filtered, "a push consumer gets what its expression matches, as it comes") {
    produce(0, 1'000);
    client::PushConsumer::Options options;
    options.group = "P";
    options.start_from.kind = client::StartFrom::Kind::kFirst;
    auto consumer = client::PushConsumer::create(client, options).value();
    REQUIRE(consumer->subscribe("T", MessageSelector::by_sql(kWanted)));
    Mutex mutex;
    std::multiset<std::string> seen;
    REQUIRE(consumer->start([&](std::span<const client::MessageView> messages) {
        const MutexLock lock(mutex);
        for (const client::MessageView& message : messages) {
            seen.insert(std::string(message.body()));
        }
        return client::ConsumeResult::kSuccess;
    }));
    const auto count = [&] {
        const MutexLock lock(mutex);
        return seen.size();
    };
    REQUIRE(wait_until(Process::kPatience, [&] { return count() >= 10; }));
    produce(1'000, 2'000);
    REQUIRE(wait_until(Process::kPatience, [&] { return count() >= 20; }));
    consumer->stop();
    CHECK(seen == std::multiset<std::string>(expected.begin(), expected.end()));
    const auto sent = metric(cluster->broker().http_port(), "gantry_broker_messages_out_total");
    CHECK(sent.value_or(0) == 20);
}

TEST_CASE_FIXTURE(Filtered, "gantry consume filters by SQL, and refuses what does not parse") {
    produce(0, 1'000);
    const std::vector<std::string> all = {"consume", "T", "--from", "earliest", "--until-end"};
    const auto with = [&](std::vector<std::string> more) {
        more.insert(more.begin(), all.begin(), all.end());
        return gantry(more);
    };
    const ProgramRun matched = with({"--sql", kWanted});
    CHECK_MESSAGE(matched.code == 0, matched.err);
    CHECK(lines_of(matched.out) == expected);
    const ProgramRun in_group = with({"--sql", kWanted, "-g", "CG"});
    CHECK_MESSAGE(in_group.code == 0, in_group.err);
    CHECK(lines_of(in_group.out) == expected);
    for (const std::vector<std::string>& group : {std::vector<std::string>{}, {"-g", "CH"}}) {
        std::vector<std::string> arguments = {"--sql", "price = "};
        arguments.insert(arguments.end(), group.begin(), group.end());
        const ProgramRun refused = with(arguments);
        CHECK(refused.code != 0);
        CHECK_MESSAGE(refused.err.find("position 9, its end") != std::string::npos, refused.err);
    }
    CHECK(with({"--sql", kWanted, "--tag", "A"}).code != 0);
    CHECK(with({"--tag", "None"}).out.empty());
}

TEST_CASE_FIXTURE(Filtered, "where the broker does not filter by SQL, a consumer is told at once") {
    cluster->broker().set("filter.sql", "false");
    REQUIRE(cluster->broker().restart(true));
    REQUIRE(cluster->wait_for_brokers(1));
    client::PullConsumer::Options options;
    options.group = "G";
    auto consumer = client::PullConsumer::create(client, options).value();
    const Status refused = consumer->subscribe("T", MessageSelector::by_sql(kWanted));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::kUnsupported);
    CHECK(refused.error().detail.find("filter.sql is off") != std::string::npos);
    CHECK(consumer->subscribe("T", "A || B"));
}

TEST_CASE_FIXTURE(Filtered, "the example of the guide runs") {
    const Result<ProgramRun> run =
        run_program(GANTRY_SQL_FILTER_EXAMPLE, {cluster->nameserver().address()});
    REQUIRE_MESSAGE(run.has_value(), (run ? "" : to_string(run.error())));
    CHECK_MESSAGE(run->code == 0, run->err);
    CHECK(run->out.find("3 and 6 orders\n") != std::string::npos);
    CHECK(run->out.find("refused: SQL92 expression, position 9, its end") != std::string::npos);
}

TEST_SUITE_END();

}  // namespace gantry::harness

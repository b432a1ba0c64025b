// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"
#include "client/transaction_producer.h"
#include "common/mutex.h"
#include "common/random.h"
#include "tests/harness/build.h"
#include "tests/harness/calls/transaction_calls.h"
#include "tests/harness/cluster.h"
#include "tests/harness/process.h"
#include "tests/harness/wait.h"
#include "tests/process/sender.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

using client::TransactionOutcome;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{120'000};
constexpr std::int32_t kQueues = 4;

std::uint64_t test_seed() {
    const char* const given = std::getenv("GANTRY_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
}

/// Producers are asked soon and often, and never given up.
Settings asks_often() {
    return {{"transaction.check_immunity_ms", "200"},
            {"transaction.check_interval_ms", "300"},
            {"transaction.check_max", "1000000"}};
}

/// What the producer of these cases decides: every third is rolled back.
std::int32_t decision(int number) {
    return number % 3 == 2 ? kRollback : kCommit;
}

/// Sends and ends transactions until the broker dies.
class Script {
public:
    /// Of 60; false once the broker has gone.
    bool run(RpcClient& client) {
        for (int i = 0; i < 60; ++i) {
            const int number = static_cast<int>(halves.size());
            halves.push_back(send_half(client, {.body = std::to_string(number)}));
            if (halves.back().log_offset < 0) {
                return false;
            }
            // Some are left for the broker to ask about.
            if (number % 5 != 4 &&
                !end_transaction(client, halves.back(), decision(number)).transport) {
                return false;
            }
        }
        return true;
    }

    /// Answers what the broker asks until nothing is open.
    void answer_all(RpcClient& client, BrokerProcess& broker) {
        REQUIRE(join_producers(client, "script").summary() == "0");
        CHECK(wait_until(kPatience, [&] {
            const Half asked = next_question(client, milliseconds(20));
            if (asked.log_offset >= 0) {
                const int number = std::atoi(asked.key.c_str() + 3);
                end_transaction(client, asked, decision(number), true);
            }
            return metric(broker.http_port(), "gantry_broker_transactions_open").value_or(-1) == 0;
        }));
    }

    /// Each committed message once, in any order; one that was not acknowledged as a half message
    /// may be missing.
    void check(RpcClient& client) const {
        std::size_t sure = 0;
        for (std::size_t i = 0; i < halves.size(); ++i) {
            const bool is_committed = decision(static_cast<int>(i)) == kCommit;
            sure += halves[i].log_offset >= 0 && is_committed ? 1U : 0U;
        }
        std::vector<std::string> found;
        wait_until(kPatience, [&] {  // the last may be on its way to its queue
            found = read_queue(client, "T", 0);
            return found.size() >= sure;
        });
        std::set<std::string> once(found.begin(), found.end());
        CHECK(once.size() == found.size());
        for (std::size_t i = 0; i < halves.size(); ++i) {
            const bool is_sure = halves[i].log_offset >= 0;
            const bool is_committed = decision(static_cast<int>(i)) == kCommit;
            const bool is_there = once.erase(std::to_string(i)) > 0;
            CAPTURE(i);
            CHECK_FALSE((is_there && !is_committed));
            CHECK_FALSE((is_committed && is_sure && !is_there));
        }
        CHECK(once.empty());
    }

    std::vector<Half> halves;
};

/// What became of messages, as a database would know it, by body.
class Ledger {
public:
    void note(const std::string& body, TransactionOutcome outcome) {
        const MutexLock lock(mutex_);
        outcomes_[body] = outcome;
    }

    /// kUnknown: its sender is at it.
    TransactionOutcome find(std::string_view body) {
        const MutexLock lock(mutex_);
        return outcomes_[std::string(body)];
    }

    std::vector<std::string> committed() {
        const MutexLock lock(mutex_);
        std::vector<std::string> bodies;
        for (const auto& [body, outcome] : outcomes_) {
            if (outcome == TransactionOutcome::kCommit) {
                bodies.push_back(body);
            }
        }
        return bodies;
    }

private:
    Mutex mutex_;
    std::map<std::string, TransactionOutcome> outcomes_ GANTRY_GUARDED_BY(mutex_);
};

std::unique_ptr<client::TransactionProducer> make_producer(Cluster& cluster, Ledger& ledger) {
    client::Client::Options options;
    options.nameservers = {cluster.nameserver().address()};
    auto client = client::Client::start(options);
    REQUIRE(client.has_value());
    client::TransactionProducer::Options transactions;
    transactions.group = "PG";
    transactions.topics = {"T"};
    transactions.threads = 4;
    auto producer = client::TransactionProducer::create(
        *client, transactions, [&ledger](const client::MessageView& message) {
            return ledger.find(message.body());
        });
    REQUIRE(producer.has_value());
    return std::move(producer).value();
}

std::unique_ptr<Cluster> start_cluster(const std::string& flush) {
    Cluster::Options options;
    options.broker_settings = asks_often();
    options.broker_settings["store.flush"] = flush;
    options.broker_settings["store.segment_bytes"] = "16MiB";
    options.broker_settings["store.free_bytes_min"] = "0";
    auto cluster = Cluster::start(options);
    REQUIRE_MESSAGE(cluster.has_value(), (cluster ? "" : to_string(cluster.error())));
    RpcClient client((*cluster)->broker().address());
    REQUIRE(create_topic(client, "T", kQueues).summary() == "0");
    return std::move(cluster).value();
}

bool becomes_settled(Cluster& cluster) {
    return wait_until(kPatience, [&] {
        return metric(cluster.broker().http_port(), "gantry_broker_transactions_open")
                   .value_or(-1) == 0;
    });
}

/// Every message of the topic, sorted.
std::vector<std::string> all_bodies(Cluster& cluster) {
    RpcClient client(cluster.broker().address());
    std::vector<std::string> found;
    for (std::int32_t queue = 0; queue < kQueues; ++queue) {
        for (std::string& body : read_queue(client, "T", queue)) {
            found.push_back(std::move(body));
        }
    }
    std::sort(found.begin(), found.end());
    return found;
}

/// Waits until that is what the topic has: the last may be on its way to its queue.
bool comes_to_have(Cluster& cluster, const std::vector<std::string>& wanted) {
    return wait_until(kPatience, [&] { return all_bodies(cluster) == wanted; });
}

/// Sends a message in a transaction; now and then nobody tells the broker of its outcome.
void send_one(client::TransactionProducer& producer, Ledger& ledger, int thread, int number) {
    client::Message message;
    message.topic = "T";
    message.body = std::to_string(thread) + '.' + std::to_string(number);
    const std::string body = message.body;
    const auto outcome =
        number % 3 == 0 ? TransactionOutcome::kRollback : TransactionOutcome::kCommit;
    bool has_run = false;
    const auto sent = producer.send(std::move(message), [&](const client::Transaction&) {
        has_run = true;
        ledger.note(body, outcome);
        return number % 10 == 9 ? TransactionOutcome::kUnknown : outcome;
    });
    if (!has_run) {
        ledger.note(body, TransactionOutcome::kRollback);
    }
    CHECK(sent.has_value() == has_run);
}

std::unique_ptr<Process> start_example(Cluster& cluster,
                                       const std::string& name,
                                       const std::vector<std::string>& rest) {
    std::vector<std::string> arguments = {
        cluster.nameserver().address(), "T", (cluster.directory() / "orders").string()};
    arguments.insert(arguments.end(), rest.begin(), rest.end());
    auto started = Process::start(GANTRY_TRANSACTION_EXAMPLE, arguments, cluster.directory(), name);
    REQUIRE(started.has_value());
    return std::move(started).value();
}

}  // namespace

TEST_SUITE("process/transaction") {
    TEST_CASE("killed at any step of a transaction, the broker loses none and doubles none") {
        const std::uint64_t seed = test_seed();
        CAPTURE(seed);
        Random random(seed);
        for (const char* const site : {"transaction.half_stored",
                                       "transaction.committed",
                                       "transaction.rolled_back",
                                       "transaction.asked",
                                       "ack.durable"}) {
            const TempDirectory directory;
            Settings settings = asks_often();
            settings["store.flush"] = random.below(2) == 0 ? "sync" : "async";
            Sender sender(directory.path(), settings);
            Script script;
            REQUIRE(script.run(*sender.connect()));
            REQUIRE(sender.broker.stop());
            const std::string rule =
                std::string(site) + "=kill@" + std::to_string(1 + random.below(8));
            CAPTURE(rule);
            CAPTURE(settings["store.flush"]);
            REQUIRE(::setenv("GANTRY_FAILPOINTS", rule.c_str(), 1) == 0);
            const Status started = sender.broker.start();
            REQUIRE(::unsetenv("GANTRY_FAILPOINTS") == 0);
            require_started(started);
            {
                const auto client = sender.connect();
                join_producers(*client, "asked");
                // In async mode nothing passes the place where durable sends are acknowledged.
                const bool survives = std::string(site) == "ack.durable";
                while (script.run(*client) && script.halves.size() < 1'000 && !survives) {
                }
                if (survives) {
                    sender.broker.kill();
                }
                // With the producer still there: without one nobody is asked.
                CHECK(wait_until(kPatience, [&] { return !sender.broker.process().is_running(); }));
            }
            require_started(sender.broker.start());
            const auto client = sender.connect();
            script.answer_all(*client, sender.broker);
            script.check(*client);
            for (std::size_t i = 0; i < script.halves.size(); ++i) {
                if (script.halves[i].log_offset >= 0) {
                    CHECK(end_transaction(*client, script.halves[i], decision(static_cast<int>(i)))
                              .summary() == "0");
                }
            }
            script.check(*client);
        }
    }

    TEST_CASE("a broker killed again and again under producers: each commit once, no rollback") {
        constexpr int kThreads = 4;
        constexpr int kEach = kIsSanitized ? 40 : 150;
        const std::uint64_t seed = test_seed();
        CAPTURE(seed);
        const auto cluster = start_cluster(seed % 2 == 0 ? "sync" : "async");
        Ledger ledger;
        std::vector<std::unique_ptr<client::TransactionProducer>> producers;
        producers.push_back(make_producer(*cluster, ledger));
        producers.push_back(make_producer(*cluster, ledger));
        std::atomic<int> done{0};
        std::vector<std::thread> threads;
        for (int t = 0; t < kThreads; ++t) {
            threads.emplace_back([&, t] {
                client::TransactionProducer& producer = *producers[static_cast<std::size_t>(t) % 2];
                for (int i = 0; i < kEach; ++i) {
                    send_one(producer, ledger, t, i);
                    ++done;
                }
            });
        }
        for (int kill = 1; kill <= 3; ++kill) {
            CHECK(wait_until(kPatience, [&] { return done >= kill * kThreads * kEach / 4; }));
            cluster->broker().kill();
            require_started(cluster->broker().start());
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        CHECK(becomes_settled(*cluster));
        CHECK(comes_to_have(*cluster, ledger.committed()));
        CHECK(!ledger.committed().empty());
    }

    TEST_CASE("a producer killed in the middle: another one of its group is asked, and knows") {
        const auto cluster = start_cluster("async");
        const auto dying = start_example(*cluster, "dying", {"6", "0", "4"});
        const auto died = dying->wait_exit(kPatience);
        REQUIRE(died.has_value());
        CHECK(died->signal == SIGKILL);
        CHECK(
            metric(cluster->broker().http_port(), "gantry_broker_transactions_open").value_or(-1) ==
            1);
        CHECK(wait_until(kPatience, [&] { return all_bodies(*cluster).size() == 3; }));
        const auto next = start_example(*cluster, "next", {"0", "600"});
        CHECK(becomes_settled(*cluster));
        CHECK(comes_to_have(*cluster, {"order 0", "order 1", "order 3", "order 4"}));
        next->kill();
    }

    TEST_CASE("the example of the guide commits what was made, and nothing else") {
        const auto cluster = start_cluster("async");
        const auto run = start_example(*cluster, "run", {"5", "0"});
        const auto ended = run->wait_exit(kPatience);
        REQUIRE(ended.has_value());
        CHECK_MESSAGE(ended->code == 0, run->err());
        CHECK(comes_to_have(*cluster, {"order 0", "order 1", "order 3", "order 4"}));
    }
}

}  // namespace gantry::harness

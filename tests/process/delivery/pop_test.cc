// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"
#include "client/pop_consumer.h"
#include "common/mutex.h"
#include "common/random.h"
#include "tests/harness/calls/pop_calls.h"
#include "tests/harness/cluster.h"
#include "tests/harness/process.h"
#include "tests/harness/programs.h"
#include "tests/harness/wait.h"
#include "tests/process/sender.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{60'000};
constexpr milliseconds kInvisible{1'500};
constexpr std::int32_t kQueues = 4;
constexpr int kConsumers = 64;

/// The clock of a broker that starts again is the wall clock's again, cut to milliseconds.
constexpr std::int64_t kClockSlackMs = 2;

std::uint64_t test_seed() {
    const char* const given = std::getenv("GANTRY_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
}

/// Every delivery there was, by message; when it was handed out says who owned it when.
class Deliveries {
public:
    void add(const std::string& body, std::int64_t pop_ms) {
        const MutexLock lock(mutex_);
        times_[body].push_back(pop_ms);
    }

    /// Deliveries within the invisible time of an earlier one of the same message.
    std::vector<std::string> too_early() {
        const MutexLock lock(mutex_);
        std::vector<std::string> found;
        for (auto& [body, times] : times_) {
            std::sort(times.begin(), times.end());
            for (std::size_t i = 1; i < times.size(); ++i) {
                if (times[i] - times[i - 1] < kInvisible.count() - kClockSlackMs) {
                    found.push_back(body + " after " + std::to_string(times[i] - times[i - 1]) +
                                    " ms");
                }
            }
        }
        return found;
    }

    std::set<std::string> bodies() {
        const MutexLock lock(mutex_);
        std::set<std::string> found;
        for (const auto& [body, times] : times_) {
            found.insert(body);
        }
        return found;
    }

    /// Messages that came more than once.
    std::size_t repeated() {
        const MutexLock lock(mutex_);
        return static_cast<std::size_t>(std::count_if(
            times_.begin(), times_.end(), [](const auto& each) { return each.second.size() > 1; }));
    }

private:
    Mutex mutex_;
    std::map<std::string, std::vector<std::int64_t>> times_ GANTRY_GUARDED_BY(mutex_);
};

std::shared_ptr<client::Client> connect(Cluster& cluster) {
    client::Client::Options options;
    options.nameservers = {cluster.nameserver().address()};
    auto client = client::Client::start(options);
    REQUIRE(client.has_value());
    return std::move(client).value();
}

/// Consumers that now and then forget a message, each in a thread of its own.
class Consumers {
public:
    Consumers(Cluster& cluster, Deliveries& deliveries, std::uint64_t seed)
        : deliveries_(deliveries) {
        const auto first = connect(cluster);
        const auto second = connect(cluster);
        for (int i = 0; i < kConsumers; ++i) {
            client::PopConsumer::Options options;
            options.group = "G";
            options.start_from = client::StartFrom::Kind::kFirst;
            options.invisible = kInvisible;
            options.renew = false;
            options.poll_hold = milliseconds(2'000);
            auto consumer = client::PopConsumer::create(i % 2 == 0 ? first : second, options);
            REQUIRE(consumer.has_value());
            REQUIRE((*consumer)->subscribe("T"));
            consumers_.push_back(std::move(consumer).value());
        }
        for (int i = 0; i < kConsumers; ++i) {
            threads_.emplace_back([this, i, seed] {
                run(*consumers_[static_cast<std::size_t>(i)], seed + static_cast<std::uint64_t>(i));
            });
        }
    }

    ~Consumers() {
        is_stopping_ = true;
        for (std::thread& thread : threads_) {
            thread.join();
        }
    }

    Consumers(const Consumers&) = delete;
    Consumers& operator=(const Consumers&) = delete;

    /// From now on they acknowledge all they get.
    void be_good() { forgets_ = false; }

private:
    void run(client::PopConsumer& consumer, std::uint64_t seed) {
        Random random(seed);
        while (!is_stopping_) {
            for (const client::PoppedMessage& message : consumer.poll(milliseconds(100))) {
                deliveries_.add(std::string(message.body()), message.pop_ms());
                if (!forgets_ || random.below(10) != 0) {
                    consumer.ack(message);
                }
            }
        }
    }

    Deliveries& deliveries_;
    std::vector<std::unique_ptr<client::PopConsumer>> consumers_;
    std::vector<std::thread> threads_;
    std::atomic<bool> is_stopping_{false};
    std::atomic<bool> forgets_{true};
};

/// Sends what is not stored yet, and says what was acknowledged.
std::vector<std::string> send_some(RpcClient& client, int& next, int count) {
    std::vector<std::string> sent;
    for (int i = 0; i < count; i += 50) {
        std::vector<TestMessage> messages;
        for (int j = 0; j < 50; ++j) {
            messages.push_back({"m" + std::to_string(next++)});
        }
        if (send(client, "T", next / 50 % kQueues, messages).summary() == "0") {
            for (const TestMessage& message : messages) {
                sent.push_back(message.body);
            }
        }
    }
    return sent;
}

void add_lines(const std::string& text, std::set<std::string>& into) {
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        into.insert(line);
    }
}

bool has_nothing_in_flight(Cluster& cluster) {
    RpcClient client(cluster.broker().address());
    std::int64_t lag = 0;
    for (std::int32_t queue = 0; queue < kQueues; ++queue) {
        wire::QueryConsumerOffsetRequest committed;
        committed.set_consumergroup("G");
        committed.set_topic("T");
        committed.set_queueid(queue);
        wire::QueueRequest end;
        end.set_topic("T");
        end.set_queueid(queue);
        lag += client.call(wire::RequestCode::kGetMaxOffset, &end)
                   .fields<wire::OffsetResponse>()
                   .offset() -
               client.call(wire::RequestCode::kQueryConsumerOffset, &committed)
                   .fields<wire::OffsetResponse>()
                   .offset();
    }
    return lag == 0;
}

std::unique_ptr<Cluster> start_cluster(const Settings& settings) {
    Cluster::Options options;
    options.broker_settings = settings;
    options.broker_settings["store.segment_bytes"] = "16MiB";
    options.broker_settings["store.free_bytes_min"] = "0";
    options.broker_settings["pop.write_interval_ms"] = "200";
    auto cluster = Cluster::start(options);
    REQUIRE_MESSAGE(cluster.has_value(), (cluster ? "" : to_string(cluster.error())));
    RpcClient client((*cluster)->broker().address());
    REQUIRE(create_topic(client, "T", kQueues).summary() == "0");
    return std::move(cluster).value();
}

/// A member of the group in a process of its own: the command-line program.
std::unique_ptr<Process> start_member(Cluster& cluster, const std::string& name) {
    auto started = Process::start(cli_executable(),
                                  {"consume",
                                   "T",
                                   "--pop",
                                   "--group",
                                   "G",
                                   "--from",
                                   "earliest",
                                   "--invisible-ms",
                                   std::to_string(kInvisible.count()),
                                   "--nameserver",
                                   cluster.nameserver().address()},
                                  cluster.directory(),
                                  name);
    REQUIRE(started.has_value());
    return std::move(started).value();
}

/// Pops and acknowledges until the broker dies; true when it did.
bool pop_until_death(RpcClient& client, std::map<std::string, std::int64_t>& last_popped) {
    for (int i = 0; i < 400; ++i) {
        const Popped popped = pop(client, {.count = 3, .invisible_ms = 400, .poll_ms = 50});
        if (!popped.answer.transport) {
            return true;
        }
        for (const PoppedRecord& message : popped.messages) {
            const auto before = last_popped.find(message.body);
            if (before != last_popped.end()) {
                CHECK(message.pop_time - before->second >= 400 - kClockSlackMs);
            }
            last_popped[message.body] = message.pop_time;
            if (i % 3 != 0 && !acknowledge(client, message).transport) {
                return true;
            }
        }
    }
    return false;
}

}  // namespace

TEST_SUITE("process/pop") {
    TEST_CASE("64 consumers on 4 queues, broker and consumers killed: one owner, nothing lost") {
        const std::uint64_t seed = test_seed();
        MESSAGE("seed ", seed);
        const auto cluster = start_cluster({});
        Deliveries deliveries;
        std::set<std::string> sent;
        std::set<std::string> seen_by_others;
        int next = 0;
        {
            Consumers consumers(*cluster, deliveries, seed);
            for (int round = 0; round < 3; ++round) {
                const auto member = start_member(*cluster, "member-" + std::to_string(round));
                {
                    RpcClient client(cluster->broker().address());
                    const auto some = send_some(client, next, 4'000);
                    sent.insert(some.begin(), some.end());
                }
                CHECK(wait_until(kPatience, [&] { return !member->out().empty(); }));
                member->kill();
                add_lines(member->out(), seen_by_others);
                if (round < 2) {
                    REQUIRE(cluster->broker().restart());
                }
            }
            consumers.be_good();
            CHECK(wait_until(kPatience, [&] { return has_nothing_in_flight(*cluster); }));
        }
        std::set<std::string> seen = deliveries.bodies();
        seen.insert(seen_by_others.begin(), seen_by_others.end());
        std::vector<std::string> missing;
        std::set_difference(
            sent.begin(), sent.end(), seen.begin(), seen.end(), std::back_inserter(missing));
        CHECK(missing.empty());
        CHECK(deliveries.too_early() == std::vector<std::string>{});
        CHECK(deliveries.repeated() > sent.size() / 100);
        CHECK(sent.size() >= 8'000);
    }

    TEST_CASE("killed before or after leases are written, the broker keeps what it answered") {
        for (const char* const site : {"pop.handed_out", "pop.written"}) {
            const std::uint64_t seed = test_seed();
            CAPTURE(seed);
            CAPTURE(site);
            Random random(seed);
            const TempDirectory directory;
            Sender sender(directory.path(), {{"pop.write_interval_ms", "50"}});
            std::set<std::string> sent;
            {
                const auto client = sender.connect();
                std::vector<TestMessage> messages;
                for (int i = 0; i < 300; ++i) {
                    messages.push_back({"m" + std::to_string(i)});
                    sent.insert(messages.back().body);
                }
                REQUIRE(harness::send(*client, "T", 0, messages).summary() == "0");
            }
            std::map<std::string, std::int64_t> last_popped;
            for (int round = 0; round < 3; ++round) {
                REQUIRE(sender.broker.stop());
                const std::string rule =
                    std::string(site) + "=kill@" + std::to_string(5 + random.below(20));
                CAPTURE(rule);
                REQUIRE(::setenv("GANTRY_FAILPOINTS", rule.c_str(), 1) == 0);
                const Status started = sender.broker.start();
                REQUIRE(::unsetenv("GANTRY_FAILPOINTS") == 0);
                require_started(started);
                CHECK(pop_until_death(*sender.connect(), last_popped));
                CHECK(wait_until(kPatience, [&] { return !sender.broker.process().is_running(); }));
                require_started(sender.broker.start());
            }
            const auto client = sender.connect();
            CHECK(wait_until(kPatience, [&] {
                const Popped popped = pop(*client, {.invisible_ms = 60'000});
                for (const PoppedRecord& message : popped.messages) {
                    last_popped[message.body] = message.pop_time;
                    CHECK(acknowledge(*client, message).summary() == "0");
                }
                return metric(sender.broker.http_port(), "gantry_broker_pop_in_flight")
                               .value_or(-1) == 0 &&
                       last_popped.size() == sent.size();
            }));
        }
    }

    TEST_CASE("the example: workers share jobs, and bad ones end with the dead letters") {
        const auto cluster = start_cluster({});
        RpcClient client(cluster->broker().address());
        std::set<std::string> jobs;
        for (int i = 0; i < 40; ++i) {
            const std::string job = "job " + std::to_string(i);
            jobs.insert(job);
            REQUIRE(send(client, "T", i % kQueues, {{job}}).summary() == "0");
        }
        REQUIRE(send(client, "T", 0, {{"bad job"}}).summary() == "0");
        std::vector<std::unique_ptr<Process>> workers;
        for (int i = 0; i < 3; ++i) {
            auto worker = Process::start(GANTRY_POP_EXAMPLE,
                                         {cluster->nameserver().address(), "T", "2", "fail"},
                                         cluster->directory(),
                                         "worker-" + std::to_string(i));
            REQUIRE(worker.has_value());
            workers.push_back(std::move(worker).value());
        }
        std::multiset<std::string> done;
        for (const auto& worker : workers) {
            const auto exit = worker->wait_exit();
            REQUIRE(exit.has_value());
            CHECK(exit->code == 0);
            CHECK(worker->err().empty());
            std::istringstream in(worker->out());
            for (std::string line; std::getline(in, line);) {
                done.insert(line);
            }
        }
        CHECK(done == std::multiset<std::string>(jobs.begin(), jobs.end()));
        CHECK(read_queue(client, "%DLQ%workers", 0) == std::vector<std::string>{"bad job"});
    }
}

}  // namespace gantry::harness

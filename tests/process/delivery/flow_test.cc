// SPDX-License-Identifier: Apache-2.0
#include "client/admin_client.h"
#include "client/client.h"
#include "client/consumer.h"
#include "client/producer.h"
#include "tests/harness/broker_calls.h"
#include "tests/harness/build.h"
#include "tests/harness/cluster.h"
#include "tests/harness/http_get.h"
#include "tests/harness/programs.h"
#include "tests/harness/wait.h"
#include "tests/process/sender.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

using client::FlowLimit;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{60};
constexpr std::int32_t kQueues = 2;

std::unique_ptr<Cluster> start_cluster(const std::string& flush) {
    Cluster::Options options;
    options.broker_settings = {{"store.flush", flush},
                               {"store.segment_bytes", "16MiB"},
                               {"store.prefault_bytes", "0"},
                               {"store.free_bytes_min", "0"}};
    auto cluster = Cluster::start(options);
    REQUIRE_MESSAGE(cluster.has_value(), (cluster ? "" : to_string(cluster.error())));
    RpcClient direct((*cluster)->broker().address());
    REQUIRE(create_topic(direct, "T", kQueues).summary() == "0");
    return std::move(cluster).value();
}

std::shared_ptr<client::Client> connect(Cluster& cluster) {
    client::Client::Options options;
    options.nameservers = {cluster.nameserver().address()};
    auto client = client::Client::start(options);
    REQUIRE(client.has_value());
    return std::move(client).value();
}

void limit(const std::shared_ptr<client::Client>& client, const FlowLimit& limit) {
    auto admin = client::AdminClient::create(client, {});
    REQUIRE(admin.has_value());
    const Status set = (*admin)->set_flow_limit(limit);
    REQUIRE_MESSAGE(set.has_value(), (set ? "" : to_string(set.error())));
}

double value(Cluster& cluster, const std::string& name) {
    return metric(cluster.broker().http_port(), name).value_or(-1);
}

/// Every message of the topic, sorted by number.
std::vector<int> stored(Cluster& cluster) {
    RpcClient direct(cluster.broker().address());
    std::vector<int> numbers;
    for (std::int32_t queue = 0; queue < kQueues; ++queue) {
        for (const std::string& body : read_queue(direct, "T", queue)) {
            numbers.push_back(std::atoi(body.c_str()));
        }
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

std::vector<int> up_to(int count) {
    std::vector<int> numbers;
    for (int i = 0; i < count; ++i) {
        numbers.push_back(i);
    }
    return numbers;
}

/// Sends "0", "1", ... without a pause of its own; `is_enough` is told how many are stored.
template <class Enough>
int send_all(client::Producer& producer, int count, Enough is_enough) {
    std::atomic<int> done{0};
    std::atomic<int> good{0};
    for (int i = 0; i < count; ++i) {
        client::Message message;
        message.topic = "T";
        message.body = std::to_string(i);
        while (!producer.send_async(message, [&](Result<client::SendReceipt> sent) {
            good += sent ? 1 : 0;
            ++done;
        })) {
            std::this_thread::yield();
        }
        is_enough(good.load());
    }
    REQUIRE(producer.flush(kPatience));
    CHECK(done == count);
    return good;
}

}  // namespace

TEST_SUITE("process/flow") {
    TEST_CASE("under a limit and a kill, a producer stores all it sends once, and no faster") {
        constexpr int kRate = 2'000;
        constexpr int kMessages = 8'000;
        const auto cluster = start_cluster("async");
        const auto client = connect(*cluster);
        FlowLimit topic;
        topic.scope = FlowLimit::Scope::kTopic;
        topic.name = "T";
        topic.send_messages = kRate;
        limit(client, topic);
        client::Producer::Options options;
        options.idempotent = true;
        options.deadline = kPatience;
        options.in_flight_max = 500;
        options.batch_bytes_max = 4 << 10;
        auto producer = client::Producer::create(client, options);
        REQUIRE(producer.has_value());
        const auto begin = steady_clock::now();
        bool is_killed = false;
        const int good = send_all(**producer, kMessages, [&](int so_far) {
            if (so_far > kMessages / 2 && !std::exchange(is_killed, true)) {
                cluster->broker().kill();
                require_started(cluster->broker().start());
            }
        });
        const auto took =
            std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin).count();
        CHECK(is_killed);
        CHECK(good == kMessages);
        CHECK(stored(*cluster) == up_to(kMessages));
        // Twice a tenth of a second's at once, and twice the frames that pass an open bucket.
        CHECK(took >= (kMessages - 2 * kRate / 10 - 200) * 1'000 / kRate);
        CHECK(client->metrics().values()["gantry_client_send_limited_total"] > 0);
        CHECK(value(*cluster, "gantry_broker_flow_refused_total") > 0);
        MESSAGE("stored " << kMessages << " at " << kRate << "/s in " << took << " ms");
    }

    TEST_CASE("a group gets messages no faster than its limit, and all of them") {
        constexpr int kRate = 2'000;
        constexpr int kMessages = 5'000;
        const auto cluster = start_cluster("async");
        const auto client = connect(*cluster);
        FlowLimit group;
        group.scope = FlowLimit::Scope::kGroup;
        group.name = "G";
        group.deliver_messages = kRate;
        limit(client, group);
        auto producer = client::Producer::create(client, {});
        REQUIRE(producer.has_value());
        REQUIRE(send_all(**producer, kMessages, [](int) {}) == kMessages);
        client::PushConsumer::Options options;
        options.group = "G";
        options.start_from.kind = client::StartFrom::Kind::kFirst;
        options.batch_messages_max = 1'000;
        auto consumer = client::PushConsumer::create(client, options);
        REQUIRE(consumer.has_value());
        REQUIRE((*consumer)->subscribe("T"));
        std::atomic<int> got{0};
        const auto begin = steady_clock::now();
        REQUIRE((*consumer)->start([&got](std::span<const client::MessageView> messages) {
            got += static_cast<int>(messages.size());
            return client::ConsumeResult::kSuccess;
        }));
        CHECK(wait_until(kPatience, [&] { return got >= kMessages; }));
        const auto took =
            std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin).count();
        CHECK(got == kMessages);
        // A tenth of a second's at once, and as much that passes an open bucket.
        CHECK(took >= (kMessages - 2 * kRate / 10) * 1'000 / kRate - 100);
        CHECK(value(*cluster, "gantry_broker_flow_delayed_total") > 0);
        (*consumer)->stop();
        MESSAGE("delivered " << kMessages << " at " << kRate << "/s in " << took << " ms");
    }

    TEST_CASE("the command line sets, lists and takes away limits, which survive a kill") {
        const auto cluster = start_cluster("sync");
        const auto run = [&](std::vector<std::string> words) {
            words.insert(words.end(), {"--nameserver", cluster->nameserver().address()});
            const Result<ProgramRun> ran = run_program(cli_executable(), words);
            REQUIRE(ran.has_value());
            return *ran;
        };
        CHECK(run({"flow", "set", "topic", "T", "--send-messages", "5"}).code == 0);
        CHECK(run({"flow", "set", "topic", "T", "--deliver-bytes", "1000000"}).code == 0);
        CHECK(run({"flow", "set", "topic", "NOPE", "--send-bytes", "5"}).code == 3);
        CHECK(run({"flow", "set", "queue", "T", "--send-bytes", "5"}).code == 1);
        CHECK(run({"flow", "set", "topic", "T"}).code == 1);
        cluster->broker().kill();
        require_started(cluster->broker().start());
        REQUIRE(cluster->wait_for_brokers(1));
        const ProgramRun list = run({"flow", "list", "-o", "json"});
        CHECK_MESSAGE(has(list.out,
                          R"("scope":"topic","name":"T","send_messages":5,"send_bytes":0,)"
                          R"("deliver_messages":0,"deliver_bytes":1000000,"default":false)"),
                      list.out);
        CHECK(has(run({"flow", "list"}).out, "1000000"));
        CHECK(run({"flow", "remove", "topic", "T"}).code == 0);
        CHECK_FALSE(has(run({"flow", "list", "-o", "json"}).out, R"("topic")"));
    }

    TEST_CASE("the example of the guide sends all of it at the limit's pace") {
        const auto cluster = start_cluster("async");
        const Result<ProgramRun> run = run_program(
            GANTRY_FLOW_CONTROL_EXAMPLE, {cluster->nameserver().address(), "T", "1000", "2000"});
        REQUIRE(run.has_value());
        CHECK_MESSAGE(run->code == 0, run->err);
        CHECK_MESSAGE(has(run->out, "stored 2000 in "), run->out);
        CHECK(stored(*cluster).size() == 2'000);
    }
}

}  // namespace gantry::harness

// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"
#include "client/consumer.h"
#include "client/producer.h"
#include "tests/harness/broker_calls.h"
#include "tests/harness/cluster.h"
#include "tests/harness/programs.h"
#include "tests/harness/wait.h"
#include "tests/process/sender.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

constexpr std::chrono::seconds kPatience{60};

std::unique_ptr<Cluster> start_cluster() {
    Cluster::Options options;
    options.broker_settings = {{"store.segment_bytes", "16MiB"},
                               {"store.prefault_bytes", "0"},
                               {"store.free_bytes_min", "0"}};
    auto cluster = Cluster::start(options);
    REQUIRE_MESSAGE(cluster.has_value(), (cluster ? "" : to_string(cluster.error())));
    RpcClient direct((*cluster)->broker().address());
    REQUIRE(create_topic(direct, "T", 2).summary() == "0");
    return std::move(cluster).value();
}

std::shared_ptr<client::Client> connect(Cluster& cluster) {
    client::Client::Options options;
    options.nameservers = {cluster.nameserver().address()};
    auto client = client::Client::start(options);
    REQUIRE(client.has_value());
    return std::move(client).value();
}

std::unique_ptr<client::Producer> producer_of(const std::shared_ptr<client::Client>& client) {
    client::Producer::Options options;
    options.idempotent = true;
    options.deadline = kPatience;
    auto producer = client::Producer::create(client, options);
    REQUIRE(producer.has_value());
    return std::move(producer).value();
}

/// Answers each request "n" with "re n".
class Server {
public:
    explicit Server(Cluster& cluster) : client_(connect(cluster)), producer_(producer_of(client_)) {
        client::PushConsumer::Options options;
        options.group = "servers";
        options.start_from.kind = client::StartFrom::Kind::kFirst;
        options.threads = 2;
        auto consumer = client::PushConsumer::create(client_, options);
        REQUIRE(consumer.has_value());
        consumer_ = std::move(consumer).value();
        REQUIRE(consumer_->subscribe("T"));
        REQUIRE(consumer_->start([this](std::span<const client::MessageView> messages) {
            for (const client::MessageView& request : messages) {
                client::Message answer;
                answer.body = "re " + std::string(request.body());
                static_cast<void>(producer_->reply(request, std::move(answer)));
            }
            return client::ConsumeResult::kSuccess;
        }));
    }

    ~Server() { consumer_->stop(); }

private:
    std::shared_ptr<client::Client> client_;
    std::unique_ptr<client::Producer> producer_;
    std::unique_ptr<client::PushConsumer> consumer_;
};

}  // namespace

TEST_SUITE("process/request") {
    TEST_CASE("every request ends once, though the broker is killed under them") {
        constexpr int kRequests = 1'000;
        const auto cluster = start_cluster();
        const Server server(*cluster);
        const auto client = connect(*cluster);
        const auto producer = producer_of(client);
        std::atomic<int> answered{0};
        std::atomic<int> wrong{0};
        std::atomic<int> ended{0};
        std::vector<std::atomic<int>> ends(kRequests);
        for (int i = 0; i < kRequests; ++i) {
            client::Message question;
            question.topic = "T";
            question.body = std::to_string(i);
            const auto on_reply = [&, i](Result<client::MessageView> reply) {
                answered += reply ? 1 : 0;
                wrong += reply && reply->body() != "re " + std::to_string(i) ? 1 : 0;
                ++ends[static_cast<std::size_t>(i)];
                ++ended;
            };
            REQUIRE(producer->request_async(std::move(question), kPatience / 3, on_reply));
            if (i == kRequests / 2) {
                CHECK(wait_until(kPatience, [&] { return answered > 10; }));
                cluster->broker().kill();
                require_started(cluster->broker().start());
            }
        }
        CHECK(wait_until(kPatience, [&] { return ended == kRequests; }));
        CHECK(wrong == 0);
        for (const std::atomic<int>& count : ends) {
            CHECK(count == 1);
        }
        // A reply that the broker took and could not push before it died is lost, as it is said.
        CHECK(answered >= kRequests - 10);
    }

    TEST_CASE("a request that nobody replies to ends by its time") {
        const auto cluster = start_cluster();
        const auto producer = producer_of(connect(*cluster));
        client::Message question;
        question.topic = "T";
        question.body = "anybody?";
        const auto reply = producer->request(std::move(question), std::chrono::milliseconds(300));
        REQUIRE_FALSE(reply.has_value());
        CHECK(reply.error().code == Errc::kTimeout);
    }

    TEST_CASE("the example of the guide asks, and is answered") {
        const auto cluster = start_cluster();
        const Result<std::unique_ptr<Process>> server =
            Process::start(GANTRY_REQUEST_REPLY_EXAMPLE,
                           {cluster->nameserver().address(), "T", "serve", "60"},
                           cluster->directory(),
                           "server");
        REQUIRE(server.has_value());
        const Result<ProgramRun> run = run_program(
            GANTRY_REQUEST_REPLY_EXAMPLE, {cluster->nameserver().address(), "T", "ask", "3", "12"});
        REQUIRE(run.has_value());
        CHECK_MESSAGE(run->code == 0, run->err);
        CHECK_MESSAGE(has(run->out, "3: 9\n"), run->out);
        CHECK_MESSAGE(has(run->out, "12: 144\n"), run->out);
        (*server)->kill();
    }
}

}  // namespace gantry::harness

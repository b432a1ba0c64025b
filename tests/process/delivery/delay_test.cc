// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"
#include "client/consumer.h"
#include "client/producer.h"
#include "common/clock.h"
#include "common/random.h"
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
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace gantry::harness {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{120'000};
constexpr std::int32_t kQueues = 4;
constexpr std::uint64_t kMessages = kIsSanitized ? 5'000 : 50'000;

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* const given = std::getenv(name);
    return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

WallMs wall_ms() {
    return SystemClock().wall_ms();
}

std::unique_ptr<Cluster> start_cluster() {
    Cluster::Options options;
    options.broker_settings = {{"store.segment_bytes", "64MiB"}, {"store.free_bytes_min", "0"}};
    auto cluster = Cluster::start(options);
    REQUIRE_MESSAGE(cluster.has_value(), (cluster ? "" : to_string(cluster.error())));
    RpcClient client((*cluster)->broker().address());
    REQUIRE(create_topic(client, "T", kQueues).summary() == "0");
    return std::move(cluster).value();
}

/// Many messages, all due within the second from `due` on; bodies are "number due".
struct Storm {
    explicit Storm(std::uint64_t messages) : count(messages) {}

    /// Sends them all, well before they are due.
    void send(Cluster& cluster) {
        client::Client::Options where;
        where.nameservers = {cluster.nameserver().address()};
        auto client = client::Client::start(where);
        REQUIRE(client.has_value());
        client::Producer::Options options;
        options.deadline = std::chrono::seconds(60);
        options.idempotent = true;
        auto producer = client::Producer::create(*client, options);
        REQUIRE(producer.has_value());
        due = wall_ms() + (kIsSanitized ? 6'000 : 2'000) + static_cast<WallMs>(count / 25);
        std::atomic<std::uint64_t> failed{0};
        for (std::uint64_t i = 0; i < count; ++i) {
            client::Message message;
            message.topic = "T";
            message.deliver_at = due + static_cast<WallMs>(i % 1'000);
            message.body = std::to_string(i) + ' ' + std::to_string(message.deliver_at);
            const auto done = [&failed](const Result<client::SendReceipt>& receipt) {
                failed += receipt && !receipt->recall_handle.empty() ? 0 : 1;
            };
            while (!(*producer)->send_async(message, done)) {
                std::this_thread::yield();
            }
        }
        REQUIRE((*producer)->close(std::chrono::seconds(60)));
        CHECK(failed == 0);
        REQUIRE_MESSAGE(wall_ms() < due, "sending took too long");
    }

    std::uint64_t count;
    WallMs due = 0;
};

/// A consumer that gets what is delivered as it comes.
class Receiver {
public:
    Receiver(Cluster& cluster, std::uint64_t count) : count_(count) {
        client::Client::Options where;
        where.nameservers = {cluster.nameserver().address()};
        auto client = client::Client::start(where);
        REQUIRE(client.has_value());
        client::PullConsumer::Options options;
        options.start_from.kind = client::StartFrom::Kind::kFirst;
        auto consumer = client::PullConsumer::create(*client, options);
        REQUIRE(consumer.has_value());
        consumer_ = std::move(consumer).value();
        auto queues = consumer_->queues("T");
        REQUIRE(queues.has_value());
        REQUIRE(consumer_->assign(std::move(queues).value(), client::MessageSelector::by_tag("*")));
        thread_ = std::thread([this] { receive(); });
    }

    ~Receiver() {
        stops_ = true;
        thread_.join();
    }

    bool has_all() const { return got_ >= count_; }

    /// When the last one came.
    WallMs last_ms() const { return last_ms_; }

private:
    void receive() {
        while (!stops_ && !has_all()) {
            const auto messages = consumer_->poll(milliseconds(100));
            if (!messages.empty()) {
                last_ms_ = wall_ms();
                got_ += messages.size();
            }
        }
    }

    const std::uint64_t count_;
    std::unique_ptr<client::PullConsumer> consumer_;
    std::atomic<bool> stops_{false};
    std::atomic<std::uint64_t> got_{0};
    std::atomic<WallMs> last_ms_{0};
    std::thread thread_;
};

double delivered(Cluster& cluster) {
    return metric(cluster.broker().http_port(), "gantry_broker_delayed_out_total").value_or(0);
}

std::uint64_t stored(Cluster& cluster) {
    RpcClient client(cluster.broker().address());
    std::uint64_t count = 0;
    for (std::int32_t queue = 0; queue < kQueues; ++queue) {
        wire::QueueRequest request;
        request.set_topic("T");
        request.set_queueid(queue);
        const Answer answer = client.call(wire::RequestCode::kGetMaxOffset, &request);
        count += static_cast<std::uint64_t>(answer.fields<wire::OffsetResponse>().offset());
    }
    return count;
}

/// What of the broker's memory is no page cache, in MiB.
std::uint64_t anonymous_mib(Cluster& cluster) {
    std::ifstream status("/proc/" + std::to_string(cluster.broker().process().pid()) + "/status");
    std::string word;
    std::uint64_t kib = 0;
    while (status >> word && word != "RssAnon:") {
    }
    status >> kib;
    return kib >> 10U;
}

struct Arrivals {
    std::vector<std::uint32_t> times;  ///< how often each number came
    WallMs earliest_ms = 1'000'000;    ///< between due and stored
    WallMs last_ms = 0;                ///< store time
};

Arrivals read_arrivals(Cluster& cluster, const Storm& storm) {
    Arrivals arrivals;
    arrivals.times.resize(storm.count);
    RpcClient client(cluster.broker().address());
    for (std::int32_t queue = 0; queue < kQueues; ++queue) {
        wire::PullMessageRequest pull = pull_of("T", queue, 0);
        pull.set_maxmsgnums(10'000);
        for (;;) {
            const Answer answer = client.call(wire::RequestCode::kPullMessage, &pull);
            if (answer.code != wire::ResponseCode::kSuccess) {
                break;
            }
            pull.set_queueoffset(answer.fields<wire::PullMessageResponse>().nextbeginoffset());
            const auto add = [&](const std::byte*, const wire::Record& record) -> Status {
                const std::string body(as_text(record.body));
                char* end = nullptr;
                const std::uint64_t number = std::strtoull(body.c_str(), &end, 10);
                const WallMs due = std::strtoll(end, nullptr, 10);
                REQUIRE(number < storm.count);
                ++arrivals.times[number];
                arrivals.earliest_ms = std::min(arrivals.earliest_ms, record.store_ms - due);
                arrivals.last_ms = std::max(arrivals.last_ms, record.store_ms);
                return ok();
            };
            REQUIRE(wire::for_each_record(as_bytes(answer.body), add));
        }
    }
    return arrivals;
}

void check_all_once(const Arrivals& arrivals) {
    const auto lost = std::count(arrivals.times.begin(), arrivals.times.end(), 0U);
    const auto twice = std::count_if(
        arrivals.times.begin(), arrivals.times.end(), [](std::uint32_t n) { return n > 1; });
    CHECK(lost == 0);
    CHECK(twice == 0);
    CHECK(arrivals.earliest_ms >= 0);
}

}  // namespace

TEST_SUITE("process/delay") {
    TEST_CASE("messages due in one second come within two of it, none early") {
        const auto cluster = start_cluster();
        Storm storm(number_from_environment("GANTRY_TEST_MESSAGES", kMessages));
        storm.send(*cluster);
        const Receiver receiver(*cluster, storm.count);
        const std::uint64_t before = anonymous_mib(*cluster);
        std::uint64_t most = before;
        REQUIRE(wait_until(kPatience, [&] {
            most = std::max(most, anonymous_mib(*cluster));
            return delivered(*cluster) == static_cast<double>(storm.count);
        }));
        CHECK(wait_until(kPatience, [&] { return receiver.has_all(); }));
        const Arrivals arrivals = read_arrivals(*cluster, storm);
        check_all_once(arrivals);
        const WallMs late = arrivals.last_ms - (storm.due + 999);
        MESSAGE(storm.count << " messages: the last one in its queue " << late
                            << " ms behind the second, at the consumer "
                            << receiver.last_ms() - (storm.due + 999) << " ms; anonymous memory "
                            << before << " MiB before, " << most << " MiB at most");
        CHECK(late < 10'000);  // how busy this machine is nobody knows
        const std::uint64_t room_mib = kIsSanitized ? 1'000 : 128;
        CHECK(most < before + room_mib);
    }

    TEST_CASE("a broker killed in the middle of a storm delivers each once") {
        const auto cluster = start_cluster();
        Random random(number_from_environment("GANTRY_TEST_SEED", random_seed()));
        Storm storm(number_from_environment("GANTRY_TEST_MESSAGES", kMessages));
        storm.send(*cluster);
        REQUIRE(wait_until(kPatience, [&] { return wall_ms() >= storm.due; }));
        for (std::uint64_t part = 1; part <= 3; ++part) {
            const std::uint64_t enough = storm.count * part / 5 + random.below(storm.count / 10);
            REQUIRE(wait_until(kPatience, [&] { return stored(*cluster) >= enough; }));
            cluster->broker().kill();
            require_started(cluster->broker().start());
        }
        REQUIRE(wait_until(kPatience, [&] { return stored(*cluster) >= storm.count; }));
        REQUIRE(wait_until(kPatience, [&] {
            return metric(cluster->broker().http_port(), "gantry_broker_delayed_waiting")
                       .value_or(-1) == 0;
        }));
        check_all_once(read_arrivals(*cluster, storm));
    }

    TEST_CASE("the example cancels one reminder and gets the others when they are due") {
        const auto cluster = start_cluster();
        const auto run =
            run_program(GANTRY_DELAY_EXAMPLE, {cluster->nameserver().address(), "T", "800"});
        REQUIRE(run);
        CHECK_MESSAGE(run->code == 0, run->err);
        for (int i = 0; i < 4; ++i) {
            CHECK(has(run->out, "reminder " + std::to_string(i) + ", stored "));
        }
        CHECK_FALSE(has(run->out, "reminder 4"));
    }
}

}  // namespace gantry::harness

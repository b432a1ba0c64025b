// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"
#include "client/producer.h"
#include "common/random.h"
#include "protocol/wire/nameserver.pb.h"
#include "tests/harness/broker_calls.h"
#include "tests/harness/build.h"
#include "tests/harness/faulty_proxy.h"
#include "tests/harness/programs.h"
#include "tests/harness/temp_directory.h"
#include "tests/harness/wait.h"
#include "tests/process/sender.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

using client::SendReceipt;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{600'000};
constexpr std::int32_t kQueues = 8;
constexpr int kKills = 3;
constexpr std::uint32_t kBatchBytes = 8 << 10U;

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* const given = std::getenv(name);
    return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

/// A broker that everybody is told to reach through a bad network.
class Behind {
public:
    explicit Behind(const std::string& flush)
        : nameserver(directory.path(), "n"), broker(directory.path(), "b", "", settings(flush)) {
        require_started(nameserver.start());
        require_started(broker.start());
        REQUIRE(create_topic(*direct(), "T", kQueues).summary() == "0");
        Result<std::unique_ptr<FaultyProxy>> started = FaultyProxy::start(broker.port());
        REQUIRE(started);
        proxy = std::move(started).value();
        route_through_proxy();
    }

    std::unique_ptr<RpcClient> direct() const {
        return std::make_unique<RpcClient>(broker.address());
    }

    TempDirectory directory;
    NameserverProcess nameserver;
    BrokerProcess broker;
    std::unique_ptr<FaultyProxy> proxy;

private:
    static Settings settings(const std::string& flush) {
        return {{"store.flush", flush},
                {"store.segment_bytes", "16MiB"},
                {"store.prefault_bytes", "4MiB"},
                {"store.checkpoint_bytes", "2MiB"},
                {"store.free_bytes_min", "0"}};
    }

    void route_through_proxy() {
        wire::RegisterBrokerRequest request;
        request.set_brokername("b");
        request.set_brokeraddr(proxy->address());
        request.set_clustername("c");
        request.set_brokerid(0);
        request.set_heartbeattimeoutmillis(kPatience.count());
        wire::RegisterBrokerBody body;
        wire::TopicConfig topic;
        topic.set_topicname("T");
        topic.set_readqueuenums(kQueues);
        topic.set_writequeuenums(kQueues);
        topic.set_perm(6);
        (*body.mutable_topicconfigserializewrapper()->mutable_topicconfigtable())["T"] = topic;
        registrar_ = std::make_unique<RpcClient>(nameserver.address());
        const Answer answer =
            registrar_->call_with_body(wire::RequestCode::kRegisterBroker, &request, body);
        REQUIRE_MESSAGE(answer.summary() == "0", answer.summary());
    }

    std::unique_ptr<RpcClient> registrar_;  ///< the route lasts as long as its connection
};

/// A producer that sends messages "0", "1", … and what became of each.
class Flood {
public:
    Flood(const Behind& behind, std::size_t messages, std::uint32_t batch_bytes)
        : places_(messages) {
        client::Client::Options where;
        where.nameservers = {behind.nameserver.address()};
        Result<std::shared_ptr<client::Client>> client = client::Client::start(where);
        REQUIRE(client);
        client::Producer::Options options;
        options.idempotent = true;
        options.deadline = std::chrono::seconds(120);
        options.batch_bytes_max = batch_bytes;
        options.in_flight_max = 2'000;
        auto producer = client::Producer::create(std::move(client).value(), options);
        REQUIRE(producer);
        producer_ = std::move(producer).value();
        sending_ = std::thread([this] { send_all(); });
    }

    ~Flood() {
        is_stopping_ = true;
        sending_.join();
    }

    Flood(const Flood&) = delete;
    Flood& operator=(const Flood&) = delete;

    std::size_t done() const { return done_; }

    std::size_t failed() const { return failed_; }

    std::size_t count() const { return places_.size(); }

    /// The first error; once all are done.
    std::string first_error() const { return failed_ > 0 ? to_string(error_) : ""; }

    /// Whether message `i` is where its receipt says.
    bool is_at_its_place(std::size_t i, const std::vector<std::vector<std::string>>& queues) const {
        const auto queue = static_cast<std::size_t>(places_[i].queue.queue);
        const auto at = static_cast<std::size_t>(places_[i].queue_offset);
        return at < queues[queue].size() && queues[queue][at] == std::to_string(i);
    }

private:
    void send_all() {
        // Not all at once: faults are to come among them.
        const double per_second = std::max(20'000.0, static_cast<double>(places_.size()) / 30);
        const auto begin = std::chrono::steady_clock::now();
        for (std::size_t i = 0; i < places_.size() && !is_stopping_;) {
            const std::chrono::duration<double> past = std::chrono::steady_clock::now() - begin;
            if (static_cast<double>(i) > past.count() * per_second) {
                std::this_thread::sleep_for(milliseconds(1));  // sleeps: until the next is due
                continue;
            }
            client::Message message;
            message.topic = "T";
            message.body = std::to_string(i);
            const Status sent = producer_->send_async(
                std::move(message), [this, i](Result<SendReceipt> result) { ended(i, result); });
            if (sent) {
                ++i;
            } else if (sent.error().code == Errc::kBusy) {
                std::this_thread::sleep_for(milliseconds(1));  // sleeps: until there is room
            } else {
                ended(i++, sent.error());
            }
        }
    }

    void ended(std::size_t i, Result<SendReceipt> result) {
        if (result) {
            places_[i] = std::move(result).value();
        } else if (failed_++ == 0) {
            error_ = result.error();
        }
        ++done_;
    }

    std::vector<SendReceipt> places_;
    Error error_;
    std::atomic<std::size_t> done_{0};
    std::atomic<std::size_t> failed_{0};
    std::atomic<bool> is_stopping_{false};
    std::unique_ptr<client::Producer> producer_;
    std::thread sending_;
};

/// One thing that happens to networks.
void disturb(FaultyProxy& proxy, Random& random) {
    switch (random.below(5)) {
        case 0:
            proxy.delay(milliseconds(random.below(4)));
            break;
        case 1:
            proxy.duplicate_every(static_cast<std::uint32_t>(2 + random.below(20)));
            proxy.cut_once();
            break;
        case 2:  // a black hole, until somebody notices
            proxy.drop();
            std::this_thread::sleep_for(milliseconds(random.below(20)));  // sleeps: so long
            proxy.pass();
            proxy.cut_once();
            break;
        default:
            proxy.cut_once();
    }
}

/// Sends that the broker, since its start, knew from before.
double repeats_at(const Behind& behind) {
    return metric(behind.broker.http_port(), "gantry_broker_sends_repeated_total").value_or(0);
}

/// Disturbs the network until all is sent, and kills the broker on the way. The sends that were
/// repeats.
double torment(Behind& behind, const Flood& flood, Random& random) {
    double repeats = 0;
    const std::size_t part = flood.count() / (kKills + 1);
    int kills = 0;
    std::size_t kill_at = part / 2 + random.below(part);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (flood.done() < flood.count() && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(milliseconds(5 + random.below(60)));  // sleeps: so come faults
        if (kills < kKills && flood.done() >= kill_at) {
            repeats += repeats_at(behind);
            behind.broker.kill();
            require_started(behind.broker.start());
            ++kills;
            kill_at = part * static_cast<std::size_t>(kills) + part / 2 + random.below(part);
        } else {
            disturb(*behind.proxy, random);
        }
    }
    CHECK(kills == kKills);
    return repeats + repeats_at(behind);
}

std::vector<std::vector<std::string>> read_queues(const Behind& behind) {
    const auto direct = behind.direct();
    std::vector<std::vector<std::string>> queues;
    for (std::int32_t queue = 0; queue < kQueues; ++queue) {
        queues.push_back(read_queue(*direct, "T", queue));
    }
    return queues;
}

std::size_t stored_in(const Behind& behind) {
    std::size_t stored = 0;
    for (const std::vector<std::string>& queue : read_queues(behind)) {
        stored += queue.size();
    }
    return stored;
}

void check_stored_once(const std::string& flush, std::uint32_t batch_bytes) {
    const std::size_t messages =
        number_from_environment("GANTRY_TEST_MESSAGES", kIsSanitized ? 5'000 : 20'000);
    const std::uint64_t seed = number_from_environment("GANTRY_TEST_SEED", random_seed());
    INFO("GANTRY_TEST_SEED=", seed);
    Random random(seed);
    Behind behind(flush);
    behind.proxy->duplicate_every(7);
    const auto begin = std::chrono::steady_clock::now();
    Flood flood(behind, messages, batch_bytes);
    const double repeats = torment(behind, flood, random);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    CHECK(flood.done() == messages);
    CHECK_MESSAGE(flood.failed() == 0, flood.first_error());
    const std::vector<std::vector<std::string>> queues = read_queues(behind);
    std::size_t stored = 0;
    for (const std::vector<std::string>& queue : queues) {
        stored += queue.size();
    }
    CHECK(stored == messages);
    std::size_t misplaced = 0;
    for (std::size_t i = 0; i < messages; ++i) {
        misplaced += flood.is_at_its_place(i, queues) ? 0 : 1;
    }
    CHECK(misplaced == 0);
    CHECK(repeats > 0);
    MESSAGE("GANTRY_TEST_SEED=" << seed << ": " << stored << " of " << messages << " stored in "
                                << took.count() << " s, " << repeats << " sends repeated");
}

}  // namespace

TEST_SUITE("process/idempotent") {
    TEST_CASE("through a bad network and three kills each message is stored once, async flush") {
        check_stored_once("async", 0);
    }

    TEST_CASE("through a bad network and three kills each message is stored once, sync flush") {
        check_stored_once("sync", 0);
    }

    TEST_CASE("through a bad network and three kills each message is stored once, in batches") {
        check_stored_once("async", kBatchBytes);
    }

    TEST_CASE("in batches and with sync flush each message is stored once") {
        check_stored_once("sync", kBatchBytes);
    }

    TEST_CASE("the guide's example goes on when its broker is killed, and the CLI sends so too") {
        constexpr int kReadings = 50'000;
        Behind behind("async");
        auto example = Process::start(GANTRY_EXACTLY_ONCE_EXAMPLE,
                                      {behind.nameserver.address(), "T", std::to_string(kReadings)},
                                      behind.directory.path(),
                                      "example");
        REQUIRE(example);
        REQUIRE(wait_until(Process::kPatience, [&] {
            return metric(behind.broker.http_port(), "gantry_broker_messages_in_total")
                       .value_or(0) > 1'000;
        }));
        behind.broker.kill();
        require_started(behind.broker.start());
        const Result<ProcessExit> exit = (*example)->wait_exit(kPatience);
        REQUIRE(exit);
        CHECK_MESSAGE(exit->code == 0, (*example)->err());
        CHECK((*example)->out().starts_with("50000 stored once, 0 not stored, 0 unknown"));
        CHECK(stored_in(behind) == std::size_t{kReadings});
        const std::filesystem::path lines = behind.directory.path() / "lines";
        std::ofstream(lines) << "one\ntwo\nthree\n";
        const Result<ProgramRun> sent = run_program(cli_executable(),
                                                    {"produce",
                                                     "T",
                                                     lines.string(),
                                                     "--idempotent",
                                                     "--nameserver",
                                                     behind.nameserver.address()});
        REQUIRE(sent);
        CHECK_MESSAGE(sent->code == 0, sent->err);
        CHECK(stored_in(behind) == std::size_t{kReadings} + 3);
    }
}

}  // namespace gantry::harness

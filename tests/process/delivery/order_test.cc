// SPDX-License-Identifier: Apache-2.0
#include "client/admin_client.h"
#include "client/client.h"
#include "client/producer.h"
#include "protocol/wire/topic.pb.h"
#include "tests/harness/broker_calls.h"
#include "tests/harness/build.h"
#include "tests/harness/cluster.h"
#include "tests/harness/process.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};
constexpr int kRound = kIsSanitized ? 200 : 1'000;
constexpr int kAccounts = 12;

/// One line that the example booked.
struct Booking {
    std::string member;
    std::string account;
    int number = 0;
};

/// A cluster with topic "T" of four queues, a producer, and members of the guide's example, which
/// book in one file, so that its lines are in the order of time.
class Booked {
public:
    Booked() {
        Cluster::Options options;
        options.broker_settings = {{"store.segment_bytes", "16MiB"}, {"store.free_bytes_min", "0"}};
        auto started = Cluster::start(options);
        REQUIRE_MESSAGE(started.has_value(), (started ? "" : to_string(started.error())));
        cluster = std::move(started).value();
        RpcClient rpc(cluster->broker().address());
        REQUIRE(create_topic(rpc, "T", 4).summary() == "0");
        client::Client::Options wanted;
        wanted.nameservers = {cluster->nameserver().address()};
        client = client::Client::start(wanted).value();
        client::Producer::Options sending;
        sending.deadline = std::chrono::seconds(60);
        sending.idempotent = true;
        producer = client::Producer::create(client, sending).value();
    }

    /// One more booking of an account; `tail` is appended.
    void send(int account, const std::string& tail = {}) {
        const std::string name = "a" + std::to_string(account);
        client::Message message;
        message.topic = "T";
        message.keys = {name};
        message.body = name + ' ' + std::to_string(sent[name]++) + tail;
        const auto failed = [](const Result<client::SendReceipt>& receipt) {
            CHECK_MESSAGE(receipt.has_value(), (receipt ? "" : to_string(receipt.error())));
        };
        REQUIRE(producer->send_async(std::move(message), name, failed));
    }

    /// kRound more bookings, dealt out to the accounts; each is stored when this returns.
    void produce() {
        for (int i = 0; i < kRound; ++i) {
            send(i % kAccounts);
        }
        REQUIRE(producer->flush(kPatience));
    }

    std::string file() const { return (cluster->directory() / "ledger").string(); }

    std::unique_ptr<Process> start_member(const std::string& name, const std::string& way) const {
        auto started = Process::start(GANTRY_ORDER_EXAMPLE,
                                      {cluster->nameserver().address(),
                                       "T",
                                       file(),
                                       name,
                                       way,
                                       kIsSanitized ? "4000" : "2000"},
                                      cluster->directory(),
                                      name);
        REQUIRE(started.has_value());
        return std::move(started).value();
    }

    /// Whole lines only.
    std::vector<Booking> bookings() const {
        std::vector<Booking> all;
        std::ifstream text(file());
        for (std::string line; std::getline(text, line) && !text.eof();) {
            Booking one;
            std::istringstream(line) >> one.member >> one.account >> one.number;
            all.push_back(one);
        }
        return all;
    }

    std::size_t booked_by(const std::string& member) const {
        const std::vector<Booking> all = bookings();
        return static_cast<std::size_t>(std::count_if(
            all.begin(), all.end(), [&](const Booking& one) { return one.member == member; }));
    }

    bool is_complete() const {
        std::map<std::string, std::set<int>> booked;
        for (const Booking& one : bookings()) {
            booked[one.account].insert(one.number);
        }
        return std::all_of(sent.begin(), sent.end(), [&](const auto& account) {
            return booked[account.first].size() == static_cast<std::size_t>(account.second);
        });
    }

    double fenced() {
        RpcClient rpc(cluster->broker().address());
        const Answer answer = rpc.call(wire::RequestCode::kDescribeBroker);
        const auto described = answer.body_as<wire::BrokerDescription>();
        const auto found = described.counters().find("gantry_broker_fenced_total");
        return found == described.counters().end() ? -1 : found->second;
    }

    std::unique_ptr<Cluster> cluster;
    std::shared_ptr<client::Client> client;
    std::unique_ptr<client::Producer> producer;
    std::map<std::string, int> sent;  // by account, how many
};

/// Lines that come before what they have to come after: a booking follows the one before it of its
/// account, or goes back to one that was booked before.
int mistakes(const std::vector<Booking>& bookings) {
    std::map<std::string, int> last;
    int count = 0;
    for (const Booking& one : bookings) {
        const auto before = last.try_emplace(one.account, -1).first;
        count += one.number > before->second + 1 ? 1 : 0;
        before->second = one.number;
    }
    return count;
}

void stop(Process& member) {
    const auto ended = member.stop();
    REQUIRE(ended.has_value());
    CHECK_MESSAGE(ended->code == 0, member.err());
}

void survive_kills(Booked& f, const std::string& way) {
    const auto steady = f.start_member("steady", way);
    const auto dying = f.start_member("dying", way);
    REQUIRE(wait_until(kPatience, [&] {
        f.produce();
        return f.booked_by("steady") > 0 && f.booked_by("dying") > 0;
    }));
    f.produce();
    dying->kill();
    f.produce();
    f.cluster->broker().kill();
    REQUIRE(f.cluster->broker().start());
    const auto again = f.start_member("again", way);
    f.produce();
    CHECK(wait_until(kPatience, [&] { return f.is_complete(); }));
    stop(*steady);
    stop(*again);
    CHECK(mistakes(f.bookings()) == 0);
}

}  // namespace

TEST_SUITE_BEGIN("process/order");

TEST_CASE_FIXTURE(Booked, "by queue: an owner is killed, and the broker: in order, none lost") {
    survive_kills(*this, "queue");
}

TEST_CASE_FIXTURE(Booked, "by key: an owner is killed, and the broker: in order, none lost") {
    survive_kills(*this, "key");
}

TEST_CASE_FIXTURE(Booked, "an owner stalls past its lease: fenced, the new one goes on in order") {
    const auto stalled = start_member("stalled", "queue");
    REQUIRE(wait_until(kPatience, [&] {
        produce();
        return booked_by("stalled") > 0;
    }));
    stalled->pause();
    const auto fresh = start_member("fresh", "queue");
    produce();
    REQUIRE(wait_until(kPatience, [&] { return is_complete(); }));
    CHECK(mistakes(bookings()) == 0);
    CHECK(fenced() == 0);
    stalled->resume();
    CHECK(wait_until(kPatience, [&] { return fenced() > 0; }));
    produce();
    CHECK(wait_until(kPatience, [&] { return is_complete(); }));
    stop(*stalled);
    stop(*fresh);
    // It ended the calls it was in, one a queue, and took nothing up before it had a lock again:
    // then behind all that the other had committed.
    CHECK(mistakes(bookings()) <= 4);
}

TEST_CASE_FIXTURE(Booked, "what fails too often is a dead letter, and its account goes on") {
    const auto member = start_member("member", "key");
    send(1);
    send(2, " bad");
    for (int i = 0; i < 20; ++i) {
        send(1);
        send(2);
    }
    REQUIRE(producer->flush(kPatience));
    CHECK(wait_until(kPatience, [&] { return bookings().size() == 41; }));
    stop(*member);
    const auto admin = client::AdminClient::create(client, {}).value();
    const auto letters = admin->dead_letters_of("order-example");
    REQUIRE(letters.has_value());
    CHECK(letters->front().count() == 1);
    CHECK(mistakes(bookings()) == 1);  // the one that is missing
}

TEST_CASE_FIXTURE(Booked,
                  "a parked key outlives kill -9, holds up no other, and comes back in order") {
    auto member = start_member("first", "park");
    const auto admin = client::AdminClient::create(client, {}).value();
    const auto parked = [&]() -> std::int64_t {
        const auto keys = admin->list_parked({.group = "order-example"});
        return keys && keys->size() == 1 ? keys->front().count : -1;
    };
    const auto booked = [&](const std::string& account) {
        const std::vector<Booking> all = bookings();
        return std::count_if(
            all.begin(), all.end(), [&](const Booking& one) { return one.account == account; });
    };
    send(2, " bad");
    for (int i = 0; i < 20; ++i) {
        send(1);
        send(2);
    }
    REQUIRE(producer->flush(kPatience));
    CHECK(wait_until(kPatience, [&] { return parked() == 21 && booked("a1") == 20; }));
    member->kill();
    cluster->broker().kill();
    REQUIRE(cluster->broker().start());
    member = start_member("second", "park");
    for (int i = 0; i < 10; ++i) {
        send(1);
        send(2);
    }
    REQUIRE(producer->flush(kPatience));
    CHECK(wait_until(kPatience, [&] { return parked() == 31 && booked("a1") >= 30; }));
    CHECK(booked("a2") == 0);
    std::ofstream(file() + ".healed") << "yes";
    const auto released = admin->release_parked({.group = "order-example"});
    REQUIRE(released.has_value());
    CHECK(*released == 1);
    send(2);
    REQUIRE(producer->flush(kPatience));
    CHECK(wait_until(kPatience, [&] { return is_complete(); }));
    CHECK(admin->list_parked({.group = "order-example"}).value().empty());
    stop(*member);
    CHECK(mistakes(bookings()) == 0);
}

TEST_SUITE_END();

}  // namespace gantry::harness

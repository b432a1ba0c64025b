// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"
#include "client/producer.h"
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
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};
constexpr int kBatch = kIsSanitized ? 100 : 400;

/// A cluster with topic "T" of eight queues, and a producer.
class Grouped {
public:
    Grouped() {
        Cluster::Options options;
        options.broker_settings = {{"store.segment_bytes", "16MiB"}, {"store.free_bytes_min", "0"}};
        auto started = Cluster::start(options);
        REQUIRE_MESSAGE(started.has_value(), (started ? "" : to_string(started.error())));
        cluster = std::move(started).value();
        RpcClient rpc(cluster->broker().address());
        REQUIRE(create_topic(rpc, "T", 8).summary() == "0");
        client::Client::Options wanted;
        wanted.nameservers = {cluster->nameserver().address()};
        client = client::Client::start(wanted).value();
        client::Producer::Options sending;
        sending.deadline = std::chrono::seconds(60);
        sending.retry_unknown = true;
        producer = client::Producer::create(client, sending).value();
    }

    /// Sends kBatch more messages; each is stored when this returns.
    void produce() {
        for (int i = 0; i < kBatch; ++i) {
            client::Message message;
            message.topic = "T";
            message.body = "m" + std::to_string(sent.size());
            sent.insert(message.body);
            const auto failed = [](const Result<client::SendReceipt>& receipt) {
                CHECK_MESSAGE(receipt.has_value(), (receipt ? "" : to_string(receipt.error())));
            };
            REQUIRE(producer->send_async(std::move(message), failed));
        }
        REQUIRE(producer->flush(kPatience));
    }

    std::filesystem::path file(const std::string& name) const {
        return cluster->directory() / name;
    }

    /// The example of the guide: a member of a group.
    std::unique_ptr<Process> start_member(const std::string& name,
                                          const std::vector<std::string>& way) const {
        std::vector<std::string> arguments = {cluster->nameserver().address(), "T"};
        arguments.insert(arguments.end(), way.begin(), way.end());
        auto started = Process::start(GANTRY_GROUPS_EXAMPLE, arguments, cluster->directory(), name);
        REQUIRE(started.has_value());
        return std::move(started).value();
    }

    std::unique_ptr<Cluster> cluster;
    std::shared_ptr<client::Client> client;
    std::unique_ptr<client::Producer> producer;
    std::set<std::string> sent;
};

/// What it printed; a line that was cut by its death is left out.
std::vector<std::string> received(const Process& member) {
    std::vector<std::string> lines;
    std::istringstream text(member.out());
    for (std::string line; std::getline(text, line) && !text.eof();) {
        lines.push_back(line);
    }
    return lines;
}

std::set<std::string> union_of(const std::vector<const Process*>& members) {
    std::set<std::string> all;
    for (const Process* const member : members) {
        const std::vector<std::string> lines = received(*member);
        all.insert(lines.begin(), lines.end());
    }
    return all;
}

/// How many messages a broadcast member's file says are done.
std::int64_t saved(const std::filesystem::path& offsets) {
    std::ifstream file(offsets);
    std::string line;
    std::getline(file, line);
    std::int64_t sum = 0;
    for (std::int64_t offset = 0; file >> offset; std::getline(file, line)) {
        sum += offset;
    }
    return sum;
}

void stop(Process& member) {
    const auto ended = member.stop();
    REQUIRE(ended.has_value());
    CHECK_MESSAGE(ended->code == 0, member.err());
}

}  // namespace

TEST_SUITE_BEGIN("process/group");

TEST_CASE_FIXTURE(Grouped, "broadcast: one is killed, the broker too, and each gets everything") {
    const std::string offsets = file("offsets").string();
    const auto steady = start_member("steady", {"broadcast", offsets + "-steady"});
    const auto dying = start_member("dying", {"broadcast", offsets});
    produce();
    REQUIRE(wait_until(kPatience, [&] { return saved(offsets) > 0; }));
    dying->kill();
    produce();
    cluster->broker().kill();
    REQUIRE(cluster->broker().start());
    const auto again = start_member("again", {"broadcast", offsets});
    produce();
    CHECK(wait_until(kPatience, [&] { return union_of({dying.get(), again.get()}) == sent; }));
    CHECK(wait_until(kPatience, [&] { return union_of({steady.get()}) == sent; }));
    stop(*steady);
    stop(*again);
    // Nobody died under the steady one: what it got before the broker's death came once.
    CHECK(received(*steady).size() == sent.size());
    // The one that died goes on where it was, not from the start.
    CHECK(received(*again).size() < sent.size());
}

TEST_CASE_FIXTURE(Grouped, "broadcast: a file that another member has is refused") {
    const std::string offsets = file("offsets").string();
    const auto first = start_member("first", {"broadcast", offsets});
    produce();
    REQUIRE(wait_until(kPatience, [&] { return !received(*first).empty(); }));
    const auto second = start_member("second", {"broadcast", offsets});
    const auto ended = second->wait_exit();
    REQUIRE(ended.has_value());
    CHECK(ended->code == 1);
    CHECK_MESSAGE(second->err().find("offsets.lock") != std::string::npos, second->err());
}

TEST_CASE_FIXTURE(Grouped, "a member is killed: the others take over its queues") {
    for (const std::string way : {"circle", "average"}) {
        CAPTURE(way);
        std::vector<std::unique_ptr<Process>> members;
        for (const std::string name : {"one", "two", "three"}) {
            members.push_back(start_member(way + "-" + name, {way}));
        }
        const std::set<std::string> before = sent;
        const auto all = [&] {
            std::set<std::string> got =
                union_of({members[0].get(), members[1].get(), members[2].get()});
            got.insert(before.begin(), before.end());
            return got;
        };
        REQUIRE(wait_until(kPatience, [&] {
            produce();
            return std::none_of(members.begin(), members.end(), [](const auto& member) {
                return received(*member).empty();
            });
        }));
        members[1]->kill();
        produce();
        CHECK(wait_until(kPatience, [&] { return all() == sent; }));
        stop(*members[0]);
        stop(*members[2]);
    }
}

TEST_SUITE_END();

}  // namespace gantry::harness

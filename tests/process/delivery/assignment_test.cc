// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"
#include "client/consumer.h"
#include "client/producer.h"
#include "protocol/wire/group.pb.h"
#include "protocol/wire/share.pb.h"
#include "tests/harness/broker_calls.h"
#include "tests/harness/build.h"
#include "tests/harness/cluster.h"
#include "tests/harness/http_get.h"
#include "tests/harness/process.h"
#include "tests/harness/programs.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPatience{60'000};
constexpr milliseconds kHeartbeat{2'000};
constexpr std::chrono::microseconds kBetweenSends{kIsSanitized ? 5'000 : 800};
constexpr int kSendsAtOnce = kIsSanitized ? 1 : 4;
constexpr int kQueues = 16;
constexpr auto kGroup = "groups-example";  // of client/examples/groups.cc

/// How often each message was printed.
using Times = std::map<std::string, int>;

/// A cluster with topics "T" and "U", a producer that sends numbered messages to "T" while load
/// runs, and members of one group in processes of their own.
class Assigned {
public:
    Assigned() {
        Cluster::Options options;
        options.broker_settings = {
            {"store.segment_bytes", "16MiB"},
            {"store.free_bytes_min", "0"},
            {"group.share_heartbeat_ms", std::to_string(kHeartbeat.count())}};
        auto started = Cluster::start(options);
        REQUIRE_MESSAGE(started.has_value(), (started ? "" : to_string(started.error())));
        cluster = std::move(started).value();
        RpcClient rpc(cluster->broker().address());
        REQUIRE(create_topic(rpc, "T", kQueues).summary() == "0");
        REQUIRE(create_topic(rpc, "U", 4).summary() == "0");
        client = connect();
        client::Producer::Options sending;
        sending.deadline = std::chrono::seconds(60);
        sending.idempotent = true;
        producer = client::Producer::create(client, sending).value();
    }

    ~Assigned() { end_load(); }

    Assigned(const Assigned&) = delete;
    Assigned& operator=(const Assigned&) = delete;

    std::shared_ptr<client::Client> connect() const {
        client::Client::Options wanted;
        wanted.nameservers = {cluster->nameserver().address()};
        return client::Client::start(wanted).value();
    }

    void send(const std::string& topic) {
        client::Message message;
        message.topic = topic;
        message.body = topic + std::to_string(sent.size());
        sent.insert(message.body);
        REQUIRE(producer->send_async(std::move(message), [](const auto& receipt) {
            CHECK_MESSAGE(receipt.has_value(), (receipt ? "" : to_string(receipt.error())));
        }));
    }

    void send(const std::string& topic, int count) {
        for (int i = 0; i < count; ++i) {
            send(topic);
        }
        REQUIRE(producer->flush(kPatience));
    }

    /// Sends a few thousand messages a second until end_load.
    void start_load() {
        is_loading = true;
        load = std::thread([this] {
            while (is_loading) {
                for (int i = 0; i < kSendsAtOnce; ++i) {
                    send("T");
                }
                std::this_thread::sleep_for(kBetweenSends);  // sleeps: the rate of the load
            }
        });
    }

    void end_load() {
        is_loading = false;
        if (load.joinable()) {
            load.join();
            REQUIRE(producer->flush(kPatience));
        }
    }

    /// The example of the guide.
    Process& start_member(const std::string& way = "broker") {
        auto started = Process::start(GANTRY_GROUPS_EXAMPLE,
                                      {cluster->nameserver().address(), "T", way},
                                      cluster->directory(),
                                      "member-" + std::to_string(members.size()));
        REQUIRE(started.has_value());
        members.push_back(std::move(started).value());
        return *members.back();
    }

    static void stop(Process& member) {
        const auto ended = member.stop();
        REQUIRE(ended.has_value());
        CHECK_MESSAGE(ended->code == 0, member.err());
    }

    /// What the member printed; a line cut by its death is left out.
    static std::vector<std::string> lines_of(const Process& member) {
        std::vector<std::string> lines;
        std::istringstream text(member.out());
        for (std::string line; std::getline(text, line) && !text.eof();) {
            lines.push_back(line);
        }
        return lines;
    }

    Times received() const {
        Times times;
        for (const auto& member : members) {
            for (const std::string& line : lines_of(*member)) {
                ++times[line];
            }
        }
        return times;
    }

    bool has_all() const { return received().size() == sent.size(); }

    std::vector<std::string> twice() const {
        std::vector<std::string> found;
        for (const auto& [body, times] : received()) {
            if (times > 1) {
                found.push_back(body);
            }
        }
        return found;
    }

    /// Client ids to numbers of queues of "T", "" for those that nobody has; of queues that are
    /// being handed over, too.
    std::map<std::string, int> owners() const {
        RpcClient rpc(cluster->broker().address());
        wire::ListSharesRequest which;
        which.set_consumergroup(kGroup);
        const auto list =
            rpc.call(wire::RequestCode::kListShares, &which).body_as<wire::ShareList>();
        std::map<std::string, int> owners;
        for (const wire::ShareList::Share& share : list.shares()) {
            if (share.topic() == "T") {
                owners[share.clientid()] += 1;
                moving += share.revoked() ? 1 : 0;
            }
        }
        return owners;
    }

    /// Whether each of `count` members has its part of the queues and none is on its way.
    bool is_settled(std::size_t count) const {
        moving = 0;
        const std::map<std::string, int> now = owners();
        return now.size() == count && now.count("") == 0 && moving == 0 &&
               std::all_of(now.begin(), now.end(), [count](const auto& each) {
                   return each.second >= kQueues / static_cast<int>(count);
               });
    }

    /// Nothing is left to be committed.
    bool is_drained() const {
        RpcClient rpc(cluster->broker().address());
        wire::ConsumeStatsRequest which;
        which.set_consumergroup(kGroup);
        which.set_topic("T");
        const auto stats =
            rpc.call(wire::RequestCode::kGetConsumeStats, &which).body_as<wire::ConsumeStats>();
        return stats.offsettable_size() == kQueues &&
               std::all_of(
                   stats.offsettable().begin(), stats.offsettable().end(), [](const auto& entry) {
                       return entry.value().brokeroffset() == entry.value().consumeroffset();
                   });
    }

    double pulls_out_of_range() const {
        return metric(cluster->broker().http_port(), "gantry_broker_offsets_out_of_range_total")
            .value_or(0.0);
    }

    std::unique_ptr<Cluster> cluster;
    std::shared_ptr<client::Client> client;
    std::unique_ptr<client::Producer> producer;
    std::set<std::string> sent;  // the load's while it runs
    std::vector<std::unique_ptr<Process>> members;
    mutable int moving = 0;
    std::atomic<bool> is_loading{false};
    std::thread load;
};

/// Whether no thread of the process runs any more.
bool is_stopped(const Process& process) {
    const std::filesystem::path tasks = "/proc/" + std::to_string(process.pid()) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
        std::ifstream file(task.path() / "status");
        std::ostringstream text;
        text << file.rdbuf();
        if (text.str().find("\nState:\tT") == std::string::npos) {
            return false;
        }
    }
    return true;
}

}  // namespace

TEST_SUITE_BEGIN("process/assignment");

TEST_CASE_FIXTURE(Assigned, "rolling restart of ten members under load: none lost, none twice") {
    const std::size_t count = kIsSanitized ? 4 : 10;
    std::vector<Process*> living;
    for (std::size_t i = 0; i < count; ++i) {
        living.push_back(&start_member());
    }
    REQUIRE(wait_until(kPatience, [&] { return is_settled(count); }));
    start_load();
    for (Process*& member : living) {
        stop(*member);
        member = &start_member();
        REQUIRE(wait_until(kPatience, [&] { return lines_of(*member).size() > 50; }));
    }
    end_load();
    CHECK(wait_until(kPatience, [&] { return has_all(); }));
    for (Process* const member : living) {
        stop(*member);
    }
    CHECK(has_all());
    CHECK(twice() == std::vector<std::string>{});
    MESSAGE(sent.size(), " messages, ", members.size(), " processes");
}

TEST_CASE_FIXTURE(Assigned, "a member is killed: replaced within two heartbeats, nothing lost") {
    for (int i = 0; i < 4; ++i) {
        start_member();
    }
    REQUIRE(wait_until(kPatience, [&] { return is_settled(4); }));
    start_load();
    Process& dying = *members[1];
    REQUIRE(wait_until(kPatience, [&] { return lines_of(dying).size() > 50; }));
    dying.kill();
    const auto death = steady_clock::now();
    CHECK(wait_until(kPatience, [&] { return is_settled(3); }));
    const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - death);
    MESSAGE("replaced after ", took.count(), " ms");
    CHECK(took < 2 * kHeartbeat);
    end_load();
    CHECK(wait_until(kPatience, [&] { return has_all(); }));
    // Twice: only what the dead one had, and had not committed.
    const std::vector<std::string> had = lines_of(dying);
    for (const std::string& body : twice()) {
        CHECK(std::find(had.begin(), had.end(), body) != had.end());
    }
}

TEST_CASE_FIXTURE(Assigned, "a frozen member is replaced, and delivers nothing once it thaws") {
    for (int i = 0; i < 3; ++i) {
        start_member();
    }
    REQUIRE(wait_until(kPatience, [&] { return is_settled(3); }));
    send("T", 300);
    REQUIRE(wait_until(kPatience, [&] { return has_all() && is_drained(); }));
    Process& frozen = *members[0];
    const std::size_t before = lines_of(frozen).size();
    frozen.pause();
    REQUIRE(wait_until(kPatience, [&] { return is_stopped(frozen); }));
    const auto pause = steady_clock::now();
    send("T", 300);  // some of it into the frozen one's sockets
    CHECK(wait_until(kPatience, [&] { return is_settled(2); }));
    const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - pause);
    MESSAGE("replaced after ", took.count(), " ms");
    // The rest is for a machine that is busy with other things.
    CHECK(took < 2 * kHeartbeat + milliseconds(3'000));
    CHECK(wait_until(kPatience, [&] { return has_all(); }));
    CHECK(lines_of(frozen).size() == before);
    frozen.resume();
    REQUIRE(wait_until(kPatience, [&] { return is_settled(3); }));
    CHECK(wait_until(kPatience, [&] {
        send("T", 10);  // some queue at a time
        return lines_of(frozen).size() > before;
    }));
    CHECK(wait_until(kPatience, [&] { return has_all(); }));
    CHECK(twice() == std::vector<std::string>{});
}

TEST_CASE_FIXTURE(Assigned,
                  "the broker is killed: members keep their queues, nothing comes twice") {
    for (int i = 0; i < 4; ++i) {
        start_member();
    }
    REQUIRE(wait_until(kPatience, [&] { return is_settled(4); }));
    start_load();
    REQUIRE(wait_until(kPatience, [&] { return lines_of(*members[3]).size() > 50; }));
    cluster->broker().kill();
    REQUIRE(cluster->broker().start());
    start_member();  // waits until those from before have said what they have
    REQUIRE(wait_until(kPatience, [&] { return is_settled(5); }));
    end_load();
    CHECK(wait_until(kPatience, [&] { return has_all(); }));
    CHECK(twice() == std::vector<std::string>{});
}

TEST_CASE_FIXTURE(Assigned, "members of both kinds share by computing, and nothing is left out") {
    start_member();
    start_member();
    REQUIRE(wait_until(kPatience, [&] { return is_settled(2); }));
    start_load();
    Process& other = start_member("average");
    REQUIRE(wait_until(kPatience, [&] { return lines_of(other).size() > 50; }));
    CHECK(owners().empty());
    stop(other);
    REQUIRE(wait_until(kPatience, [&] { return is_settled(2); }));
    end_load();
    CHECK(wait_until(kPatience, [&] { return has_all(); }));
}

TEST_CASE_FIXTURE(Assigned, "a rolling change of subscriptions leaves nothing out") {
    std::mutex mutex;
    Times times;
    const auto join = [&](const std::vector<std::string>& topics) {
        client::PushConsumer::Options options;
        options.group = kGroup;
        options.start_from.kind = client::StartFrom::Kind::kFirst;
        options.commit_interval = milliseconds(100);
        auto consumer = client::PushConsumer::create(connect(), options).value();
        for (const std::string& topic : topics) {
            REQUIRE(consumer->subscribe(topic));
        }
        REQUIRE(consumer->start([&](std::span<const client::MessageView> messages) {
            const std::lock_guard lock(mutex);
            for (const client::MessageView& message : messages) {
                ++times[std::string(message.body())];
            }
            return client::ConsumeResult::kSuccess;
        }));
        return consumer;
    };
    std::vector<std::unique_ptr<client::PushConsumer>> readers;
    for (int i = 0; i < 3; ++i) {
        readers.push_back(join({"T"}));
    }
    const auto count = [&] {
        const std::lock_guard lock(mutex);
        return times.size();
    };
    for (auto& reader : readers) {
        send("T", 100);
        reader->stop();
        reader = join({"T", "U"});
        send("T", 100);
        send("U", 100);
        // Also while older members, that do not know "U", send their heartbeats.
        CHECK(wait_until(kPatience, [&] { return count() == sent.size(); }));
    }
    for (const auto& reader : readers) {
        reader->stop();
    }
    for (const auto& body : times) {
        CHECK_MESSAGE(body.second == 1, body.first);
    }
}

TEST_CASE_FIXTURE(Assigned,
                  "a group that is to fail stands until an operator says where to go on") {
    const auto cli = [&](std::vector<std::string> arguments) {
        arguments.insert(arguments.end(), {"-n", cluster->nameserver().address()});
        const auto run = run_program(cli_executable(), arguments);
        REQUIRE(run.has_value());
        CHECK_MESSAGE(run->code == 0, run->err);
        return run->out;
    };
    const std::string set = cli({"group", "set", kGroup, "--out-of-range", "fail"});
    CHECK_MESSAGE(set.find("out of range fail") != std::string::npos, set);
    const auto commit = [&](std::int64_t offset) {
        wire::CommitOffsetsRequest request;
        request.set_consumergroup(kGroup);
        for (int i = 0; i < kQueues; ++i) {
            auto& entry = *request.add_offsets();
            entry.set_topic("T");
            entry.set_queueid(i);
            entry.set_offset(offset);
        }
        RpcClient rpc(cluster->broker().address());
        REQUIRE(rpc.call(wire::RequestCode::kCommitOffsets, &request).summary() == "0");
    };
    commit(1'000'000);
    send("T", 200);
    Process& member = start_member();
    // Each queue twice, a second apart: by then the member has committed what it began with.
    REQUIRE(wait_until(kPatience, [&] { return pulls_out_of_range() >= 2 * kQueues; }));
    CHECK(lines_of(member).empty());
    commit(0);
    CHECK(wait_until(kPatience, [&] { return has_all(); }));
    CHECK(twice() == std::vector<std::string>{});
    const std::string described = cli({"group", "describe", kGroup});
    CHECK_MESSAGE(described.find("GENERATION") != std::string::npos, described);
    CHECK_MESSAGE(described.find("fail") != std::string::npos, described);
}

TEST_SUITE_END();

}  // namespace gantry::harness

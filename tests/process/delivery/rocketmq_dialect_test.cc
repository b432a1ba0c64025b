// SPDX-License-Identifier: Apache-2.0
// The client in RocketMQ's dialect against Gantry's daemons, which speak it to stock clients.
#include "client/admin_client.h"
#include "client/client.h"
#include "client/consumer.h"
#include "client/producer.h"
#include "common/clock.h"
#include "tests/harness/cluster.h"
#include "tests/harness/wait.h"
#include "tests/process/sender.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

using client::Dialect;
using client::MessageView;
using client::QueueId;
using client::SendReceipt;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{60'000};
constexpr int kQueues = 2;

std::shared_ptr<client::Client> connect(Cluster& cluster, Dialect dialect) {
    client::Client::Options options;
    options.nameservers = {cluster.nameserver().address()};
    options.dialect = dialect;
    auto client = client::Client::start(options);
    REQUIRE_MESSAGE(client.has_value(), (client ? "" : to_string(client.error())));
    return std::move(client).value();
}

std::unique_ptr<client::AdminClient> admin_of(const std::shared_ptr<client::Client>& client) {
    return client::AdminClient::create(client, {}).value();
}

/// A cluster of our daemons with topic "T", which the dialect has created.
class Peers {
public:
    Peers() {
        Cluster::Options options;
        options.broker_settings = small_segments();
        auto started = Cluster::start(options);
        REQUIRE_MESSAGE(started.has_value(), (started ? "" : to_string(started.error())));
        cluster = std::move(started).value();
        stock = connect(*cluster, Dialect::kRocketMq);
        client::TopicSpec spec;
        spec.topic = "T";
        spec.read_queues = spec.write_queues = kQueues;
        require_started(admin_of(stock)->create_topic(spec));
    }

    std::unique_ptr<client::Producer> producer(const client::Producer::Options& options = {}) {
        return client::Producer::create(stock, options).value();
    }

    std::unique_ptr<client::PullConsumer> reader(Dialect dialect, const std::string& group = "") {
        client::PullConsumer::Options options;
        options.group = group;
        options.start_from.kind = client::StartFrom::Kind::kFirst;
        auto consumer = client::PullConsumer::create(connect(*cluster, dialect), options).value();
        require_started(consumer->assign(consumer->queues("T").value()));
        return consumer;
    }

    std::unique_ptr<Cluster> cluster;
    std::shared_ptr<client::Client> stock;
};

std::vector<MessageView> read(client::PullConsumer& consumer, std::size_t count) {
    std::vector<MessageView> all;
    CHECK(wait_until(kPatience, [&] {
        for (MessageView& message : consumer.poll(milliseconds(100), count - all.size())) {
            all.push_back(std::move(message));
        }
        return all.size() >= count;
    }));
    return all;
}

client::Message message_of(int number, std::size_t bytes) {
    client::Message message;
    message.topic = "T";
    message.body = std::to_string(number) + ' ' + std::string(bytes, 'x');
    message.tag = "tag-" + std::to_string(number % 3);
    message.keys = {"k" + std::to_string(number), "all"};
    message.properties = {{"number", std::to_string(number)}};
    message.flag = number;
    return message;
}

/// What a reader sees of a message, but for where it is.
std::string seen(const MessageView& message) {
    return std::string(message.body()) + '|' + std::string(message.tag()) + '|' +
           std::string(message.keys()) + '|' + std::string(message.property("number")) + '|' +
           std::to_string(message.flag());
}

}  // namespace

TEST_SUITE("process/rocketmq_dialect") {
    TEST_CASE("messages in batches, alone and compressed arrive as they were sent") {
        constexpr int kCount = 600;
        Peers peers;
        client::Producer::Options options;
        options.compression.method = client::Compression::Method::kZlib;
        options.compression.body_bytes_min = 2'000;
        auto producer = peers.producer(options);
        const WallMs begin = SystemClock().wall_ms();
        std::map<std::string, std::string> wanted;  // offset message id to what is seen
        Mutex mutex;
        std::atomic<int> done{0};
        for (int i = 0; i < kCount; ++i) {
            const client::Message message = message_of(i, i % 20 == 0 ? 4'000U : 100U);
            const std::string what = message.body + "|" + message.tag + "|k" + std::to_string(i) +
                                     " all|" + std::to_string(i) + "|" + std::to_string(i);
            const Status sent =
                producer->send_async(message, [&, what](Result<SendReceipt> result) {
                    const MutexLock lock(mutex);
                    wanted[result ? result->message_id : to_string(result.error())] = what;
                    ++done;
                });
            REQUIRE(sent);
        }
        REQUIRE(wait_until(kPatience, [&] { return done == kCount; }));
        for (const Dialect dialect : {Dialect::kRocketMq, Dialect::kGantry}) {
            std::map<std::string, std::string> got;
            auto reader = peers.reader(dialect);
            for (const MessageView& message : read(*reader, kCount)) {
                got[message.offset_message_id()] = seen(message);
                CHECK(message.born_ms() >= begin);
                CHECK(has(message.born_host(), "127.0.0.1:"));
            }
            CHECK(got == wanted);
        }
        const std::string id = wanted.begin()->first;
        auto admin = admin_of(peers.stock);
        CHECK(seen(admin->message_by_id(id).value()) == wanted.begin()->second);
        const auto found = admin->messages_by_key("T", "k7", 0, begin + 3'600'000, 10).value();
        REQUIRE(found.size() == 1);
        CHECK(found[0].property("number") == "7");
    }

    TEST_CASE("messages of one queue keep the order of the calls") {
        Peers peers;
        auto producer = peers.producer();
        const QueueId queue{"T", peers.cluster->broker().name(), 1};
        std::atomic<int> done{0};
        std::atomic<int> misplaced{0};
        for (int i = 0; i < 500; ++i) {
            REQUIRE(producer->send_async_to(
                message_of(i, 10), queue, [&, i](const Result<SendReceipt>& result) {
                    misplaced += result && result->queue_offset == i ? 0 : 1;
                    ++done;
                }));
        }
        REQUIRE(wait_until(kPatience, [&] { return done == 500; }));
        CHECK(misplaced == 0);
        REQUIRE(producer->send_to(message_of(500, 10), queue));
    }

    TEST_CASE("offsets: ends, by time, committed and read on from there") {
        Peers peers;
        auto producer = peers.producer();
        const QueueId queue{"T", peers.cluster->broker().name(), 0};
        for (int i = 0; i < 10; ++i) {
            REQUIRE(producer->send_to(message_of(i, 10), queue));
        }
        auto reader = peers.reader(Dialect::kRocketMq, "readers");
        CHECK(reader->min_offset(queue).value() == 0);
        CHECK(reader->max_offset(queue).value() == 10);
        const std::vector<MessageView> all = read(*reader, 10);
        REQUIRE(all.size() == 10);
        const WallMs last = all[9].store_ms();
        CHECK(reader->offset_by_time(queue, 0).value() == 0);
        CHECK(reader->offset_by_time(queue, last).value() <= 9);
        CHECK(reader->offset_by_time(queue, last + 3'600'000).value() == 10);
        REQUIRE(reader->commit(queue, 4));
        CHECK(reader->committed(queue).value() == 4);
        reader->close();
        auto next = peers.reader(Dialect::kRocketMq, "readers");
        CHECK(read(*next, 6).front().queue_offset() == 4);
        REQUIRE(next->commit());
        CHECK(next->committed(queue).value() == 10);
        // What is committed counts in the other dialect, too.
        CHECK(peers.reader(Dialect::kGantry, "readers")->committed(queue).value() == 10);
    }

    TEST_CASE("delayed messages come when they are due") {
        Peers peers;
        auto producer = peers.producer();
        client::Message message = message_of(1, 10);
        message.deliver_after = milliseconds(400);
        const WallMs begin = SystemClock().wall_ms();
        REQUIRE(producer->send(message));
        auto reader = peers.reader(Dialect::kRocketMq);
        const std::vector<MessageView> got = read(*reader, 1);
        REQUIRE(got.size() == 1);
        CHECK(got[0].store_ms() - begin >= 400);
        CHECK(got[0].property("number") == "1");
    }

    TEST_CASE("members of a group share, filter and are told of each other") {
        Peers peers;
        std::atomic<int> received{0};
        std::atomic<int> wrong{0};
        client::PushConsumer::Options options;
        options.group = "pushed";
        options.start_from.kind = client::StartFrom::Kind::kFirst;
        std::vector<std::unique_ptr<client::PushConsumer>> members;
        for (int i = 0; i < 2; ++i) {
            members.push_back(
                client::PushConsumer::create(connect(*peers.cluster, Dialect::kRocketMq), options)
                    .value());
            REQUIRE(members.back()->subscribe("T", "tag-0 || tag-1"));
            REQUIRE(members.back()->start([&](std::span<const MessageView> messages) {
                for (const MessageView& message : messages) {
                    wrong += message.tag() == "tag-2" ? 1 : 0;
                    ++received;
                }
                return client::ConsumeResult::kSuccess;
            }));
        }
        const auto shares_of = [](const client::PushConsumer& member) {
            const std::vector<QueueId> queues = member.assignment();
            return std::count_if(queues.begin(), queues.end(), [](const QueueId& queue) {
                return queue.topic == "T";
            });
        };
        REQUIRE(wait_until(
            kPatience, [&] { return shares_of(*members[0]) == 1 && shares_of(*members[1]) == 1; }));
        auto producer = peers.producer();
        for (int i = 0; i < 30; ++i) {
            REQUIRE(producer->send(message_of(i, 10)));
        }
        CHECK(wait_until(kPatience, [&] { return received == 20; }));
        for (const auto& member : members) {
            member->stop();
        }
        CHECK(received == 20);
        CHECK(wrong == 0);
    }

    TEST_CASE("topics are described, changed, measured and deleted") {
        Peers peers;
        auto admin = admin_of(peers.stock);
        client::TopicSpec spec = admin->describe_topic("T").value().front().spec;
        CHECK(spec.write_queues == kQueues);
        CHECK(spec.perm == 6);
        CHECK(admin->create_topic(spec).error().code == Errc::kConflict);
        spec.write_queues = 3;
        spec.read_queues = 3;
        REQUIRE(admin->update_topic(spec));
        CHECK(admin->describe_topic("T").value().front().spec.read_queues == 3);
        REQUIRE(peers.producer()->send(message_of(1, 10)));
        std::int64_t messages = 0;
        const std::vector<client::QueueStatus> queues = admin->topic_status("T").value();
        for (const client::QueueStatus& status : queues) {
            messages += status.max_offset - status.min_offset;
        }
        CHECK(messages == 1);
        CHECK(admin->list_topics().value() == std::vector<std::string>{"T"});
        CHECK(admin->cluster().value().size() == 1);
        REQUIRE(admin->delete_topic("T"));
        CHECK(admin->describe_topic("T").error().code == Errc::kNotFound);
    }

    TEST_CASE("our nameserver is detected as such") {
        Peers peers;
        CHECK(connect(*peers.cluster, Dialect::kDetect)->dialect() == Dialect::kGantry);
    }
}

}  // namespace gantry::harness

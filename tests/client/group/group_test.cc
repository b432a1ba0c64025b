// SPDX-License-Identifier: Apache-2.0
#include "client/consumer.h"
#include "protocol/wire/names.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <set>

namespace gantry::client::test {
namespace {

PushConsumer::Options push_options() {
    PushConsumer::Options options;
    options.group = "G";
    options.start_from.kind = StartFrom::Kind::kFirst;
    options.commit_interval = 20ms;
    options.poll_hold = 1s;
    options.retry_delay = 50ms;
    return options;
}

/// A push consumer with a client of its own, and what it has received.
struct Member {
    explicit Member(FakeCluster& cluster, const PushConsumer::Options& options = push_options())
        : consumer(PushConsumer::create(cluster.connect(), options).value()) {}

    Status start(const std::string& expression = "*") {
        GANTRY_TRY(consumer->subscribe("T", expression));
        return consumer->start([this](std::span<const MessageView> messages) {
            const std::lock_guard lock(mutex);
            for (const MessageView& message : messages) {
                bodies.emplace_back(message.body());
            }
            received += messages.size();
            return ConsumeResult::kSuccess;
        });
    }

    /// Queues of the topic, without those of the retry topic.
    std::set<int> topic_queues() const {
        std::set<int> queues;
        for (const QueueId& queue : consumer->assignment()) {
            if (queue.topic == "T") {
                queues.insert(queue.queue);
            }
        }
        return queues;
    }

    std::unique_ptr<PushConsumer> consumer;
    std::mutex mutex;
    std::vector<std::string> bodies;
    std::atomic<std::size_t> received{0};
};

std::int64_t committed(FakeCluster& cluster, int queue) {
    return cluster.run([&] {
        const auto& known = cluster.broker().committed["G"];
        const auto found = known.find({"T", queue});
        return found == known.end() ? std::int64_t{-1} : found->second;
    });
}

void store(FakeCluster& cluster, int queue, int count) {
    cluster.run([&] {
        for (int i = 0; i < count; ++i) {
            cluster.broker().store("T", queue, std::to_string(i));
        }
    });
}

}  // namespace

TEST_SUITE("client/group_membership") {
    TEST_CASE("members share the queues, and again when one joins or leaves") {
        FakeCluster cluster;
        cluster.create_topic("T", 4);
        Member first(cluster);
        REQUIRE(first.start());
        CHECK(wait_until([&] { return first.topic_queues().size() == 4; }));
        {
            Member second(cluster);
            REQUIRE(second.start());
            CHECK(wait_until([&] {
                return first.topic_queues().size() == 2 && second.topic_queues().size() == 2;
            }));
            std::set<int> all = first.topic_queues();
            all.merge(second.topic_queues());
            CHECK(all.size() == 4);
            second.consumer->stop();
            CHECK(second.consumer->assignment().empty());
            CHECK(wait_until([&] { return first.topic_queues().size() == 4; }));
        }
    }

    TEST_CASE("members share the queues in the way they are told to") {
        FakeCluster cluster;
        cluster.create_topic("T", 6);
        PushConsumer::Options options = push_options();
        options.sharing.kind = Sharing::Kind::kCircle;
        Member first(cluster, options);
        Member second(cluster, options);
        REQUIRE(first.start());
        REQUIRE(second.start());
        const std::set<int> even{0, 2, 4};
        const std::set<int> odd{1, 3, 5};
        CHECK(wait_until([&] {
            const std::set<int> one = first.topic_queues();
            const std::set<int> other = second.topic_queues();
            return (one == even && other == odd) || (one == odd && other == even);
        }));
    }

    TEST_CASE("a member reads the queues that are its own by configuration, and no other") {
        FakeCluster cluster;
        cluster.create_topic("T", 4);
        PushConsumer::Options options = push_options();
        options.sharing.kind = Sharing::Kind::kFixed;
        const std::string broker = cluster.run([&] { return cluster.broker().name(); });
        options.sharing.fixed = {{"T", broker, 3}, {"T", broker, 1}, {"T", broker, 9}};
        Member member(cluster, options);
        REQUIRE(member.start());
        CHECK(wait_until([&] { return member.topic_queues() == std::set<int>{1, 3}; }));
    }

    TEST_CASE("a member whose connection is lost comes back by itself") {
        FakeCluster cluster;
        cluster.create_topic("T", 4);
        Member first(cluster);
        Member second(cluster);
        REQUIRE(first.start());
        REQUIRE(second.start());
        const auto is_shared = [&] {
            return first.topic_queues().size() == 2 && second.topic_queues().size() == 2;
        };
        REQUIRE(wait_until(is_shared));
        cluster.run([&] { cluster.broker().cut_all(); });
        REQUIRE(wait_until([&] {
            return cluster.run([&] { return cluster.broker().members["G"].size() == 2; });
        }));
        CHECK(wait_until(is_shared));
        store(cluster, 0, 10);
        store(cluster, 3, 10);
        CHECK(wait_until([&] { return first.received + second.received == 20; }));
    }

    TEST_CASE("new queues of a topic are taken when the route changes") {
        FakeCluster cluster(2);
        cluster.route_topic("T", 2, {0});
        Member member(cluster);
        REQUIRE(member.start());
        REQUIRE(wait_until([&] { return member.topic_queues().size() == 2; }));
        cluster.route_topic("T", 3, {0});
        CHECK(wait_until([&] { return member.topic_queues().size() == 3; }));
    }

    TEST_CASE("without a watch at the nameserver a topic is found all the same") {
        FakeCluster cluster;
        cluster.run([&] { cluster.nameserver().supports_watch = false; });
        cluster.create_topic("T", 2);
        Member member(cluster);
        REQUIRE(member.start());
        CHECK(wait_until([&] { return member.topic_queues().size() == 2; }));
    }
}

TEST_SUITE("client/push_consumer") {
    TEST_CASE("messages are consumed and committed behind the last one") {
        FakeCluster cluster;
        cluster.create_topic("T", 2);
        store(cluster, 0, 100);
        store(cluster, 1, 50);
        PushConsumer::Options options = push_options();
        options.threads = 3;
        options.batch_messages_max = 7;
        Member member(cluster, options);
        REQUIRE(member.start());
        CHECK(wait_until([&] { return member.received == 150; }));
        CHECK(wait_until(
            [&] { return committed(cluster, 0) == 100 && committed(cluster, 1) == 50; }));
        store(cluster, 1, 5);
        CHECK(wait_until([&] { return member.received == 155; }));
        member.consumer->stop();
        CHECK(committed(cluster, 1) == 55);
        CHECK(cluster.run([&] { return cluster.broker().members["G"].empty(); }));
    }

    TEST_CASE("a group goes on where it committed") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        store(cluster, 0, 10);
        {
            Member member(cluster);
            REQUIRE(member.start());
            REQUIRE(wait_until([&] { return member.received == 10; }));
        }
        store(cluster, 0, 5);
        Member member(cluster);
        REQUIRE(member.start());
        REQUIRE(wait_until([&] { return member.received >= 5; }));
        CHECK(member.received == 5);
        CHECK(member.bodies.front() == "0");
    }

    TEST_CASE("nothing behind an unfinished message is committed") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        PushConsumer::Options options = push_options();
        options.threads = 4;
        auto consumer = PushConsumer::create(cluster.connect(), options).value();
        REQUIRE(consumer->subscribe("T"));
        std::atomic<bool> may_finish{false};
        std::atomic<int> done{0};
        REQUIRE(consumer->start([&](std::span<const MessageView> messages) {
            if (messages.front().body() == "3") {
                wait_until([&] { return may_finish.load(); });
            }
            ++done;
            return ConsumeResult::kSuccess;
        }));
        store(cluster, 0, 20);
        CHECK(wait_until([&] { return done == 19; }));
        CHECK(wait_until([&] { return committed(cluster, 0) == 3; }));
        const auto before = cluster.run([&] { return cluster.broker().commit_requests; });
        store(cluster, 0, 1);
        CHECK(wait_until([&] { return done == 20; }));
        CHECK(committed(cluster, 0) == 3);
        CHECK(cluster.run([&] { return cluster.broker().commit_requests; }) == before);
        may_finish = true;
        CHECK(wait_until([&] { return committed(cluster, 0) == 21; }));
    }

    TEST_CASE("a failed batch is sent back message by message, then committed") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        PushConsumer::Options options = push_options();
        options.batch_messages_max = 5;
        auto consumer = PushConsumer::create(cluster.connect(), options).value();
        REQUIRE(consumer->subscribe("T"));
        store(cluster, 0, 5);
        std::atomic<int> calls{0};
        REQUIRE(consumer->start([&](std::span<const MessageView>) {
            ++calls;
            if (calls == 1) {
                return ConsumeResult::kLater;
            }
            throw std::runtime_error("the application fails");
        }));
        CHECK(wait_until([&] { return committed(cluster, 0) == 5; }));
        const auto sent_back = cluster.run([&] { return cluster.broker().sent_back; });
        REQUIRE(sent_back.size() == 5);
        CHECK(sent_back[0].group() == "G");
        CHECK(sent_back[0].origintopic() == "T");
        CHECK(sent_back[0].delaylevel() == 0);
        CHECK(sent_back[0].originmsgid().size() == 32);
        store(cluster, 0, 1);
        CHECK(wait_until([&] { return committed(cluster, 0) == 6; }));
        CHECK(cluster.run([&] { return cluster.broker().sent_back.size(); }) == 6);
    }

    TEST_CASE("what cannot be sent back stays uncommitted and comes to the listener again") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        cluster.run([&] { cluster.broker().refuses_send_back = true; });
        auto consumer = PushConsumer::create(cluster.connect(), push_options()).value();
        REQUIRE(consumer->subscribe("T"));
        store(cluster, 0, 2);
        std::atomic<int> failures{0};
        REQUIRE(consumer->start([&](std::span<const MessageView> messages) {
            if (messages.front().body() == "0" && failures++ == 0) {
                return ConsumeResult::kLater;
            }
            return ConsumeResult::kSuccess;
        }));
        CHECK(wait_until([&] { return committed(cluster, 0) == 0; }));
        CHECK(wait_until([&] { return failures == 2; }));
        CHECK(wait_until([&] { return committed(cluster, 0) == 2; }));
    }

    TEST_CASE("a message of the retry topic shows the topic it was first sent to") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        const std::string retry = wire::retry_topic("G");
        cluster.create_topic(retry, 1);
        auto consumer = PushConsumer::create(cluster.connect(), push_options()).value();
        REQUIRE(consumer->subscribe("T"));
        std::mutex mutex;
        std::string topic;
        std::atomic<int> count{0};
        REQUIRE(consumer->start([&](std::span<const MessageView> messages) {
            const std::lock_guard lock(mutex);
            topic = messages.front().topic();
            ++count;
            return ConsumeResult::kSuccess;
        }));
        cluster.run([&] { cluster.broker().store_retry(retry, "T", "again"); });
        REQUIRE(wait_until([&] { return count == 1; }));
        CHECK(topic == "T");
    }

    TEST_CASE("commits that fail are repeated") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        cluster.run([&] { cluster.broker().refuses_commits = true; });
        Member member(cluster);
        store(cluster, 0, 3);
        REQUIRE(member.start());
        REQUIRE(wait_until(
            [&] { return cluster.run([&] { return cluster.broker().commit_requests >= 2; }); }));
        cluster.run([&] { cluster.broker().refuses_commits = false; });
        CHECK(wait_until([&] { return committed(cluster, 0) == 3; }));
    }

    TEST_CASE("wrong use is refused") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        auto client = cluster.connect();
        PushConsumer::Options options = push_options();
        options.group = "bad group";
        CHECK(PushConsumer::create(client, options).error().code == Errc::kRefused);
        auto consumer = PushConsumer::create(client, push_options()).value();
        const auto listener = [](std::span<const MessageView>) { return ConsumeResult::kSuccess; };
        CHECK(consumer->start(listener).error().code == Errc::kRefused);
        CHECK(consumer->subscribe("bad topic").error().code == Errc::kRefused);
        REQUIRE(consumer->subscribe("T"));
        REQUIRE(consumer->start(listener));
        CHECK(consumer->start(listener).error().code == Errc::kConflict);
        CHECK(consumer->subscribe("T").error().code == Errc::kConflict);
        auto twin = PushConsumer::create(client, push_options()).value();
        REQUIRE(twin->subscribe("T"));
        CHECK(twin->start(listener).error().code == Errc::kConflict);
        consumer->stop();
        CHECK(twin->start(listener));
    }
}

}  // namespace gantry::client::test

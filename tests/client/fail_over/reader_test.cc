// SPDX-License-Identifier: Apache-2.0
// Where consumers read while a master is slow, away, or another broker takes over.
#include "client/consumer.h"
#include "client/producer.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

namespace gantry::client::test {
namespace {

/// Two brokers of one name, "group", with the same messages: the first is the master, the other one
/// its slave 2.
class Copies {
public:
    Copies() : cluster(2) { route(1); }

    void route(std::int64_t epoch) {
        cluster.route_group(
            "T", 1, {{0, cluster.broker(0).address()}, {2, cluster.broker(1).address()}}, epoch);
    }

    void store(int count) {
        cluster.run([&] {
            for (int i = 0; i < count; ++i, ++stored) {
                cluster.broker(0).store("T", 0, std::to_string(stored));
                cluster.broker(1).store("T", 0, std::to_string(stored));
            }
        });
    }

    void suggest(std::size_t broker, std::int64_t id) {
        cluster.run([&] { cluster.broker(broker).suggested = id; });
    }

    std::size_t pulls(std::size_t broker) {
        return cluster.run([&] { return cluster.broker(broker).pulls.size(); });
    }

    std::unique_ptr<PullConsumer> reader(const std::string& group = {}) {
        PullConsumer::Options options;
        options.group = group;
        options.start_from.kind = StartFrom::Kind::kFirst;
        options.poll_hold = 200ms;
        auto consumer = PullConsumer::create(cluster.connect(), options).value();
        REQUIRE(consumer->assign({QueueId{"T", "group", 0}}));
        return consumer;
    }

    /// Polls until everything stored has come, in order, once.
    void read_all(PullConsumer& consumer) {
        wait_until([&] {
            for (const MessageView& message : consumer.poll(50ms, 1'000)) {
                CHECK(message.body() == std::to_string(read));
                ++read;
            }
            return read >= stored;
        });
        CHECK(read == stored);
    }

    FakeCluster cluster;
    int stored = 0;
    int read = 0;
};

}  // namespace

TEST_SUITE("client/fail-over of readers") {
    TEST_CASE_FIXTURE(Copies, "the slave that the master names is read, until it leads back") {
        store(10);
        suggest(0, 2);
        suggest(1, 2);
        auto consumer = reader();
        read_all(*consumer);
        REQUIRE(wait_until([&] { return pulls(1) > 2; }));
        suggest(1, 0);
        suggest(0, 0);
        const std::size_t before = pulls(0);
        REQUIRE(wait_until([&] { return pulls(0) > before + 1; }));
        const std::size_t at_slave = pulls(1);
        store(5);
        read_all(*consumer);
        CHECK(pulls(1) <= at_slave + 1);
    }

    TEST_CASE_FIXTURE(Copies, "a slave that is not in the route is not looked for") {
        store(3);
        suggest(0, 7);
        auto consumer = reader();
        read_all(*consumer);
        CHECK(pulls(1) == 0);
    }

    TEST_CASE_FIXTURE(Copies, "while there is no master a slave is read, and gets no commits") {
        store(4);
        auto consumer = reader("G");
        read_all(*consumer);
        cluster.route_group("T", 1, {{2, cluster.broker(1).address()}}, 1);
        cluster.run([&] {
            cluster.broker(0).is_silent = true;
            cluster.broker(0).cut_all();
        });
        store(4);
        read_all(*consumer);
        CHECK(pulls(1) > 0);
        const Status away = consumer->commit();
        REQUIRE(!away);
        CHECK(away.error().code == Errc::kGone);
        CHECK(cluster.run([&] { return cluster.broker(1).commit_requests; }) == 0);
        // It takes over: what was not committed is.
        cluster.route_group("T", 1, {{0, cluster.broker(1).address()}}, 2);
        REQUIRE(wait_until([&] { return consumer->commit().has_value(); }));
        CHECK(cluster.run([&] { return cluster.broker(1).committed["G"][{"T", 0}]; }) == 8);
    }

    TEST_CASE_FIXTURE(Copies, "a pull that a silent master holds is given up for the new one") {
        store(4);
        auto consumer = reader();
        read_all(*consumer);
        cluster.run([&] { cluster.broker(0).is_silent = true; });
        const std::size_t before = pulls(1);
        cluster.route_group(
            "T", 1, {{0, cluster.broker(1).address()}, {1, cluster.broker(0).address()}}, 2);
        const auto changed = std::chrono::steady_clock::now();
        store(4);
        read_all(*consumer);
        CHECK(pulls(1) > before);
        // A held pull counts as stuck 5 s after its hold.
        CHECK(std::chrono::steady_clock::now() - changed < 4s);
    }
}

}  // namespace gantry::client::test

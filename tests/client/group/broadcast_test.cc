// SPDX-License-Identifier: Apache-2.0
#include "client/consume/local_offsets.h"
#include "client/consumer.h"
#include "tests/client/fake_cluster.h"
#include "tests/harness/temp_directory.h"

#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>

namespace gantry::client::test {
namespace {

namespace fs = std::filesystem;
using harness::TempDirectory;

std::string text_of(const fs::path& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

void write(const fs::path& path, const std::string& text) {
    std::ofstream(path) << text;
}

PushConsumer::Options broadcast_options(const fs::path& file) {
    PushConsumer::Options options;
    options.group = "G";
    options.model = Model::kBroadcasting;
    options.offsets_file = file.string();
    options.start_from.kind = StartFrom::Kind::kFirst;
    options.commit_interval = 20ms;
    options.poll_hold = 1s;
    options.retry_delay = 10ms;
    return options;
}

/// A broadcast consumer of topic "T" with a client of its own, and what it has received.
struct Receiver {
    Receiver(FakeCluster& cluster, const PushConsumer::Options& options)
        : consumer(PushConsumer::create(cluster.connect(), options).value()) {}

    Status start() {
        GANTRY_TRY(consumer->subscribe("T"));
        return consumer->start([this](std::span<const MessageView> messages) {
            const std::lock_guard lock(mutex);
            for (const MessageView& message : messages) {
                bodies.emplace_back(message.body());
            }
            const bool fails = failures > 0;
            failures -= fails ? 1 : 0;
            return fails ? ConsumeResult::kLater : ConsumeResult::kSuccess;
        });
    }

    std::size_t count() {
        const std::lock_guard lock(mutex);
        return bodies.size();
    }

    std::unique_ptr<PushConsumer> consumer;
    std::mutex mutex;
    std::vector<std::string> bodies;
    int failures = 0;
};

void store(FakeCluster& cluster, int queue, int count) {
    cluster.run([&] {
        for (int i = 0; i < count; ++i) {
            cluster.broker().store("T", queue, std::to_string(i));
        }
    });
}

}  // namespace

TEST_SUITE("client/broadcast") {
    TEST_CASE("every member gets everything, and the brokers know of no offset") {
        const TempDirectory directory;
        FakeCluster cluster;
        cluster.create_topic("T", 2);
        store(cluster, 0, 30);
        store(cluster, 1, 20);
        Receiver one(cluster, broadcast_options(directory.path() / "one"));
        Receiver other(cluster, broadcast_options(directory.path() / "other"));
        REQUIRE(one.start());
        REQUIRE(other.start());
        CHECK(wait_until([&] { return one.count() == 50 && other.count() == 50; }));
        one.consumer->stop();
        other.consumer->stop();
        CHECK(cluster.run([&] { return cluster.broker().committed["G"].empty(); }));
        CHECK(text_of(directory.path() / "one") == text_of(directory.path() / "other"));
    }

    TEST_CASE("a member goes on where its file says, another one where it is told to start") {
        const TempDirectory directory;
        const fs::path file = directory.path() / "new" / "offsets";
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        store(cluster, 0, 10);
        {
            Receiver receiver(cluster, broadcast_options(file));
            REQUIRE(receiver.start());
            REQUIRE(wait_until([&] { return receiver.count() == 10; }));
            // Written while it runs, too: a killed one goes on from there.
            CHECK(wait_until([&] { return text_of(file).find("\n10 0 ") != std::string::npos; }));
        }
        store(cluster, 0, 5);
        Receiver again(cluster, broadcast_options(file));
        REQUIRE(again.start());
        Receiver stranger(cluster, broadcast_options(directory.path() / "stranger"));
        REQUIRE(stranger.start());
        CHECK(wait_until([&] { return stranger.count() == 15; }));
        CHECK(wait_until([&] { return again.count() == 5; }));
    }

    TEST_CASE("what fails comes again to this member alone, and is given up in the end") {
        const TempDirectory directory;
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        store(cluster, 0, 1);
        PushConsumer::Options options = broadcast_options(directory.path() / "f");
        options.attempts_max = 3;
        SUBCASE("it succeeds at last") {
            Receiver receiver(cluster, options);
            receiver.failures = 2;
            REQUIRE(receiver.start());
            CHECK(wait_until([&] {
                return text_of(directory.path() / "f").find("\n1 0 ") != std::string::npos;
            }));
            CHECK(receiver.bodies == std::vector<std::string>{"0", "0", "0"});
        }
        SUBCASE("it never does") {
            Receiver receiver(cluster, options);
            receiver.failures = 1'000;
            REQUIRE(receiver.start());
            CHECK(wait_until([&] {
                return text_of(directory.path() / "f").find("\n1 0 ") != std::string::npos;
            }));
            CHECK(receiver.count() == 3);
        }
        CHECK(cluster.run([&] { return cluster.broker().sent_back.empty(); }));
    }

    TEST_CASE("options that do not go together are refused") {
        FakeCluster cluster;
        const auto client = cluster.connect();
        PushConsumer::Options options = broadcast_options("");
        CHECK(PushConsumer::create(client, options).error().code == Errc::kRefused);
        options = broadcast_options("f");
        options.model = Model::kClustering;
        CHECK(PushConsumer::create(client, options).error().code == Errc::kRefused);
        options = broadcast_options("f");
        options.sharing.kind = Sharing::Kind::kCircle;
        CHECK(PushConsumer::create(client, options).error().code == Errc::kRefused);
        options = broadcast_options("f");
        options.attempts_max = 0;
        CHECK(PushConsumer::create(client, options).error().code == Errc::kRefused);
    }
}

TEST_SUITE("client/local_offsets") {
    TEST_CASE("offsets are there after save, and after the last owner is gone") {
        const TempDirectory directory;
        const fs::path file = directory.path() / "offsets";
        const QueueId one{"T", "broker-a", 1};
        const QueueId other{"T", "broker-b", 0};
        {
            const auto offsets = LocalOffsets::open(file, "G").value();
            CHECK_FALSE(offsets->find(one));
            offsets->put({{one, 5}});
            REQUIRE(offsets->save());
            CHECK(text_of(file) == "gantry-offsets 1 G\n5 1 broker-a T\n");
            offsets->put({{one, 6}, {other, 7}});
        }
        const auto offsets = LocalOffsets::open(file, "G").value();
        CHECK(offsets->find(one) == 6);
        CHECK(offsets->find(other) == 7);
    }

    TEST_CASE("one file has one owner, of one group") {
        const TempDirectory directory;
        const fs::path file = directory.path() / "offsets";
        auto first = LocalOffsets::open(file, "G").value();
        CHECK(LocalOffsets::open(file, "G").error().code == Errc::kConflict);
        first->put({{QueueId{"T", "b", 0}, 1}});
        first.reset();
        const Error error = LocalOffsets::open(file, "OTHER").error();
        CHECK(error.code == Errc::kRefused);
        CHECK_MESSAGE(error.detail.find("group G, not of OTHER") != std::string::npos,
                      error.detail);
    }

    TEST_CASE("a damaged file is refused with its line, never taken as no offsets") {
        const TempDirectory directory;
        const fs::path file = directory.path() / "offsets";
        for (const std::string text : {"",
                                       "nonsense\n",
                                       "gantry-offsets 2 G\n",
                                       "gantry-offsets 1 G\n5 1 broker-a\n",
                                       "gantry-offsets 1 G\n5 1 broker-a T\n-1 2 broker-a T\n"}) {
            CAPTURE(text);
            write(file, text);
            const auto opened = LocalOffsets::open(file, "G");
            REQUIRE_FALSE(opened);
            CHECK(opened.error().code == Errc::kCorrupt);
            CHECK(opened.error().detail.find(file.string() + ":") == 0);
        }
    }

    TEST_CASE("offsets that could not be written are written with the next") {
        const TempDirectory directory;
        const fs::path folder = directory.path() / "folder";
        const auto offsets = LocalOffsets::open(folder / "offsets", "G").value();
        fs::rename(folder, directory.path() / "away");
        const QueueId queue{"T", "b", 0};
        offsets->put({{queue, 1}});
        CHECK_FALSE(offsets->save());
        fs::rename(directory.path() / "away", folder);
        offsets->put({{queue, 2}});
        CHECK(wait_until(
            [&] { return text_of(folder / "offsets") == "gantry-offsets 1 G\n2 0 b T\n"; }));
    }
}

}  // namespace gantry::client::test

// SPDX-License-Identifier: Apache-2.0
// Deletion of old messages, while producers and consumers are at work.
#include "protocol/wire/topic.pb.h"
#include "tests/harness/broker_calls.h"
#include "tests/harness/daemon_process.h"
#include "tests/harness/http_get.h"
#include "tests/harness/programs.h"
#include "tests/harness/temp_directory.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace gantry::harness {
namespace {

constexpr std::size_t kBodyBytes = 20'000;
constexpr std::int64_t kSlowOffset = 3;

const Settings kSmallSegments = {{"store.segment_bytes", "1MiB"},
                                 {"store.prefault_bytes", "0"},
                                 {"store.free_bytes_min", "0"},
                                 {"store.hot_bytes", "1MiB"},
                                 {"store.checkpoint_bytes", "1MiB"},
                                 {"limits.message_bytes_max", "64KiB"},
                                 {"retention.check_seconds", "1"}};

std::string body_of(std::int64_t number) {
    return std::to_string(number) + ' ' + std::string(kBodyBytes, 'b');
}

/// A broker that deletes, one queue of it, and consumers.
struct Deleting {
    Deleting() : broker(directory.path(), "b", "", kSmallSegments) {}

    void start() {
        const Status started = broker.start();
        REQUIRE_MESSAGE(started.has_value(), (started ? "" : to_string(started.error())));
    }

    void send_next(RpcClient& client) {
        const Answer answer = send(client, "T", 0, {{body_of(sent)}});
        REQUIRE_MESSAGE(answer.summary() == "0", answer.summary());
        ++sent;
    }

    /// Pulls what there is; every message is the one after the last.
    void consume(RpcClient& client) {
        for (;;) {
            const wire::PullMessageRequest pull = pull_of("T", 0, consumed);
            const Answer answer = client.call(wire::RequestCode::kPullMessage, &pull);
            if (answer.code == wire::ResponseCode::kPullNotFound) {
                return;
            }
            REQUIRE_MESSAGE(answer.code == wire::ResponseCode::kSuccess, answer.summary());
            for (const std::string& body : bodies(answer.body)) {
                REQUIRE(body == body_of(consumed));
                ++consumed;
            }
        }
    }

    double number(const std::string& name) {
        const Result<double> value = metric(broker.http_port(), name);
        REQUIRE_MESSAGE(value.has_value(), (value ? "" : to_string(value.error())));
        return *value;
    }

    void commit_slow(RpcClient& client) {
        wire::UpdateConsumerOffsetRequest commit;
        commit.set_consumergroup("slow");
        commit.set_topic("T");
        commit.set_queueid(0);
        commit.set_commitoffset(kSlowOffset);
        REQUIRE(client.call(wire::RequestCode::kUpdateConsumerOffset, &commit).summary() == "0");
    }

    /// First offset of the queue, as an answer to a pull that is too far back tells it.
    std::int64_t told_min(wire::Codec codec) {
        RpcClient client(broker.address(), codec);
        const wire::PullMessageRequest pull = pull_of("T", 0, kSlowOffset);
        const Answer answer = client.call(wire::RequestCode::kPullMessage, &pull);
        CHECK_MESSAGE(answer.code == wire::ResponseCode::kPullOffsetMoved, answer.summary());
        const auto fields = answer.fields<wire::PullMessageResponse>();
        CHECK(fields.nextbeginoffset() == fields.minoffset());
        return fields.minoffset();
    }

    TempDirectory directory;
    BrokerProcess broker;
    std::int64_t sent = 0;
    std::int64_t consumed = 0;
};

TEST_SUITE("process/broker_retention") {
    TEST_CASE_FIXTURE(Deleting,
                      "files of the log go under a producer and a consumer, who miss nothing, a "
                      "slow consumer is told") {
        broker.set("retention.bytes", "6MiB");
        start();
        RpcClient client(broker.address());
        REQUIRE(create_topic(client, "T", 1).summary() == "0");
        send_next(client);
        commit_slow(client);
        REQUIRE(wait_until(Process::kPatience, [&] {
            send_next(client);
            consume(client);
            return number("gantry_retention_deleted_segments_total") >= 5;
        }));
        consume(client);
        CHECK(consumed == sent);
        const std::int64_t min = told_min(wire::Codec::kNative);
        CHECK(min > kSlowOffset);
        // No more goes than the limit says: six files of about fifty messages each.
        CHECK(sent - min > 4 * (1 << 20) / static_cast<std::int64_t>(kBodyBytes));
        CHECK(told_min(wire::Codec::kJson) >= min);
        CHECK(number("gantry_retention_deleted_unconsumed_messages_total") >=
              static_cast<double>(min - kSlowOffset));
        CHECK(number("gantry_retention_forced_messages_total") == 0);
        for (const bool cleanly : {false, true}) {
            CAPTURE(cleanly);
            const Status restarted = broker.restart(cleanly);
            REQUIRE_MESSAGE(restarted.has_value(), (restarted ? "" : to_string(restarted.error())));
            const std::int64_t first = told_min(wire::Codec::kNative);
            CHECK(first >= min);
            RpcClient reader(broker.address());
            consumed = first;
            consume(reader);
            CHECK(consumed == sent);
        }
    }

    TEST_CASE("a topic's retention is set and shown by the command line, and obeyed") {
        const TempDirectory directory;
        NameserverProcess nameserver(directory.path(), "n");
        REQUIRE(nameserver.start());
        BrokerProcess broker(directory.path(), "b", nameserver.address(), kSmallSegments);
        REQUIRE(broker.start());
        const auto gantry = [&](std::vector<std::string> words) {
            words.insert(words.end(), {"-n", nameserver.address()});
            Result<ProgramRun> ran = run_program(cli_executable(), words);
            REQUIRE_MESSAGE(ran.has_value(), (ran ? "" : to_string(ran.error())));
            CHECK_MESSAGE(ran->code == 0, ran->err);
            return ran->out;
        };
        gantry({"topic", "create", "T", "--queues", "1", "--retention-bytes", "200000"});
        RpcClient client(broker.address());
        for (std::int64_t i = 0; i < 30; ++i) {
            REQUIRE(send(client, "T", 0, {{body_of(i)}}).summary() == "0");
        }
        REQUIRE(wait_until(Process::kPatience, [&] {
            const wire::PullMessageRequest pull = pull_of("T", 0, 0);
            return client.call(wire::RequestCode::kPullMessage, &pull).code ==
                   wire::ResponseCode::kPullOffsetMoved;
        }));
        const wire::PullMessageRequest pull = pull_of("T", 0, 0);
        const Answer moved = client.call(wire::RequestCode::kPullMessage, &pull);
        CHECK(moved.fields<wire::PullMessageResponse>().minoffset() == 21);
        CHECK(gantry({"topic", "describe", "T"}).find("200000 B") != std::string::npos);
        gantry({"topic", "update", "T", "--retention-bytes", "default", "--until-consumed"});
        const std::string told = gantry({"topic", "describe", "T"});
        CHECK_MESSAGE(told.find("until consumed") != std::string::npos, told);
        CHECK_MESSAGE(told.find("200000") == std::string::npos, told);
        const std::string about = gantry({"broker", "describe", broker.address()});
        CHECK_MESSAGE(about.find("retention hours") != std::string::npos, about);
    }
}

}  // namespace
}  // namespace gantry::harness

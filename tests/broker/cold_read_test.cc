// SPDX-License-Identifier: Apache-2.0
#include "tests/broker/cold_log.h"
#include "tests/harness/faults/not_run.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace gantry::broker {
namespace {

using Bodies = std::vector<std::string>;

/// A broker with a log of a few segments, whose first ones are not in the page cache.
class OnColdLog : public ColdLog {
public:
    /// Fills the log and has the system forget its first segment; false where it keeps everything
    /// (a file system in memory).
    bool open() {
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        REQUIRE(fixture.create_topic("Tail", 1) == ResponseCode::kSuccess);
        for (int i = 0; i < 70; ++i) {
            bodies.push_back(std::to_string(i) + std::string(60'000, 'x'));
            REQUIRE(send(fixture.native(), "T", 0, {{bodies.back()}}).summary() == "0");
        }
        return forget(1);
    }

    /// A pull of everything from the start, as its answer comes.
    std::future<Answer> pull(RpcClient& client, std::int64_t from = 0) {
        wire::PullMessageRequest request = harness::pull_of("T", 0, from);
        return client.start(RequestCode::kPullMessage, &request, {});
    }

    Bodies bodies;
};

TEST_SUITE("broker/cold_reads") {
    TEST_CASE_FIXTURE(OnColdLog, "what is not in the page cache is read and given like the rest") {
        if (!open()) {
            harness::say_not_run("the page cache keeps files in the temporary directory");
            return;
        }
        CHECK(read_queue(fixture.native(), "T", 0) == bodies);
        CHECK(fixture.broker().metrics().values().at("gantry_store_cold_reads_total") >= 1);
        CHECK(read_queue(fixture.json(), "T", 0) == bodies);
    }

    TEST_CASE_FIXTURE(OnColdLog, "a read error is told to its reader, and the broker goes on") {
        if (!open()) {
            harness::say_not_run("the page cache keeps files in the temporary directory");
            return;
        }
        faulty.fail({.call = storage::Call::kRead, .path_part = "commitlog/0"});
        const Answer native = pull(fixture.native()).get();
        CHECK_MESSAGE(native.code == ResponseCode::kIoError, native.summary());
        CHECK_MESSAGE(native.remark.find("injected failure") != std::string::npos,
                      native.summary());
        const Answer stock = pull(fixture.json()).get();
        CHECK_MESSAGE(stock.code == ResponseCode::kSystemError, stock.summary());
        CHECK(send(fixture.native(), "Tail", 0, {{"new"}}).summary() == "0");
        CHECK(read_queue(fixture.native(), "Tail", 0) == Bodies{"new"});
        faulty.heal();
        CHECK(read_queue(fixture.native(), "T", 0) == bodies);
    }

    TEST_CASE_FIXTURE(OnColdLog, "senders and tail readers are served while a cold read waits") {
        if (!open()) {
            harness::say_not_run("the page cache keeps files in the temporary directory");
            return;
        }
        faulty.hold_reads("commitlog/0");
        std::future<Answer> cold = pull(fixture.native());
        REQUIRE(harness::wait_until(RpcClient::kPatience, [this] { return faulty.held() > 0; }));
        Bodies tail;
        for (int i = 0; i < 20; ++i) {
            tail.push_back("tail " + std::to_string(i));
            CHECK(send(fixture.native(), "Tail", 0, {{tail.back()}}).summary() == "0");
            CHECK(read_queue(fixture.json(), "Tail", 0) == tail);
        }
        CHECK(cold.wait_for(std::chrono::seconds(0)) == std::future_status::timeout);
        faulty.let_go(1'000'000);
        const Answer answer = cold.get();
        CHECK_MESSAGE(answer.code == ResponseCode::kSuccess, answer.summary());
        CHECK(harness::bodies(answer.body).front() == bodies.front());
    }
}

}  // namespace
}  // namespace gantry::broker

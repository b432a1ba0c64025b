// SPDX-License-Identifier: Apache-2.0
#include "tests/broker/cold_log.h"
#include "tests/harness/faults/not_run.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

namespace gantry::broker {
namespace {

using Bodies = std::vector<std::string>;

/// A broker with a log of a few segments, of which all but the last are not in the page cache.
/// Every tenth message has n = 1.
class OnColdLog : public ColdLog {
public:
    bool open() {
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        for (int i = 0; i < 400; ++i) {
            const bool is_wanted = i % 10 == 0;
            const std::string body = std::to_string(i) + std::string(20'000, 'x');
            const TestMessage message{body, {}, {}, {{"n", is_wanted ? "1" : "0"}}};
            REQUIRE(send(fixture.native(), "T", 0, {message}).summary() == "0");
            if (is_wanted) {
                wanted.push_back(body);
            }
        }
        return forget(1'000);
    }

    /// What matches, from the start to the end, and how many answers that took.
    std::pair<Bodies, int> read(RpcClient& client, const std::string& expression) {
        Bodies all;
        wire::PullMessageRequest request = pull_of("T", 0, 0);
        request.set_expressiontype("SQL92");
        request.set_subscription(expression);
        for (int answers = 0;; ++answers) {
            const Answer answer = client.call(RequestCode::kPullMessage, &request);
            if (answer.code == ResponseCode::kPullNotFound) {
                return {all, answers};
            }
            REQUIRE_MESSAGE((answer.code == ResponseCode::kSuccess ||
                             answer.code == ResponseCode::kPullRetryImmediately),
                            answer.summary());
            const auto fields = answer.fields<wire::PullMessageResponse>();
            REQUIRE(fields.nextbeginoffset() > request.queueoffset());
            const Bodies some = bodies(answer.body);
            all.insert(all.end(), some.begin(), some.end());
            request.set_queueoffset(fields.nextbeginoffset());
        }
    }

    double cold_reads() {
        return fixture.broker().metrics().values().at("gantry_store_cold_reads_total");
    }

    Bodies wanted;
};

TEST_SUITE("broker/sql_cold") {
    TEST_CASE_FIXTURE(OnColdLog, "what comes from the disk is filtered like the rest") {
        if (!open()) {
            harness::say_not_run("the page cache keeps files in the temporary directory");
            return;
        }
        CHECK(read(fixture.native(), "n = 1").first == wanted);
        CHECK(cold_reads() >= 1);
        // Now it may be in the page cache, though not mapped.
        CHECK(read(fixture.json(), "n = 1").first == wanted);
        REQUIRE(forget(1'000));
        CHECK(read(fixture.json(), "n = 1").first == wanted);
        CHECK(read(fixture.native(), "TRUE").first.size() == 400);
    }

    TEST_CASE_FIXTURE(OnColdLog, "a pull that matches nothing for long reads on by itself") {
        if (!open()) {
            harness::say_not_run("the page cache keeps files in the temporary directory");
            return;
        }
        const auto [found, answers] = read(fixture.json(), "n = 2");
        CHECK(found.empty());
        // 8 MB, 1 MiB a read.
        CHECK(answers <= 4);
    }

    TEST_CASE_FIXTURE(OnColdLog, "a read error is told, nothing is skipped") {
        if (!open()) {
            harness::say_not_run("the page cache keeps files in the temporary directory");
            return;
        }
        faulty.fail({.call = storage::Call::kRead, .path_part = "commitlog/0"});
        wire::PullMessageRequest request = pull_of("T", 0, 0);
        request.set_expressiontype("SQL92");
        request.set_subscription("n = 1");
        const Answer failed = fixture.native().call(RequestCode::kPullMessage, &request);
        CHECK_MESSAGE(failed.code == ResponseCode::kIoError, failed.summary());
        faulty.heal();
        CHECK(read(fixture.native(), "n = 1").first == wanted);
    }
}

}  // namespace
}  // namespace gantry::broker

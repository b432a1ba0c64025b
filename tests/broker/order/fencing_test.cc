// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/group.pb.h"
#include "protocol/wire/names.h"
#include "tests/broker/broker_fixture.h"
#include "tests/broker/slow_disk.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <string>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/fencing");

namespace {

constexpr std::int64_t kLongLease = 60'000;

/// A broker with topic "T" of two queues and the group "G", whose queue 0 clients lock.
class Fenced {
public:
    Fenced() {
        REQUIRE(fixture.create_topic("T", 2) == ResponseCode::kSuccess);
        wire::SubscriptionGroupConfig group;
        group.set_groupname("G");
        group.set_consumeenable(true);
        group.set_retryqueuenums(1);
        group.set_retrymaxtimes(3);
        REQUIRE(fixture.native()
                    .call_with_body(RequestCode::kUpdateAndCreateSubscriptionGroup, nullptr, group)
                    .summary() == "0");
    }

    Answer ask(RequestCode code, const std::string& client, std::int64_t lease = kLongLease) {
        wire::LockQueuesRequest request;
        request.set_group("G");
        request.set_clientid(client);
        request.set_leasemillis(lease);
        request.add_queues()->set_topic("T");
        return fixture.native().call(code, &request);
    }

    /// The token; 0: another client holds it.
    std::int64_t lock(const std::string& client, std::int64_t lease = kLongLease) {
        const Answer answer = ask(RequestCode::kLockQueues, client, lease);
        REQUIRE(answer.summary() == "0");
        const auto response = answer.fields<wire::LockQueuesResponse>();
        return response.held_size() == 0 ? 0 : response.held(0).token();
    }

    /// Passes the lock of one client to another.
    std::int64_t pass(const std::string& from, const std::string& to) {
        REQUIRE(ask(RequestCode::kUnlockQueues, from).summary() == "0");
        return lock(to);
    }

    ResponseCode commit(std::int64_t offset, std::int64_t token) {
        wire::CommitOffsetsRequest request;
        request.set_consumergroup("G");
        auto& entry = *request.add_offsets();
        entry.set_topic("T");
        entry.set_offset(offset);
        entry.set_locktoken(token);
        return fixture.native().call(RequestCode::kCommitOffsets, &request).code;
    }

    std::int64_t committed() {
        wire::QueryConsumerOffsetRequest request;
        request.set_consumergroup("G");
        request.set_topic("T");
        request.set_queueid(0);
        const Answer answer = fixture.native().call(RequestCode::kQueryConsumerOffset, &request);
        REQUIRE(answer.summary() == "0");
        return answer.fields<wire::OffsetResponse>().offset();
    }

    ResponseCode pull(std::int64_t token) {
        wire::PullMessageRequest request = pull_of("T", 0, 0);
        request.set_consumergroup("G");
        request.set_locktoken(token);
        return fixture.native().call(RequestCode::kPullMessage, &request).code;
    }

    ResponseCode send_back(std::int64_t token) {
        wire::ConsumerSendMsgBackRequest request;
        request.set_group("G");
        request.set_offset(log_offset);
        request.set_delaylevel(-1);
        request.set_locktoken(token);
        return fixture.native().call(RequestCode::kConsumerSendMsgBack, &request).code;
    }

    void send_one() {
        const Answer sent = send(fixture.native(), "T", 0, {{.body = "m"}});
        REQUIRE(sent.summary() == "0");
        log_offset = sent.fields<wire::SendRecordsResponse>().logoffset();
    }

    double fenced() { return fixture.broker().metrics().values()["gantry_broker_fenced_total"]; }

    BrokerFixture fixture;
    std::int64_t log_offset = 0;
};

}  // namespace

TEST_CASE_FIXTURE(Fenced, "who lost the lock can neither commit, pull nor send back") {
    send_one();
    const std::int64_t old = lock("a");
    REQUIRE(old > 0);
    CHECK(lock("b") == 0);
    CHECK(commit(1, old) == ResponseCode::kSuccess);
    CHECK(pull(old) == ResponseCode::kSuccess);
    const std::int64_t now = pass("a", "b");
    REQUIRE(now > old);
    CHECK(commit(0, old) == ResponseCode::kFenced);
    CHECK(committed() == 1);
    CHECK(pull(old) == ResponseCode::kFenced);
    CHECK(send_back(old) == ResponseCode::kFenced);
    CHECK(fenced() == 3);
    CHECK(read_queue(fixture.native(), wire::dead_letter_topic("G"), 0) !=
          std::vector<std::string>{"m"});
    CHECK(commit(0, now) == ResponseCode::kSuccess);
    CHECK(committed() == 0);
    CHECK(send_back(now) == ResponseCode::kSuccess);
    CHECK(read_queue(fixture.native(), wire::dead_letter_topic("G"), 0) ==
          std::vector<std::string>{"m"});
    // Who has no token is not asked for one.
    CHECK(commit(1, 0) == ResponseCode::kSuccess);
    CHECK(pull(0) == ResponseCode::kSuccess);
}

TEST_CASE_FIXTURE(Fenced, "grants outlive the broker, and so does the fence") {
    const std::int64_t old = lock("a");
    const std::int64_t now = pass("a", "b");
    fixture.restart();
    CHECK(commit(5, old) == ResponseCode::kFenced);
    CHECK(commit(0, now) == ResponseCode::kSuccess);
    CHECK(lock("a") == 0);
    CHECK(lock("b") == now);
    CHECK(pass("b", "c") > now);
}

TEST_CASE("a token is given to nobody before its grant is on the disk, however often it is asked") {
    OnSlowDisk slow;
    BrokerFixture& f = slow.f;
    wire::LockQueuesRequest request;
    request.set_group("G");
    request.set_clientid("a");
    request.set_leasemillis(kLongLease);
    request.add_queues()->set_topic("T");
    slow.disk.hold_syncs("commitlog/0");
    auto first = f.native().start(RequestCode::kLockQueues, &request);
    REQUIRE(slow.come_to_wait(1));
    auto repeated = f.native().start(RequestCode::kLockQueues, &request);
    CHECK(slow.come_to_wait(2));
    CHECK_FALSE(is_answered(first));
    CHECK_FALSE(is_answered(repeated));
    slow.disk.let_go(OnSlowDisk::kAll);
    const auto token = first.get().fields<wire::LockQueuesResponse>().held(0).token();
    CHECK(repeated.get().fields<wire::LockQueuesResponse>().held(0).token() == token);
}

TEST_CASE_FIXTURE(Fenced, "a lapsed lease goes to who asks next") {
    const std::int64_t old = lock("a", 1'000);
    std::int64_t now = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (now == 0 && std::chrono::steady_clock::now() < deadline) {
        now = lock("b");
    }
    CHECK(now > old);
    CHECK(commit(1, old) == ResponseCode::kFenced);
}

TEST_CASE_FIXTURE(Fenced, "stock clients' locks and Gantry's are the same locks") {
    wire::LockBatchRequestBody body;
    body.set_clientid("stock");
    body.set_consumergroup("G");
    body.add_mqset()->set_topic("T");
    body.mutable_mqset(0)->set_queueid(0);
    const auto stock_locks = [&] {
        return fixture.json()
            .call_with_body(RequestCode::kLockBatchMq, nullptr, body)
            .body_as<wire::LockBatchResponseBody>()
            .lockokmqset_size();
    };
    CHECK(stock_locks() == 1);
    CHECK(lock("a") == 0);
    REQUIRE(fixture.binary().call_with_body(RequestCode::kUnlockBatchMq, nullptr, body).summary() ==
            "0");
    CHECK(lock("a") > 0);
    CHECK(stock_locks() == 0);
}

TEST_CASE_FIXTURE(Fenced, "locks that cannot be are refused, or held by nobody") {
    CHECK(ask(RequestCode::kLockQueues, "").code == ResponseCode::kInvalidParameter);
    const Answer shortly = ask(RequestCode::kLockQueues, "a", 999);
    CHECK(shortly.code == ResponseCode::kInvalidParameter);
    CHECK(shortly.remark == "leaseMillis 999 is outside 1000..60000");
    CHECK(ask(RequestCode::kLockQueues, "a", 60'001).code == ResponseCode::kInvalidParameter);
    wire::LockQueuesRequest request;
    request.set_group("G");
    request.set_clientid("a");
    request.set_leasemillis(kLongLease);
    request.add_queues()->set_topic("none");
    request.add_queues()->set_topic("T");
    request.mutable_queues(1)->set_queueid(2);
    const Answer answer = fixture.native().call(RequestCode::kLockQueues, &request);
    CHECK(answer.summary() == "0");
    CHECK(answer.fields<wire::LockQueuesResponse>().held_size() == 0);
}

TEST_SUITE_END();

}  // namespace gantry::broker

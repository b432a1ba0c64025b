// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/message_id.h"
#include "protocol/wire/names.h"
#include "protocol/wire/properties.h"
#include "tests/broker/broker_fixture.h"
#include "tests/broker/slow_disk.h"
#include "tests/harness/calls/transaction_calls.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <chrono>
#include <future>
#include <memory>
#include <set>
#include <utility>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/transaction");

namespace {

using harness::end_request;
using harness::end_transaction;
using harness::Half;
using harness::join_producers;
using harness::kCommit;
using harness::kRollback;
using harness::next_question;
using harness::send_half;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{30'000};
constexpr std::string_view kUndecided = "TRANS_CHECK_MAX_TIME_TOPIC";

/// Producers are asked soon and often.
void hurry(BrokerOptions& options) {
    options.transaction_check_immunity_ms = 0;
    options.transaction_check_interval_ms = 100;
}

double value(BrokerFixture& f, const std::string& name) {
    return f.broker().metrics().values()["gantry_broker_" + name];
}

bool becomes(BrokerFixture& f, const std::string& name, double wanted) {
    return harness::wait_until(kPatience, [&] { return value(f, name) == wanted; });
}

/// The request that takes up what was given up, as it lies in kUndecided.
wire::ResumeCheckHalfMessageRequest resume_request(BrokerFixture& f) {
    const wire::PullMessageRequest pull = pull_of(std::string(kUndecided), 0, 0);
    const Answer parked = f.native().call(RequestCode::kPullMessage, &pull);
    REQUIRE(parked.summary() == "0 FOUND");
    const wire::Record record = first_record(parked.body);
    wire::ResumeCheckHalfMessageRequest resume;
    resume.set_msgid(wire::format_message_id({record.store_host, record.log_offset}));
    return resume;
}

}  // namespace

TEST_CASE("a half message is seen by nobody until it is committed, by any client") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    std::vector<std::string> expected;
    for (RpcClient* const client : {&f.json(), &f.binary(), &f.native()}) {
        const std::string body = "m" + std::to_string(expected.size());
        const Half half = send_half(*client, {.body = body, .queue_id = 2});
        REQUIRE(half.answer.summary() == "0");
        const auto fields = half.answer.fields<wire::SendMessageResponse>();
        CHECK(fields.queueid() == 2);
        CHECK(fields.transactionid() == half.key);
        CHECK(value(f, "transactions_open") == 1);
        CHECK(read_queue(f.native(), "T", 2) == expected);
        REQUIRE(end_transaction(*client, half, kCommit).summary() == "0");
        expected.push_back(body);
        CHECK(read_queue(f.native(), "T", 2) == expected);
        CHECK(value(f, "transactions_open") == 0);
    }
    wire::PullMessageRequest pull = pull_of("T", 2, 0);
    const Answer pulled = f.native().call(RequestCode::kPullMessage, &pull);
    const wire::Record record = first_record(pulled.body);
    CHECK((record.sys_flag & wire::sys_flag::kTransactionMask) ==
          wire::sys_flag::kTransactionCommit);
    CHECK(wire::find_property(record.properties, "TRAN_MSG").empty());
    CHECK(wire::find_property(record.properties, "REAL_TOPIC").empty());
    CHECK(wire::find_property(record.properties, "UNIQ_KEY") == "KEYm0");
    CHECK(value(f, "transactions_committed_total") == 3);
}

TEST_CASE("a commit wakes a consumer that waits") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const Half half = send_half(f.json(), {.body = "x"});
    const wire::PullMessageRequest held = held_pull_of("T", 0, 0, 25'000);
    std::future<Answer> pulled = f.native().start(RequestCode::kPullMessage, &held);
    REQUIRE(end_transaction(f.json(), half, kCommit).summary() == "0");
    CHECK(bodies(pulled.get().body) == std::vector<std::string>{"x"});
}

TEST_CASE("what was decided stays so: repeating it is success, the opposite a conflict") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const Half committed = send_half(f.native(), {.body = "committed"});
    const Half rolled_back = send_half(f.native(), {.body = "rolled back"});
    REQUIRE(end_transaction(f.native(), committed, kCommit).summary() == "0");
    REQUIRE(end_transaction(f.native(), rolled_back, kRollback).summary() == "0");
    for (int round = 0; round < 2; ++round) {
        CHECK(end_transaction(f.native(), committed, kCommit).summary() == "0");
        CHECK(end_transaction(f.native(), committed, kRollback).code == ResponseCode::kConflict);
        CHECK(end_transaction(f.native(), rolled_back, kRollback).summary() == "0");
        CHECK(end_transaction(f.native(), rolled_back, kCommit).code == ResponseCode::kConflict);
        f.restart();
    }
    CHECK(read_queue(f.native(), "T", 0) == std::vector<std::string>{"committed"});
}

TEST_CASE("a word on a transaction that is not the producer's is refused") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    Half half = send_half(f.native(), {.body = "x"});
    half.group = "OTHER";
    CHECK(end_transaction(f.native(), half, kCommit).summary() ==
          "29 producerGroup OTHER is not the half message's, PG");
    half.group = "PG";
    ++half.queue_offset;
    CHECK(end_transaction(f.json(), half, kCommit).code == ResponseCode::kSystemError);
    --half.queue_offset;
    CHECK(end_transaction(f.native(), half, 5).summary() ==
          "29 commitOrRollback 5 is none of 0, 8, 12");
    ++half.log_offset;
    CHECK(end_transaction(f.native(), half, kCommit).code == ResponseCode::kQueryNotFound);
    --half.log_offset;
    CHECK(end_transaction(f.native(), half, 0).summary() == "0");
    CHECK(value(f, "transactions_open") == 1);
    CHECK(read_queue(f.native(), "T", 0).empty());
}

TEST_CASE("half messages that cannot be, or are too many, are refused") {
    BrokerFixture f([](BrokerOptions& options) { options.transaction_open_max = 1; });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    CHECK(send_half(f.json(), {.body = "x", .topic = "NONE"}).answer.code ==
          ResponseCode::kTopicNotExist);
    wire::SendMessageRequest request = stock_send("T", 0);
    request.set_sysflag(wire::sys_flag::kTransactionPrepared);
    request.set_batch(true);
    CHECK(f.json().call(RequestCode::kSendBatchMessage, &request, "x").code ==
          ResponseCode::kMessageIllegal);
    REQUIRE(send_half(f.json(), {.body = "x"}).answer.summary() == "0");
    const std::string refusal = "2 1 transactions wait for an outcome, transaction.open_max 1";
    CHECK(send_half(f.json(), {.body = "y"}).answer.summary() == refusal);
    CHECK(send_half(f.native(), {.body = "y"}).answer.summary() == refusal);
}

TEST_CASE("a delayed message waits from its commit on") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const Half half = send_half(f.json(), {.body = "later", .delay = "1"});
    REQUIRE(end_transaction(f.native(), half, kCommit).summary() == "0");
    CHECK(read_queue(f.native(), "T", 0).empty());
    CHECK(end_transaction(f.native(), half, kCommit).summary() == "0");
    const wire::PullMessageRequest held = held_pull_of("T", 0, 0, 25'000);
    CHECK(bodies(f.native().call(RequestCode::kPullMessage, &held).body) ==
          std::vector<std::string>{"later"});
}

TEST_CASE("a producer is asked what became of its transaction, with the message") {
    BrokerFixture f(hurry);
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    for (RpcClient* const client : {&f.json(), &f.native()}) {
        REQUIRE(join_producers(*client, "c").summary() == "0");
        const Half half = send_half(*client, {.body = "asked", .queue_id = 3});
        const Half asked = next_question(*client);
        REQUIRE(asked.answer.transport);
        CHECK(asked.answer.code == static_cast<ResponseCode>(RequestCode::kCheckTransactionState));
        CHECK(asked.log_offset == half.log_offset);
        CHECK(asked.queue_offset == half.queue_offset);
        CHECK(asked.key == half.key);
        const wire::Record record = first_record(asked.answer.body);
        CHECK(record.topic == "T");
        CHECK(record.queue_id == 3);
        CHECK(as_text(record.body) == "asked");
        CHECK(wire::find_property(record.properties, "PGROUP") == "PG");
        CHECK(wire::find_property(record.properties, "TRANSACTION_CHECK_TIMES") == "1");
        // "Unknown" is no answer: it is asked again.
        REQUIRE(end_transaction(*client, asked, 0, true).summary() == "0");
        const Half again = next_question(*client);
        CHECK(again.log_offset == half.log_offset);
        REQUIRE(end_transaction(*client, again, kCommit, true).summary() == "0");
        wire::UnregisterClientRequest leave;
        leave.set_clientid("c");
        leave.set_producergroup("PG");
        REQUIRE(client->call(RequestCode::kUnregisterClient, &leave).summary() == "0");
    }
    CHECK(read_queue(f.native(), "T", 3) == std::vector<std::string>{"asked", "asked"});
    CHECK(value(f, "transactions_open") == 0);
}

TEST_CASE("the message's own immunity comes before the broker's") {
    BrokerFixture f(hurry);
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(join_producers(f.native(), "c").summary() == "0");
    const Half patient = send_half(f.native(), {.body = "patient", .immunity_seconds = "3600"});
    const Half hasty = send_half(f.native(), {.body = "hasty"});
    for (int i = 0; i < 3; ++i) {
        CHECK(next_question(f.native()).log_offset == hasty.log_offset);
    }
    CHECK(end_transaction(f.native(), patient, kCommit).summary() == "0");
}

TEST_CASE("a group without producers is asked when one comes, and holds up nobody") {
    BrokerFixture f([](BrokerOptions& options) {
        options.transaction_check_immunity_ms = 0;
        options.transaction_check_interval_ms = 3'600'000;
    });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const Half first = send_half(f.json(), {.body = "a"});
    const Half second = send_half(f.json(), {.body = "b"});
    REQUIRE(becomes(f, "transactions_unserved_total", 2));
    REQUIRE(join_producers(f.native(), "late").summary() == "0");
    std::set<std::int64_t> asked{next_question(f.native()).log_offset,
                                 next_question(f.native()).log_offset};
    CHECK(asked == std::set<std::int64_t>{first.log_offset, second.log_offset});
}

TEST_CASE("questions go to every member of the group in turn") {
    BrokerFixture f(hurry);
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(join_producers(f.json(), "one").summary() == "0");
    REQUIRE(join_producers(f.native(), "two").summary() == "0");
    const Half half = send_half(f.binary(), {.body = "x"});
    CHECK(next_question(f.json()).log_offset == half.log_offset);
    CHECK(next_question(f.native()).log_offset == half.log_offset);
    f.json().disconnect();
    CHECK(next_question(f.native()).log_offset == half.log_offset);
    REQUIRE(end_transaction(f.native(), half, kRollback, true).summary() == "0");
    CHECK(read_queue(f.native(), "T", 0).empty());
}

TEST_CASE("a transaction nobody decides is parked after as many questions, and can be consumed") {
    BrokerFixture f([](BrokerOptions& options) {
        hurry(options);
        options.transaction_check_max = 2;
    });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(join_producers(f.native(), "c").summary() == "0");
    const Half half = send_half(f.native(), {.body = "undecided"});
    REQUIRE(becomes(f, "transactions_given_up_total", 1));
    CHECK(value(f, "transactions_asked_total") == 2);
    CHECK(value(f, "transactions_open") == 0);
    CHECK(end_transaction(f.native(), half, kCommit).code == ResponseCode::kConflict);
    CHECK(end_transaction(f.native(), half, kRollback).summary() == "0");
    CHECK(read_queue(f.native(), "T", 0).empty());
    const wire::PullMessageRequest pull = pull_of(std::string(kUndecided), 0, 0);
    const Answer parked = f.native().call(RequestCode::kPullMessage, &pull);
    REQUIRE(parked.summary() == "0 FOUND");
    const wire::Record record = first_record(parked.body);
    CHECK(as_text(record.body) == "undecided");
    CHECK(wire::find_property(record.properties, "REAL_TOPIC") == "T");
    CHECK(wire::find_property(record.properties, "TRANSACTION_CHECK_TIMES") == "2");
    f.restart();
    CHECK(read_queue(f.native(), std::string(kUndecided), 0) ==
          std::vector<std::string>{"undecided"});
}

TEST_CASE("a transaction that was given up can be taken up again, once") {
    BrokerFixture f([](BrokerOptions& options) {
        options.transaction_check_immunity_ms = 0;
        options.transaction_check_max = 0;
    });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const Half half = send_half(f.native(), {.body = "x", .immunity_seconds = "0"});
    REQUIRE(becomes(f, "transactions_given_up_total", 1));
    const wire::PullMessageRequest pull = pull_of(std::string(kUndecided), 0, 0);
    const Answer parked = f.native().call(RequestCode::kPullMessage, &pull);
    REQUIRE(parked.summary() == "0 FOUND");
    const wire::Record record = first_record(parked.body);
    wire::ResumeCheckHalfMessageRequest resume;
    resume.set_topic(std::string(kUndecided));
    resume.set_msgid(wire::format_message_id({record.store_host, record.log_offset}));
    // Nobody is asked any more in this configuration; what was resumed is given up again.
    CHECK(f.json().call(RequestCode::kResumeCheckHalfMessage, &resume).summary() == "0");
    REQUIRE(becomes(f, "transactions_given_up_total", 2));
    CHECK(f.native().call(RequestCode::kResumeCheckHalfMessage, &resume).summary() == "0");
    CHECK(value(f, "transactions_begun_total") == 2);
    CHECK(value(f, "transactions_open") == 0);
    resume.set_msgid(wire::format_message_id({record.store_host, LogOffset(half.log_offset)}));
    CHECK(f.native().call(RequestCode::kResumeCheckHalfMessage, &resume).code ==
          ResponseCode::kQueryNotFound);
    resume.set_msgid("nonsense");
    CHECK(f.json().call(RequestCode::kResumeCheckHalfMessage, &resume).code ==
          ResponseCode::kSystemError);
}

TEST_CASE("producers are asked about what was taken up again, and may commit it") {
    BrokerFixture f([](BrokerOptions& options) {
        hurry(options);
        options.transaction_check_max = 1;
    });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(join_producers(f.native(), "c").summary() == "0");
    send_half(f.native(), {.body = "x"});
    next_question(f.native());
    REQUIRE(becomes(f, "transactions_given_up_total", 1));
    const wire::ResumeCheckHalfMessageRequest resume = resume_request(f);
    const auto given_up = wire::parse_message_id(resume.msgid());
    REQUIRE(given_up);
    REQUIRE(f.json().call(RequestCode::kResumeCheckHalfMessage, &resume).summary() == "0");
    const Half asked = next_question(f.native());
    CHECK(asked.log_offset > given_up->log_offset.value);
    CHECK(wire::find_property(first_record(asked.answer.body).properties,
                              "TRANSACTION_CHECK_TIMES") == "1");
    // The answer may come after it was given up again.
    const Answer committed = end_transaction(f.native(), asked, kCommit, true);
    const bool is_late = committed.code == ResponseCode::kConflict;
    CHECK((is_late || committed.summary() == "0"));
    CHECK(read_queue(f.native(), "T", 0) ==
          (is_late ? std::vector<std::string>{} : std::vector<std::string>{"x"}));
}

TEST_CASE("retention spares what the first open transaction needs, and no more") {
    BrokerFixture f([](BrokerOptions& options) {
        options.store_segment_bytes = 1 << 20;
        options.store_prefault_bytes = 0;
        options.store_free_bytes_min = 0;
        options.message_bytes_max = 65'536;
        options.retention_bytes = 2 << 20;
        options.retention_check_seconds = 3'600;
    });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const std::string filling(60'000, 'f');
    const auto fill = [&] {
        for (int i = 0; i < 80; ++i) {
            REQUIRE(send(f.native(), "T", 1, {{filling}}).summary() == "0");
        }
    };
    const auto first = [&f] {
        CHECK(f.broker().store().delete_expired());
        return f.broker().store().watermarks().first.value;
    };
    fill();
    const Half ended = send_half(f.native(), {.body = "ended"});
    REQUIRE(end_transaction(f.native(), ended, kRollback).summary() == "0");
    const Half half = send_half(f.native(), {.body = "kept"});
    fill();
    // Told now and then, retention knows up to where nothing is open.
    REQUIRE(harness::wait_until(kPatience, [&] { return first() > 0; }));
    CHECK(first() <= half.log_offset);
    f.restart();
    CHECK(first() <= half.log_offset);
    REQUIRE(end_transaction(f.native(), half, kCommit).summary() == "0");
    CHECK(read_queue(f.native(), "T", 0) == std::vector<std::string>{"kept"});
    CHECK(harness::wait_until(kPatience, [&] { return first() > half.log_offset; }));
}

TEST_CASE("the number of questions survives a restart") {
    BrokerFixture f([](BrokerOptions& options) {
        hurry(options);
        options.transaction_check_max = 1'000'000;
    });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(join_producers(f.native(), "c").summary() == "0");
    REQUIRE(send_half(f.native(), {.body = "x"}).answer.summary() == "0");
    const auto asked = [&f] {
        const auto oldest = f.broker().store().transactions().table().oldest();
        return oldest ? oldest->asked : -1;
    };
    REQUIRE(harness::wait_until(kPatience, [&] { return asked() >= 2; }));
    f.restart();
    const std::int32_t before = asked();
    CHECK(before >= 2);
    REQUIRE(join_producers(f.native(), "c").summary() == "0");
    CHECK(harness::wait_until(kPatience, [&] { return asked() > before; }));
}

TEST_CASE("a transaction ends with its time though nobody could be asked") {
    BrokerFixture f([](BrokerOptions& options) {
        hurry(options);
        options.transaction_open_ms_max = 1'000;
    });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(send_half(f.native(), {.body = "orphan"}).answer.summary() == "0");
    REQUIRE(becomes(f, "transactions_given_up_total", 1));
    CHECK(value(f, "transactions_asked_total") == 0);
    CHECK(read_queue(f.native(), std::string(kUndecided), 0) == std::vector<std::string>{"orphan"});
}

TEST_CASE("a commit for a topic that is gone leaves the transaction open") {
    BrokerFixture f;
    REQUIRE(f.create_topic("GONE") == ResponseCode::kSuccess);
    const Half half = send_half(f.native(), {.body = "x", .topic = "GONE"});
    wire::TopicRequest gone;
    gone.set_topic("GONE");
    REQUIRE(f.native().call(RequestCode::kDeleteTopicInBroker, &gone).summary() == "0");
    CHECK(end_transaction(f.native(), half, kCommit).code == ResponseCode::kServiceNotAvailable);
    CHECK(value(f, "transactions_open") == 1);
    REQUIRE(f.create_topic("GONE") == ResponseCode::kSuccess);
    CHECK(end_transaction(f.native(), half, kCommit).summary() == "0");
    CHECK(read_queue(f.native(), "GONE", 0) == std::vector<std::string>{"x"});
}

TEST_CASE("with sync flush, halves, commits and rollbacks are on the disk when acknowledged") {
    BrokerFixture f([](BrokerOptions& options) {
        hurry(options);
        options.store_flush = "sync";
    });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(join_producers(f.native(), "c").summary() == "0");
    for (int i = 0; i < 20; ++i) {
        const Half half = send_half(f.json(), {.body = std::to_string(i)});
        REQUIRE(half.answer.summary() == "0");
        CHECK(f.broker().store().watermarks().flushed.value > half.log_offset);
        REQUIRE(end_transaction(f.json(), half, i % 2 == 0 ? kCommit : kRollback).summary() == "0");
    }
    CHECK(read_queue(f.native(), "T", 0).size() == 10);
    CHECK(value(f, "transactions_lost_total") == 0);
}

TEST_CASE("a word that is repeated before the first is on the disk gets its answer after it") {
    OnSlowDisk slow;
    BrokerFixture& f = slow.f;
    std::int32_t word = kCommit;
    SUBCASE("commit") {}
    SUBCASE("rollback") {
        word = kRollback;
    }
    const Half half = send_half(f.native(), {.body = "x"});
    REQUIRE(half.answer.summary() == "0");
    slow.disk.hold_syncs("commitlog/0");
    const wire::EndTransactionRequest request = end_request(half, word);
    auto first = f.native().start(RequestCode::kEndTransaction, &request);
    REQUIRE(becomes(f, "transactions_open", 0));
    auto repeated = f.json().start(RequestCode::kEndTransaction, &request);
    REQUIRE(becomes(f, "pending_acks", 2));
    CHECK_FALSE(is_answered(first));
    CHECK_FALSE(is_answered(repeated));
    slow.disk.let_go(OnSlowDisk::kAll);
    CHECK(first.get().summary() == "0");
    CHECK(repeated.get().summary() == "0");
    CHECK(read_queue(f.native(), "T", 0).size() == (word == kCommit ? 1 : 0));
}

TEST_CASE("what is resumed twice before the first is on the disk is resumed once") {
    OnSlowDisk slow([](BrokerOptions& options) {
        options.transaction_check_immunity_ms = 0;
        options.transaction_check_max = 0;
    });
    BrokerFixture& f = slow.f;
    REQUIRE(send_half(f.native(), {.body = "x", .immunity_seconds = "0"}).answer.summary() == "0");
    REQUIRE(becomes(f, "transactions_given_up_total", 1));
    // Nobody waits for what was given up; a message behind it takes it to the disk.
    REQUIRE(send(f.native(), "T", 1, {{"behind"}}).summary() == "0");
    const wire::ResumeCheckHalfMessageRequest resume = resume_request(f);
    slow.disk.hold_syncs("commitlog/0");
    auto first = f.native().start(RequestCode::kResumeCheckHalfMessage, &resume);
    REQUIRE(becomes(f, "transactions_begun_total", 2));
    CHECK(f.native().call(RequestCode::kResumeCheckHalfMessage, &resume).code ==
          ResponseCode::kSystemBusy);
    CHECK_FALSE(is_answered(first));
    slow.disk.let_go(OnSlowDisk::kAll);
    CHECK(first.get().summary() == "0");
    CHECK(f.native().call(RequestCode::kResumeCheckHalfMessage, &resume).summary() == "0");
    CHECK(value(f, "transactions_begun_total") == 2);
}

TEST_CASE("a half message of a group that could not be asked is refused") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    wire::SendMessageRequest request = stock_send("T", 0);
    request.set_sysflag(wire::sys_flag::kTransactionPrepared);
    request.set_producergroup("no group");
    const Answer answer = f.json().call(RequestCode::kSendMessageV2, &request, "x");
    CHECK(answer.code == ResponseCode::kMessageIllegal);
    CHECK_MESSAGE(answer.remark.find("group") != std::string::npos, answer.remark);
    CHECK(value(f, "transactions_open") == 0);
}

TEST_CASE("open transactions are listed in pages") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    std::vector<Half> halves;
    for (int i = 0; i < 5; ++i) {
        halves.push_back(send_half(f.native(), {.body = std::to_string(i)}));
    }
    wire::ListTransactionsRequest request;
    request.set_from(halves[1].log_offset);
    request.set_count(2);
    const auto list =
        f.native().call(RequestCode::kListTransactions, &request).body_as<wire::TransactionList>();
    CHECK(list.open() == 5);
    REQUIRE(list.transactions_size() == 2);
    CHECK(list.transactions(0).logoffset() == halves[1].log_offset);
    CHECK(list.transactions(1).logoffset() == halves[2].log_offset);
    CHECK(list.transactions(0).topic() == "T");
    CHECK(list.transactions(0).producergroup() == "PG");
    CHECK(list.transactions(0).asked() == 0);
}

TEST_SUITE_END();

}  // namespace gantry::broker

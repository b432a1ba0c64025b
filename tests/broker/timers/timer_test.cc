// SPDX-License-Identifier: Apache-2.0
#include "broker/timers/delayed_message.h"
#include "protocol/wire/delay/recall_handle.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/send_number.h"
#include "storage/timers/timers.h"
#include "tests/broker/broker_fixture.h"
#include "tests/broker/slow_disk.h"
#include "tests/harness/calls/transaction_calls.h"
#include "tests/harness/wait.h"
#include "tests/storage/faulty_file_system.h"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/timers");

namespace {

using harness::wait_until;
using std::chrono::milliseconds;
using Bodies = std::vector<std::string>;

constexpr milliseconds kPatience{25'000};
constexpr WallMs kHourMs = 3'600'000;

std::string property(const std::string& name, const std::string& value) {
    std::string text;
    REQUIRE(wire::append_property(text, name, value));
    return text + wire::kPropertySeparator;
}

wire::SendMessageRequest stock_delayed(const std::string& properties, std::int32_t queue = 0) {
    wire::SendMessageRequest request = stock_send("T", queue);
    request.set_properties(properties);
    return request;
}

Answer send_stock(BrokerFixture& f, const std::string& properties, const std::string& body) {
    const wire::SendMessageRequest request = stock_delayed(properties);
    return f.json().call(RequestCode::kSendMessageV2, &request, body);
}

std::string handle_of(const Answer& sent) {
    REQUIRE_MESSAGE(sent.summary() == "0", sent.summary());
    return sent.fields<wire::SendMessageResponse>().recallhandle();
}

/// A native send of messages with these properties each.
Answer send_native(BrokerFixture& f,
                   const std::vector<TestMessage>& messages,
                   bool is_numbered = false,
                   std::int64_t first = 0) {
    std::string bytes = records("T", 0, messages);
    if (is_numbered) {
        const auto parsed = wire::parse_record(as_bytes(bytes));
        REQUIRE(parsed);
        wire::Record record = *parsed;
        std::string properties(record.properties);
        REQUIRE(wire::append_property(
            properties, wire::property::kSendNumber, wire::format_send_number({7, 1, first})));
        record.properties = properties;
        record.sys_flag |= wire::sys_flag::kNumbered;
        std::string numbered(wire::record_bytes(record), '\0');
        wire::encode_record(record,
                            {reinterpret_cast<std::byte*>(numbered.data()), numbered.size()});
        bytes.replace(0, parsed->stored_bytes, numbered);
    }
    wire::SendRecordsRequest request;
    request.set_topic("T");
    request.set_count(static_cast<std::uint32_t>(messages.size()));
    request.set_isdelayed(true);
    return f.native().call(RequestCode::kSendRecords, &request, bytes);
}

Answer recall(RpcClient& client, const std::string& handle, const std::string& topic = "T") {
    wire::RecallMessageRequest request;
    request.set_topic(topic);
    request.set_recallhandle(handle);
    return client.call(RequestCode::kRecallMessage, &request);
}

wire::DelayedList list(BrokerFixture& f, const wire::ListDelayedRequest& request) {
    const Answer answer = f.native().call(RequestCode::kListDelayed, &request);
    REQUIRE_MESSAGE(answer.summary() == "0", answer.summary());
    return answer.body_as<wire::DelayedList>();
}

bool becomes(BrokerFixture& f, const Bodies& wanted, std::int32_t queue = 0) {
    return wait_until(kPatience, [&] { return read_queue(f.native(), "T", queue) == wanted; });
}

double value(BrokerFixture& f, const std::string& name) {
    return f.broker().metrics().values()["gantry_broker_delayed_" + name];
}

}  // namespace

TEST_CASE("timer properties say when a message comes, a level before all") {
    constexpr WallMs kNow = 1'000'000;
    constexpr WallMs kMax = 50'000;
    const auto due = [](const std::string& properties) {
        const auto found = due_of(properties, kNow, kMax);
        REQUIRE(found);
        return found->value_or(-1);
    };
    const auto refusal = [](const std::string& properties) {
        const auto found = due_of(properties, kNow, kMax);
        REQUIRE_FALSE(found);
        CHECK(found.error().code == Errc::kRefused);
        return found.error().detail;
    };
    CHECK(due("") == -1);
    CHECK(due(property("TIMER_DELAY_SEC", "3")) == kNow + 3'000);
    CHECK(due(property("TIMER_DELAY_MS", "7")) == kNow + 7);
    CHECK(due(property("TIMER_DELIVER_MS", "1000001")) == 1'000'001);
    CHECK(due(property("TIMER_DELIVER_MS", "999999")) == -1);
    CHECK(due(property("TIMER_DELAY_MS", "0")) == -1);
    CHECK(due(property("TIMER_DELAY_MS", "7") + property("TIMER_DELAY_SEC", "2")) == kNow + 2'000);
    CHECK(due(property("TIMER_DELAY_MS", "junk") + property("DELAY", "2")) == kNow + 5'000);
    CHECK(refusal(property("TIMER_DELAY_MS", "50001")) ==
          "property TIMER_DELAY_MS 50001: 50001 ms ahead > delay.ms_max 50000 ms");
    CHECK(refusal(property("TIMER_DELAY_SEC", "-1")) ==
          "property TIMER_DELAY_SEC \"-1\" is no number of 0 or more");
    CHECK(refusal(property("TIMER_DELIVER_MS", "9223372036854775807")).ends_with("or more"));
    CHECK(refusal(property("TIMER_DELAY_MS", "500") + property("GANTRY_EXPIRES_AT", "1000400")) ==
          "property TIMER_DELAY_MS 500: due at 1000500, behind the end of its time to live "
          "1000400");
}

TEST_CASE("a recall handle is RocketMQ's, and nothing else is one") {
    const std::string text = wire::format_recall_handle({"T", "broker-a", 1'700'000'000'000, "K"});
    CHECK(text == "djEgVCBicm9rZXItYSAxNzAwMDAwMDAwMDAwIEs=");
    const auto parsed = wire::parse_recall_handle(text);
    REQUIRE(parsed);
    CHECK(parsed->topic == "T");
    CHECK(parsed->broker == "broker-a");
    CHECK(parsed->due == 1'700'000'000'000);
    CHECK(parsed->key == "K");
    for (const char* const bad : {"", "djE", "****", "djEgVCBiIDEg", "djIgVCBiIDEgSw=="}) {
        CHECK_FALSE(wire::parse_recall_handle(bad).has_value());
    }
}

TEST_CASE("stock messages come when they are due, to 10 ms, and not before") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const WallMs due = f.clock().wall_ms() + 300;
    REQUIRE(send_stock(f, property("TIMER_DELIVER_MS", std::to_string(due)), "at").summary() ==
            "0");
    REQUIRE(send_stock(f, property("TIMER_DELAY_MS", "100") + property("TAGS", "A"), "after")
                .summary() == "0");
    REQUIRE(send_stock(f, property("TIMER_DELIVER_MS", "1000"), "past").summary() == "0");
    CHECK(read_queue(f.native(), "T", 0) == Bodies{"past"});
    const wire::PullMessageRequest pull = held_pull_of("T", 0, 1, 25'000);
    const Answer after = f.native().call(RequestCode::kPullMessage, &pull);
    const wire::Record first = first_record(after.body);
    CHECK(as_text(first.body) == "after");
    CHECK(wire::find_property(first.properties, "TAGS") == "A");
    CHECK(wire::find_property(first.properties, "REAL_TOPIC").empty());
    CHECK(wire::find_property(first.properties, "TIMER_OUT_MS").empty());
    const wire::PullMessageRequest next = held_pull_of("T", 0, 2, 25'000);
    const Answer at = f.native().call(RequestCode::kPullMessage, &next);
    const wire::Record second = first_record(at.body);
    CHECK(as_text(second.body) == "at");
    CHECK(second.store_ms >= due);
    CHECK(value(f, "in_total") == 2);
    CHECK(wait_until(kPatience, [&] { return value(f, "out_total") == 2; }));
    CHECK(wait_until(kPatience, [&] { return value(f, "waiting") == 0; }));
}

TEST_CASE("what cannot be is refused, with property, value and limit") {
    BrokerFixture f([](BrokerOptions& options) { options.delay_ms_max = 10'000; });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const std::string late = property("TIMER_DELAY_SEC", "11");
    CHECK(send_stock(f, late, "x").summary() ==
          "13 property TIMER_DELAY_SEC 11: 11000 ms ahead > delay.ms_max 10000 ms");
    CHECK(send_native(f, {{"x", "", "", {{"TIMER_DELAY_SEC", "11"}}}}).summary() ==
          "29 property TIMER_DELAY_SEC 11: 11000 ms ahead > delay.ms_max 10000 ms");
    wire::SendMessageRequest half =
        stock_delayed(late + property("TRAN_MSG", "true") + property("PGROUP", "PG"));
    half.set_sysflag(wire::sys_flag::kTransactionPrepared);
    CHECK(f.json().call(RequestCode::kSendMessage, &half, "x").code ==
          ResponseCode::kMessageIllegal);
    CHECK(read_queue(f.native(), "T", 0).empty());
    CHECK(value(f, "in_total") == 0);
}

TEST_CASE("a native frame waits whole, and its repeat is answered as it was") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const std::vector<TestMessage> messages = {{"a", "", "", {{"TIMER_DELAY_MS", "300"}}},
                                               {"b", "", "", {{"TIMER_DELAY_MS", "400"}}}};
    const Answer first = send_native(f, messages, true);
    REQUIRE_MESSAGE(first.summary() == "0", first.summary());
    const auto stored = first.fields<wire::SendRecordsResponse>();
    REQUIRE(stored.recallhandles_size() == 2);
    REQUIRE(stored.logoffsets_size() == 2);
    for (int i = 0; i < 2; ++i) {
        CHECK(f.broker().store().record_at(LogOffset(stored.logoffsets(i))).has_value());
    }
    const auto check_repeat = [&] {
        const auto again = send_native(f, messages, true).fields<wire::SendRecordsResponse>();
        CHECK(again.recallhandles_size() == 2);
        CHECK(again.recallhandles(1) == stored.recallhandles(1));
        CHECK(again.logoffsets(1) == stored.logoffsets(1));
        CHECK(again.logoffset() == stored.logoffset());
    };
    check_repeat();
    CHECK(becomes(f, {"a", "b"}));
    f.restart();
    check_repeat();
    CHECK(send_native(f, {{"c", "", "", {{"TIMER_DELAY_MS", "1"}}}}, true, 2).summary() == "0");
    CHECK(becomes(f, {"a", "b", "c"}));
    CHECK(send_native(f, {{"d"}}, true, 9).code == ResponseCode::kSequenceGap);
}

TEST_CASE("a message is taken back by its handle, once, before it is due, across a restart") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const std::string later = property("TIMER_DELAY_MS", "1500");
    const std::string handle =
        handle_of(send_stock(f, later + property("UNIQ_KEY", "KEY1"), "taken back"));
    const std::string kept = handle_of(send_stock(f, later, "kept"));
    f.restart();
    const Answer recalled = recall(f.json(), handle);
    REQUIRE_MESSAGE(recalled.summary() == "0", recalled.summary());
    CHECK(recalled.fields<wire::RecallMessageResponse>().msgid() == "KEY1");
    CHECK(recall(f.native(), handle).code == ResponseCode::kDelayedOver);
    CHECK(recall(f.json(), handle).code == ResponseCode::kIllegalOperation);
    f.restart();
    CHECK(becomes(f, {"kept"}));
    CHECK(recall(f.native(), kept).code == ResponseCode::kDelayedOver);
    CHECK(recall(f.native(), "junk").code == ResponseCode::kIllegalOperation);
    CHECK(recall(f.native(), kept, "OTHER").code == ResponseCode::kIllegalOperation);
    const std::string unknown = wire::format_recall_handle({"T", "broker-a", 5, "NONE"});
    CHECK(recall(f.native(), unknown).code == ResponseCode::kDelayedUnknown);
    CHECK(recall(f.json(), unknown).code == ResponseCode::kIllegalOperation);
    CHECK(read_queue(f.native(), "T", 0) == Bodies{"kept"});
}

TEST_CASE("that a message was taken back before is not said until that is on the disk") {
    OnSlowDisk slow;
    BrokerFixture& f = slow.f;
    const std::string handle =
        handle_of(send_stock(f, property("TIMER_DELAY_MS", "60000"), "taken back"));
    wire::RecallMessageRequest request;
    request.set_topic("T");
    request.set_recallhandle(handle);
    slow.disk.hold_syncs("commitlog/0");
    auto first = f.native().start(RequestCode::kRecallMessage, &request);
    REQUIRE(slow.come_to_wait(1));
    auto repeated = f.native().start(RequestCode::kRecallMessage, &request);
    CHECK(slow.come_to_wait(2));
    CHECK_FALSE(is_answered(first));
    CHECK_FALSE(is_answered(repeated));
    slow.disk.let_go(OnSlowDisk::kAll);
    CHECK(first.get().summary() == "0");
    CHECK(repeated.get().code == ResponseCode::kDelayedOver);
}

TEST_CASE("what is due while the disk is full comes once there is room") {
    auto files = std::make_unique<storage::FaultyFileSystem>();
    storage::FaultyFileSystem& faulty = *files;
    BrokerFixture f(
        [](BrokerOptions& options) {
            options.message_bytes_max = 64 << 10;
            options.store_segment_bytes = 1 << 20;
            options.store_prefault_bytes = 0;
            options.store_free_bytes_min = 5'000;
        },
        std::move(files));
    REQUIRE(f.create_topic("T", 1) == ResponseCode::kSuccess);
    constexpr WallMs kDelayMs = 2'000;
    const std::string delayed(60'000, 'd');
    const auto sent = std::chrono::steady_clock::now();
    handle_of(send_stock(f, property("TIMER_DELAY_MS", std::to_string(kDelayMs)), delayed));
    faulty.set_free_bytes((1 << 20) + 4'999);
    Bodies kept;
    while (send(f.native(), "T", 0, {{std::string(60'000, 'x')}}).summary() == "0") {
        REQUIRE(kept.size() < 1'000);
        kept.push_back(std::string(60'000, 'x'));
    }
    REQUIRE(std::chrono::steady_clock::now() - sent < milliseconds(kDelayMs));
    // Due for longer than the service waits until it tries again.
    CHECK_FALSE(wait_until(milliseconds(2 * kDelayMs), [&] { return value(f, "out_total") > 0; }));
    CHECK(value(f, "waiting") == 1);
    CHECK(read_queue(f.native(), "T", 0) == kept);
    faulty.set_free_bytes(std::nullopt);
    kept.push_back(delayed);
    CHECK(becomes(f, kept));
    CHECK(value(f, "out_total") == 1);
    f.restart();
    CHECK(read_queue(f.native(), "T", 0) == kept);
}

TEST_CASE("those that wait are listed by topic and time, in pages") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(f.create_topic("U") == ResponseCode::kSuccess);
    const WallMs base = f.clock().wall_ms() + kHourMs;
    for (int i = 0; i < 10; ++i) {
        wire::SendMessageRequest request =
            stock_delayed(property("TIMER_DELIVER_MS", std::to_string(base + i * 1'000)), i % 4);
        request.set_topic(i % 2 == 0 ? "T" : "U");
        REQUIRE(f.json().call(RequestCode::kSendMessage, &request, "x").summary() == "0");
    }
    wire::ListDelayedRequest request;
    request.set_count(3);
    std::vector<WallMs> all;
    while (request.from() >= 0) {
        const wire::DelayedList page = list(f, request);
        CHECK(page.messages_size() <= 3);
        for (const auto& one : page.messages()) {
            all.push_back(one.duetime());
            CHECK(one.queueid() == static_cast<std::int32_t>(all.size() - 1) % 4);
            CHECK_FALSE(one.recallhandle().empty());
        }
        request.set_from(page.next());
    }
    REQUIRE(all.size() == 10);
    request.Clear();
    request.set_count(100);
    request.set_topic("U");
    request.set_duefrom(base + 2'000);
    request.set_dueuntil(base + 8'000);
    const wire::DelayedList some = list(f, request);
    REQUIRE(some.messages_size() == 3);
    CHECK(some.messages(0).topic() == "U");
    CHECK(some.messages(0).duetime() == storage::timer_tick(base + 3'000));
    CHECK(some.next() == -1);
    CHECK(wait_until(kPatience, [&] { return list(f, request).waiting() == 10; }));
    CHECK(recall(f.native(), some.messages(0).recallhandle(), "U").summary() == "0");
    CHECK(list(f, request).messages_size() == 2);
    CHECK(value(f, "cancelled_total") == 1);
}

TEST_CASE("a transaction's message waits from its commit on, and its commit stays known") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    wire::SendMessageRequest request =
        stock_delayed(property("TIMER_DELAY_MS", "400") + property("UNIQ_KEY", "K") +
                      property("TRAN_MSG", "true") + property("PGROUP", "PG"));
    request.set_sysflag(wire::sys_flag::kTransactionPrepared);
    request.set_producergroup("PG");
    const Answer sent = f.json().call(RequestCode::kSendMessage, &request, "later");
    REQUIRE(sent.summary() == "0");
    const auto place = sent.fields<wire::SendMessageResponse>();
    wire::EndTransactionRequest end;
    end.set_producergroup("PG");
    end.set_transtatetableoffset(place.queueoffset());
    end.set_commitlogoffset(std::stoll(place.msgid().substr(16), nullptr, 16));
    end.set_commitorrollback(wire::sys_flag::kTransactionCommit);
    REQUIRE(f.native().call(RequestCode::kEndTransaction, &end).summary() == "0");
    CHECK(read_queue(f.native(), "T", 0).empty());
    CHECK(f.native().call(RequestCode::kEndTransaction, &end).summary() == "0");
    CHECK(becomes(f, {"later"}));
    CHECK(f.native().call(RequestCode::kEndTransaction, &end).summary() == "0");
    CHECK(read_queue(f.native(), "T", 0) == Bodies{"later"});
}

TEST_CASE("what waits in the queues of an earlier version's levels is still delivered") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    storage::Topic* const schedule = f.broker().store().find_topic("SCHEDULE_TOPIC_XXXX");
    REQUIRE(schedule != nullptr);
    wire::Record record;
    const std::string properties =
        property("DELAY", "1") + property("REAL_TOPIC", "T") + property("REAL_QID", "2");
    record.properties = properties;
    record.body = as_bytes(std::string_view("old"));
    REQUIRE(f.broker().store().append_messages(*schedule->queue(0), {&record, 1}));
    f.restart();
    CHECK(becomes(f, {"old"}, 2));
}

TEST_CASE("what waited through a stop comes at once after it") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    Bodies wanted;
    for (int i = 0; i < 300; ++i) {
        wanted.push_back("m" + std::to_string(i));
        REQUIRE(send_native(f, {{wanted.back(), "", "", {{"TIMER_DELAY_MS", "1000"}}}}).summary() ==
                "0");
    }
    const WallMs due = f.clock().wall_ms() + 1'000;
    f.stop();
    REQUIRE(wait_until(kPatience, [&] { return f.clock().wall_ms() > due + 50; }));
    f.restart();
    CHECK(becomes(f, wanted));
}

TEST_SUITE_END();

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/numbers.pb.h"
#include "protocol/wire/numbers/send_span.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/send_number.h"
#include "tests/broker/broker_fixture.h"
#include "tests/harness/http_get.h"
#include "tests/harness/wait.h"
#include "tests/storage/faulty_file_system.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::broker {
namespace {

using storage::FaultyFileSystem;
using Bodies = std::vector<std::string>;

/// Records of topic "T", queue 0, the first of which has the number.
std::string numbered(const wire::SendNumber& number, const Bodies& bodies, std::uint32_t span = 0) {
    std::string bytes;
    for (const std::string& body : bodies) {
        std::string properties;
        wire::Record record;
        if (bytes.empty()) {
            REQUIRE(wire::append_property(
                properties, wire::property::kSendNumber, wire::format_send_number(number)));
            if (span > 0) {
                REQUIRE(wire::append_property(
                    properties, wire::kSendSpan, wire::format_send_span(span)));
            }
            record.sys_flag = wire::sys_flag::kNumbered;
        }
        record.topic = "T";
        record.properties = properties;
        record.body = as_bytes(body);
        const std::size_t at = bytes.size();
        bytes.resize(at + wire::record_bytes(record));
        wire::encode_record(record,
                            {reinterpret_cast<std::byte*>(bytes.data()) + at, bytes.size() - at});
    }
    return bytes;
}

std::future<Answer> start(RpcClient& client, const wire::SendNumber& number, const Bodies& bodies) {
    wire::SendRecordsRequest request;
    request.set_topic("T");
    request.set_count(static_cast<std::uint32_t>(bodies.size()));
    return client.start(RequestCode::kSendRecords, &request, numbered(number, bodies));
}

Answer send_numbered(BrokerFixture& f, const wire::SendNumber& number, const Bodies& bodies) {
    return start(f.native(), number, bodies).get();
}

Answer send_span(BrokerFixture& f,
                 const wire::SendNumber& number,
                 const Bodies& bodies,
                 std::uint32_t span) {
    wire::SendRecordsRequest request;
    request.set_topic("T");
    request.set_count(static_cast<std::uint32_t>(bodies.size()));
    return f.native()
        .start(RequestCode::kSendRecords, &request, numbered(number, bodies, span))
        .get();
}

/// The numbers that come next in queue 0 of "T", by producer.
std::map<std::uint64_t, std::int64_t> next_numbers(BrokerFixture& f) {
    wire::ListSendNumbersRequest request;
    request.set_topic("T");
    const Answer answer = f.native().call(wire::RequestCode::kListSendNumbers, &request);
    REQUIRE_MESSAGE(answer.summary() == "0", answer.summary());
    std::map<std::uint64_t, std::int64_t> next;
    const auto list = answer.body_as<wire::SendNumberList>();
    for (const auto& entry : list.entries()) {
        next[entry.producer()] = entry.next();
    }
    return next;
}

/// Both say that it is stored, and where.
void check_same(const Answer& again, const Answer& first) {
    REQUIRE_MESSAGE(first.summary() == "0", first.summary());
    REQUIRE_MESSAGE(again.summary() == "0", again.summary());
    CHECK(again.fields<wire::SendRecordsResponse>().SerializeAsString() ==
          first.fields<wire::SendRecordsResponse>().SerializeAsString());
}

double metric_of(BrokerFixture& f, const std::string& name) {
    return harness::metric(f.broker().http_port(), name).value_or(-1);
}

bool is_ready(const std::future<Answer>& answer) {
    return answer.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

}  // namespace

TEST_SUITE("broker/numbered_sends") {
    TEST_CASE("a numbered send that comes again is answered as the first time, restarts included") {
        BrokerFixture f;
        REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
        const Answer first = send_numbered(f, {1, 0, 0}, {"a", "b"});
        const Answer second = send_numbered(f, {1, 0, 2}, {"c"});
        check_same(send_numbered(f, {1, 0, 0}, {"a", "b"}), first);
        check_same(send_numbered(f, {1, 0, 2}, {"c"}), second);
        CHECK(metric_of(f, "gantry_broker_sends_repeated_total") == 2);
        CHECK(metric_of(f, "gantry_broker_messages_in_total") == 3);
        CHECK(metric_of(f, "gantry_broker_producer_queues") == 1);
        f.restart();
        check_same(send_numbered(f, {1, 0, 0}, {"a", "b"}), first);
        check_same(send_numbered(f, {1, 0, 2}, {"c"}), second);
        CHECK(send_numbered(f, {1, 0, 3}, {"d"}).summary() == "0");
        CHECK(read_queue(f.native(), "T", 0) == Bodies{"a", "b", "c", "d"});
        CHECK(read_queue(f.json(), "T", 0) == Bodies{"a", "b", "c", "d"});
    }

    TEST_CASE("sends out of turn have codes of their own, and are not stored") {
        BrokerFixture f([](BrokerOptions& o) { o.producer_queues_max = 1; });
        REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
        REQUIRE(send_numbered(f, {1, 0, 0}, {"a"}).summary() == "0");
        const Answer early = send_numbered(f, {1, 0, 2}, {"c"});
        CHECK(early.code == ResponseCode::kSequenceGap);
        CHECK_MESSAGE(early.remark.find("send 0000000000000001.0.2 of 1 to queue 0 of topic T: 1 "
                                        "comes next") != std::string::npos,
                      early.summary());
        CHECK(send_numbered(f, {2, 0, 1}, {"x"}).code == ResponseCode::kNumbersUnknown);
        CHECK(send_numbered(f, {2, 0, 0}, {"x"}).code == ResponseCode::kSystemBusy);
        REQUIRE(send_numbered(f, {1, 1, 0}, {"b"}).summary() == "0");
        CHECK(send_numbered(f, {1, 0, 1}, {"b"}).code == ResponseCode::kNumbersUnknown);
        CHECK(send_numbered(f, {1, 1, 0}, {"b", "c"}).code == ResponseCode::kInvalidParameter);
        CHECK(metric_of(f, "gantry_broker_sends_misnumbered_total") == 3);
        CHECK(read_queue(f.native(), "T", 0) == Bodies{"a", "b"});
    }

    TEST_CASE("a frame may stand for more numbers than it has messages, restarts included") {
        BrokerFixture f;
        REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
        const Answer first = send_span(f, {1, 0, 0}, {"a", "b"}, 104);
        REQUIRE(first.summary() == "0");
        CHECK(send_span(f, {1, 0, 2}, {"x"}, 1).code == ResponseCode::kInvalidParameter);
        CHECK(send_span(f, {1, 0, 105}, {"x"}, 1).code == ResponseCode::kSequenceGap);
        CHECK(send_span(f, {1, 0, 104}, {"c", "d"}, 1).code == ResponseCode::kInvalidParameter);
        REQUIRE(send_span(f, {1, 0, 104}, {"c"}, 6).summary() == "0");
        REQUIRE(send_numbered(f, {2, 0, 0}, {"e"}).summary() == "0");
        const std::map<std::uint64_t, std::int64_t> expected{{1, 110}, {2, 1}};
        CHECK(next_numbers(f) == expected);
        f.restart();
        CHECK(next_numbers(f) == expected);
        check_same(send_span(f, {1, 0, 0}, {"a", "b"}, 104), first);
        CHECK(send_span(f, {1, 0, 0}, {"a", "b"}, 103).code == ResponseCode::kInvalidParameter);
        REQUIRE(send_span(f, {1, 0, 110}, {"f"}, 1).summary() == "0");
        CHECK(read_queue(f.native(), "T", 0) == Bodies{"a", "b", "c", "e", "f"});
    }

    TEST_CASE("numbers that are idle for too long are unknown") {
        BrokerFixture f([](BrokerOptions& o) { o.producer_idle_seconds = 0; });
        REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
        REQUIRE(send_numbered(f, {1, 0, 0}, {"a"}).summary() == "0");
        CHECK(send_numbered(f, {1, 0, 1}, {"b"}).code == ResponseCode::kNumbersUnknown);
        CHECK(send_numbered(f, {1, 1, 0}, {"b"}).summary() == "0");
    }

    TEST_CASE("a repeat is not answered before the first one is durable") {
        auto files = std::make_unique<FaultyFileSystem>();
        FaultyFileSystem& faulty = *files;
        BrokerFixture f([](BrokerOptions& o) { o.store_flush = "sync"; }, std::move(files));
        REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
        faulty.hold_syncs("commitlog/0");
        std::future<Answer> first = start(f.native(), {1, 0, 0}, {"a", "b"});
        REQUIRE(harness::wait_until(RpcClient::kPatience, [&] { return faulty.held() > 0; }));
        RpcClient other(f.address(), wire::Codec::kNative);
        std::vector<std::future<Answer>> repeats;
        repeats.push_back(start(f.native(), {1, 0, 0}, {"a", "b"}));
        repeats.push_back(start(other, {1, 0, 0}, {"a", "b"}));
        repeats.push_back(start(other, {1, 0, 2}, {"c"}));
        repeats.push_back(start(other, {1, 0, 0}, {"a", "b"}));
        // Answered behind the sends before it: whatever could be answered was.
        const wire::TopicRequest status = [] {
            wire::TopicRequest request;
            request.set_topic("T");
            return request;
        }();
        REQUIRE(other.call(RequestCode::kGetTopicStatsInfo, &status).summary() == "0");
        REQUIRE(f.native().call(RequestCode::kGetTopicStatsInfo, &status).summary() == "0");
        CHECK_FALSE(is_ready(first));
        for (const std::future<Answer>& repeat : repeats) {
            CHECK_FALSE(is_ready(repeat));
        }
        SUBCASE("and then it is") {
            faulty.let_go(1'000);
            const Answer stored = first.get();
            check_same(repeats[0].get(), stored);
            check_same(repeats[1].get(), stored);
            CHECK(repeats[2].get().summary() == "0");
            check_same(repeats[3].get(), stored);
            CHECK(read_queue(f.native(), "T", 0) == Bodies{"a", "b", "c"});
        }
        SUBCASE("and its outcome is unknown when the sync fails, however often it is asked") {
            faulty.fail({.call = storage::Call::kSync, .path_part = "commitlog/0"});
            faulty.let_go(1'000);
            CHECK(first.get().code == ResponseCode::kUnknownOutcome);
            for (std::future<Answer>& repeat : repeats) {
                CHECK(repeat.get().code == ResponseCode::kUnknownOutcome);
            }
            const Answer late = send_numbered(f, {1, 0, 0}, {"a", "b"});
            CHECK_MESSAGE(late.code == ResponseCode::kUnknownOutcome, late.summary());
            CHECK(send_numbered(f, {1, 0, 3}, {"d"}).code == ResponseCode::kReadOnly);
            faulty.heal();
        }
    }

    TEST_CASE("a message that is sent back is nobody's numbered send") {
        BrokerFixture f;
        REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
        const Answer sent = send_numbered(f, {1, 0, 0}, {"a"});
        REQUIRE(sent.summary() == "0");
        wire::SubscriptionGroupConfig group;
        group.set_groupname("CG");
        group.set_retryqueuenums(1);
        REQUIRE(f.native()
                    .call_with_body(RequestCode::kUpdateAndCreateSubscriptionGroup, nullptr, group)
                    .summary() == "0");
        wire::ConsumerSendMsgBackRequest back;
        back.set_group("CG");
        back.set_offset(sent.fields<wire::SendRecordsResponse>().logoffset());
        back.set_delaylevel(0);
        back.set_origintopic("T");
        REQUIRE(f.native().call(RequestCode::kConsumerSendMsgBack, &back).summary() == "0");
        f.restart();
        CHECK(metric_of(f, "gantry_broker_producer_queues") == 1);
        CHECK(send_numbered(f, {1, 0, 1}, {"b"}).summary() == "0");
    }
}

}  // namespace gantry::broker

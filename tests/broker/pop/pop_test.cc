// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/group.pb.h"
#include "protocol/wire/properties.h"
#include "storage/pop/pops.h"
#include "tests/broker/broker_fixture.h"
#include "tests/broker/cold_log.h"
#include "tests/harness/calls/pop_calls.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <set>
#include <string>
#include <vector>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/pop");

namespace {

using harness::acknowledge;
using harness::change_time;
using harness::pop;
using harness::pop_of;
using harness::PopAsk;
using harness::Popped;
using harness::popped_of;
using harness::PoppedRecord;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{20'000};
constexpr std::int64_t kHoldMs = 25'000;

double value(BrokerFixture& f, const std::string& name) {
    return f.broker().metrics().values()["gantry_broker_" + name];
}

std::optional<std::int64_t> committed(BrokerFixture& f, std::int32_t queue = 0) {
    return f.broker().store().state().offset("G", "T", queue);
}

void make_group(BrokerFixture& f, std::int32_t retry_max) {
    wire::SubscriptionGroupConfig config;
    config.set_groupname("G");
    config.set_retrymaxtimes(retry_max);
    REQUIRE(f.native()
                .call_with_body(RequestCode::kUpdateAndCreateSubscriptionGroup, nullptr, config)
                .summary() == "0");
}

void send_numbered(BrokerFixture& f, int from, int end, std::int32_t queue = 0) {
    std::vector<TestMessage> messages;
    for (int i = from; i < end; ++i) {
        messages.push_back({"m" + std::to_string(i), i % 2 == 0 ? "even" : "odd"});
    }
    REQUIRE(send(f.native(), "T", queue, messages).summary() == "0");
}

/// A topic of one queue with messages m0 and up.
void make_topic(BrokerFixture& f, int messages) {
    REQUIRE(f.create_topic("T", 1) == ResponseCode::kSuccess);
    if (messages > 0) {
        send_numbered(f, 0, messages);
    }
}

std::future<Answer> start_pop(RpcClient& client, const PopAsk& ask) {
    const wire::PopMessageRequest request = pop_of(ask);
    return client.start(RequestCode::kPopMessage, &request);
}

}  // namespace

TEST_CASE("each message goes to one consumer, by any client, until it is acknowledged") {
    BrokerFixture f;
    make_topic(f, 5);
    const Popped first = pop(f.json(), {.count = 2});
    CHECK(first.summary() == "0 m0 m1");
    CHECK(first.fields.invisibletime() == 60'000);
    CHECK(first.fields.startoffsetinfo() == "0 0 0");
    CHECK(first.fields.msgoffsetinfo() == "0 0 0,1");
    CHECK(first.fields.restnum() == 3);
    CHECK(std::abs(first.fields.poptime() - f.clock().wall_ms()) < 10'000);
    const Popped second = pop(f.native(), {.count = 32});
    CHECK(second.summary() == "0 m2 m3 m4");
    CHECK(second.fields.startoffsetinfo().empty());
    CHECK(pop(f.json()).summary() == "210");
    CHECK(value(f, "pop_in_flight") == 5);
    CHECK(acknowledge(f.json(), second.messages[1]).summary() == "0");
    CHECK(acknowledge(f.native(), first.messages[0]).summary() == "0");
    CHECK(value(f, "pop_in_flight") == 3);
    CHECK(value(f, "pop_messages_acked_total") == 2);
}

TEST_CASE("the committed offset is the first message that is not acknowledged") {
    BrokerFixture f([](BrokerOptions& o) { o.pop_write_interval_ms = 20; });
    make_topic(f, 4);
    const Popped popped = pop(f.json());
    REQUIRE(popped.messages.size() == 4);
    const auto becomes = [&](std::int64_t wanted) {
        return harness::wait_until(kPatience, [&] { return committed(f) == wanted; });
    };
    CHECK(committed(f) == 0);
    REQUIRE(acknowledge(f.json(), popped.messages[2]).summary() == "0");
    REQUIRE(acknowledge(f.json(), popped.messages[0]).summary() == "0");
    CHECK(becomes(1));
    REQUIRE(acknowledge(f.json(), popped.messages[1]).summary() == "0");
    CHECK(becomes(3));
    REQUIRE(acknowledge(f.json(), popped.messages[3]).summary() == "0");
    CHECK(becomes(4));
}

TEST_CASE("what is not acknowledged in time comes again, before new messages, and counted") {
    BrokerFixture f;
    make_topic(f, 4);
    const Popped first = pop(f.json(), {.count = 2, .invisible_ms = 50});
    REQUIRE(first.summary() == "0 m0 m1");
    REQUIRE(harness::wait_until(kPatience, [&] {
        return f.broker().store().pops().table().with("G", "T", [&](storage::PopShare& share) {
            return share.find(0)->next_due() < f.clock().wall_ms();
        });
    }));
    const Popped again = pop(f.native());
    REQUIRE(again.summary() == "0 m0 m1");
    CHECK(again.messages[0].reconsume_times == 1);
    CHECK(again.fields.poptime() > first.fields.poptime());
    CHECK(pop(f.json()).summary() == "0 m2 m3");
    CHECK(value(f, "pop_messages_again_total") == 2);
    // Whoever had them first has them no more.
    CHECK(acknowledge(f.json(), first.messages[0]).summary() == "0");
    CHECK(value(f, "pop_messages_stale_total") == 1);
    CHECK(change_time(f.json(), first.messages[1], 1'000).code == ResponseCode::kMessageIllegal);
    CHECK(value(f, "pop_in_flight") == 4);
    CHECK(acknowledge(f.json(), again.messages[0]).summary() == "0");
    CHECK(value(f, "pop_in_flight") == 3);
}

TEST_CASE("a pop waits for a message, for one whose time is over, and for its own time to end") {
    BrokerFixture f;
    make_topic(f, 0);
    std::future<Answer> waiting = start_pop(f.json(), {.poll_ms = kHoldMs});
    REQUIRE(harness::wait_until(kPatience, [&] { return value(f, "parked_pops") == 1; }));
    send_numbered(f, 0, 1);
    CHECK(popped_of(waiting.get()).summary() == "0 m0");
    CHECK(value(f, "parked_pops") == 0);
    REQUIRE(pop(f.json(), {.group = "H", .invisible_ms = 200}).summary() == "0 m0");
    CHECK(popped_of(start_pop(f.json(), {.group = "H", .poll_ms = kHoldMs}).get()).summary() ==
          "0 m0");
    const auto begin = std::chrono::steady_clock::now();
    const Popped nothing = pop(f.json(), {.poll_ms = 100});
    CHECK(nothing.summary() == "210");
    CHECK(std::chrono::steady_clock::now() - begin >= milliseconds(100));
    CHECK(nothing.fields.has_poptime());
    CHECK(nothing.fields.has_reviveqid());
}

TEST_CASE("of many pops that wait, one message wakes one") {
    BrokerFixture f;
    make_topic(f, 0);
    std::vector<std::future<Answer>> waiting;
    for (int i = 0; i < 5; ++i) {
        waiting.push_back(start_pop(i % 2 == 0 ? f.json() : f.native(), {.poll_ms = 3'000}));
    }
    REQUIRE(harness::wait_until(kPatience, [&] { return value(f, "parked_pops") == 5; }));
    send_numbered(f, 0, 1);
    send_numbered(f, 1, 3);
    std::vector<std::string> answers;
    for (auto& each : waiting) {
        answers.push_back(popped_of(each.get()).summary());
    }
    std::sort(answers.begin(), answers.end());
    using Answers = std::vector<std::string>;
    // The second of a batch may be indexed when the first has been taken.
    const bool is_together = answers == Answers{"0 m0", "0 m1 m2", "210", "210", "210"};
    const bool is_apart = answers == Answers{"0 m0", "0 m1", "0 m2", "210", "210"};
    CHECK_MESSAGE((is_together || is_apart), "m2 with ", answers[1], ", of ", answers.size());
}

TEST_CASE("a pop that waits goes with its connection") {
    BrokerFixture f;
    make_topic(f, 0);
    RpcClient other(f.address());
    const std::future<Answer> waiting = start_pop(other, {.poll_ms = kHoldMs});
    REQUIRE(harness::wait_until(kPatience, [&] { return value(f, "parked_pops") == 1; }));
    other.disconnect();
    CHECK(harness::wait_until(kPatience, [&] { return value(f, "parked_pops") == 0; }));
    send_numbered(f, 0, 1);
    CHECK(pop(f.json()).summary() == "0 m0");
}

TEST_CASE("a message can be kept longer, or given back at once") {
    BrokerFixture f;
    make_topic(f, 2);
    const Popped popped = pop(f.json(), {.invisible_ms = 300});
    REQUIRE(popped.messages.size() == 2);
    const Answer longer = change_time(f.json(), popped.messages[0], 50'000);
    REQUIRE(longer.summary() == "0");
    const auto fields = longer.fields<wire::ChangeInvisibleTimeResponse>();
    CHECK(fields.invisibletime() == 50'000);
    CHECK(fields.has_reviveqid());
    REQUIRE(change_time(f.json(), popped.messages[1], 0).summary() == "0");
    const Popped again = pop(f.json());
    REQUIRE(again.summary() == "0 m1");
    CHECK(again.messages[0].reconsume_times == 1);
    // The old receipt of the renewed one is void once its time differs; the new one works.
    PoppedRecord renewed = popped.messages[0];
    renewed.extra_info = "0 " + std::to_string(fields.poptime()) + " 50000 0 0 broker-a 0 0";
    CHECK(acknowledge(f.json(), renewed).summary() == "0");
    CHECK(value(f, "pop_in_flight") == 1);
}

TEST_CASE("giving back wakes a pop that waits") {
    BrokerFixture f;
    make_topic(f, 1);
    const Popped popped = pop(f.json());
    std::future<Answer> waiting = start_pop(f.native(), {.poll_ms = kHoldMs});
    REQUIRE(harness::wait_until(kPatience, [&] { return value(f, "parked_pops") == 1; }));
    REQUIRE(change_time(f.json(), popped.messages[0], 0).summary() == "0");
    CHECK(popped_of(waiting.get()).summary() == "0 m0");
}

TEST_CASE("a batch of acknowledgements ends what its bits name") {
    BrokerFixture f;
    make_topic(f, 10);
    const Popped popped = pop(f.json());
    REQUIRE(popped.messages.size() == 10);
    wire::BatchAckRequestBody body;
    auto& ack = *body.add_acks();
    ack.set_c("G");
    ack.set_t("T");
    ack.set_q(0);
    ack.set_so(0);
    ack.set_pt(popped.fields.poptime());
    ack.set_it(60'000);
    ack.set_r("0");
    ack.set_rq(0);
    ack.set_b("CQI=");
    REQUIRE(f.json().call_with_body(RequestCode::kBatchAckMessage, nullptr, body).summary() == "0");
    const auto left = f.broker().store().pops().table().with(
        "G", "T", [](storage::PopShare& share) { return share.find(0)->leases(); });
    REQUIRE(left.size() == 2);
    CHECK(left[0].span == storage::OffsetSpan{QueueOffset(1), QueueOffset(3)});
    CHECK(left[1].span == storage::OffsetSpan{QueueOffset(4), QueueOffset(9)});
}

TEST_CASE("pops go round over the queues, or to the one that is named") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T", 4) == ResponseCode::kSuccess);
    for (std::int32_t queue = 0; queue < 4; ++queue) {
        send_numbered(f, 10 * queue, 10 * queue + 2, queue);
    }
    CHECK(pop(f.json(), {.queue_id = 2}).summary() == "0 m20 m21");
    CHECK(pop(f.json(), {.queue_id = 2}).summary() == "210");
    std::set<std::int32_t> queues;
    for (int i = 0; i < 6; ++i) {
        const Popped popped = pop(f.json(), {.count = 1});
        REQUIRE(popped.messages.size() == 1);
        queues.insert(popped.messages[0].queue_id);
    }
    CHECK(queues == std::set<std::int32_t>{0, 1, 3});
    CHECK(pop(f.json()).summary() == "210");
}

TEST_CASE("a new group begins at the oldest message or at the end, and keeps its place") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T", 2) == ResponseCode::kSuccess);
    send_numbered(f, 0, 2, 0);
    send_numbered(f, 2, 4, 1);
    CHECK(pop(f.json(), {.group = "late", .begins_at_end = true}).summary() == "210");
    f.restart();
    send_numbered(f, 4, 5, 1);
    CHECK(pop(f.json(), {.group = "late", .begins_at_end = true}).summary() == "0 m4");
    CHECK(pop(f.json(), {.group = "late", .begins_at_end = true}).summary() == "210");
    std::set<std::string> all;
    for (int i = 0; i < 2; ++i) {
        for (const PoppedRecord& message : pop(f.json(), {.group = "early"}).messages) {
            all.insert(message.body);
        }
    }
    CHECK(all == std::set<std::string>{"m0", "m1", "m2", "m3", "m4"});
    // A queue that comes later is consumed from its beginning.
    REQUIRE(f.create_topic("T", 3) == ResponseCode::kSuccess);
    send_numbered(f, 5, 6, 2);
    CHECK(pop(f.json(), {.group = "late", .begins_at_end = true}).summary() == "0 m5");
}

TEST_CASE("a group that only pops is made, and listed with what it has not consumed") {
    BrokerFixture f;
    make_topic(f, 5);
    const Popped popped = pop(f.json(), {.count = 2});
    REQUIRE(popped.messages.size() == 2);
    const auto groups = f.native().call(RequestCode::kListGroups).body_as<wire::GroupList>();
    REQUIRE(groups.groups_size() == 1);
    CHECK(groups.groups(0).group() == "G");
    CHECK(groups.groups(0).lag() == 5);
    REQUIRE(f.broker().store().state().group("G"));
    CHECK(f.broker().store().state().group("G")->retrymaxtimes() == 16);
}

TEST_CASE("a group that pulled goes on where it had committed") {
    BrokerFixture f;
    make_topic(f, 4);
    wire::UpdateConsumerOffsetRequest commit;
    commit.set_consumergroup("G");
    commit.set_topic("T");
    commit.set_queueid(0);
    commit.set_commitoffset(3);
    REQUIRE(f.json().call(RequestCode::kUpdateConsumerOffset, &commit).summary() == "0");
    const Popped popped = pop(f.json());
    REQUIRE(popped.summary() == "0 m3");
    // A commit moves it, whatever is in flight.
    commit.set_commitoffset(2);
    REQUIRE(f.json().call(RequestCode::kUpdateConsumerOffset, &commit).summary() == "0");
    CHECK(pop(f.json()).summary() == "0 m2 m3");
    CHECK(acknowledge(f.json(), popped.messages[0]).summary() == "0");
    CHECK(value(f, "pop_in_flight") == 2);
}

TEST_CASE("filters apply to pops as to pulls, what they leave out is done") {
    BrokerFixture f([](BrokerOptions& o) { o.pop_write_interval_ms = 20; });
    make_topic(f, 6);
    const Popped odd = pop(f.json(), {.expression_type = "TAG", .expression = "odd"});
    REQUIRE(odd.summary() == "0 m1 m3 m5");
    CHECK(odd.fields.msgoffsetinfo() == "0 0 1,3,5");
    for (const PoppedRecord& message : odd.messages) {
        REQUIRE(acknowledge(f.json(), message).summary() == "0");
    }
    CHECK(harness::wait_until(kPatience, [&] { return committed(f) == 6; }));
    const Popped even =
        pop(f.json(), {.group = "sql", .expression_type = "SQL92", .expression = "TAGS = 'even'"});
    REQUIRE(even.summary() == "0 m0 m2 m4");
    REQUIRE(change_time(f.json(), even.messages[1], 0, "sql").summary() == "0");
    CHECK(pop(f.json(), {.group = "sql", .expression_type = "SQL92", .expression = "TAGS = 'even'"})
              .summary() == "0 m2");
    // A pop that waits steps over what does not match.
    std::future<Answer> waiting =
        start_pop(f.native(), {.poll_ms = kHoldMs, .expression_type = "TAG", .expression = "odd"});
    REQUIRE(harness::wait_until(kPatience, [&] { return value(f, "parked_pops") == 1; }));
    send_numbered(f, 6, 7);
    send_numbered(f, 7, 8);
    CHECK(popped_of(waiting.get()).summary() == "0 m7");
}

TEST_CASE("a message delivered too often goes to the dead letters, with its past") {
    BrokerFixture f;
    make_topic(f, 2);
    make_group(f, 2);
    std::vector<std::int32_t> times;
    for (int i = 0; i < 3; ++i) {
        const Popped popped = pop(f.json(), {.count = 1});
        REQUIRE(popped.summary() == "0 m0");
        times.push_back(popped.messages[0].reconsume_times);
        REQUIRE(change_time(f.json(), popped.messages[0], 0).summary() == "0");
    }
    CHECK(times == std::vector<std::int32_t>{0, 1, 2});
    CHECK(pop(f.json()).summary() == "0 m1");
    const wire::PullMessageRequest pull = pull_of("%DLQ%G", 0, 0);
    const Answer dead = f.native().call(RequestCode::kPullMessage, &pull);
    REQUIRE(dead.summary() == "0 FOUND");
    const wire::Record record = first_record(dead.body);
    CHECK(as_text(record.body) == "m0");
    CHECK(record.reconsume_times == 3);
    CHECK(wire::find_property(record.properties, "RETRY_TOPIC") == "T");
    CHECK_FALSE(wire::find_property(record.properties, "ORIGIN_MESSAGE_ID").empty());
    CHECK(committed(f) == 1);
    CHECK(value(f, "dead_letters_total") == 1);
}

TEST_CASE("what is in flight, and what was acknowledged, survives a restart") {
    BrokerFixture f;
    make_topic(f, 5);
    const Popped popped = pop(f.json(), {.count = 4});
    REQUIRE(popped.messages.size() == 4);
    REQUIRE(acknowledge(f.json(), popped.messages[1]).summary() == "0");
    f.restart();
    CHECK(value(f, "pop_in_flight") == 3);
    CHECK(pop(f.json()).summary() == "0 m4");
    CHECK(acknowledge(f.json(), popped.messages[0]).summary() == "0");
    CHECK(value(f, "pop_in_flight") == 3);
    REQUIRE(change_time(f.json(), popped.messages[2], 0).summary() == "0");
    CHECK(pop(f.json()).summary() == "0 m2");
}

TEST_CASE("a queue with too many runs in flight hands nothing new out until some are done") {
    BrokerFixture f([](BrokerOptions& o) { o.pop_leases_max = 2; });
    make_topic(f, 10);
    const Popped first = pop(f.json(), {.count = 1});
    REQUIRE(pop(f.json(), {.count = 1}).summary() == "0 m1");
    CHECK(pop(f.json(), {.count = 1}).summary() == "210");
    std::future<Answer> waiting = start_pop(f.native(), {.count = 1, .poll_ms = kHoldMs});
    REQUIRE(acknowledge(f.json(), first.messages[0]).summary() == "0");
    CHECK(popped_of(waiting.get()).summary() == "0 m2");
}

TEST_CASE("pops of a topic that is deleted end, and a new one of its name begins anew") {
    BrokerFixture f;
    make_topic(f, 2);
    const Popped popped = pop(f.json());
    std::future<Answer> waiting = start_pop(f.native(), {.poll_ms = kHoldMs});
    REQUIRE(harness::wait_until(kPatience, [&] { return value(f, "parked_pops") == 1; }));
    wire::TopicRequest request;
    request.set_topic("T");
    REQUIRE(f.json().call(RequestCode::kDeleteTopicInBroker, &request).summary() == "0");
    CHECK(static_cast<int>(waiting.get().code) == 17);
    CHECK(static_cast<int>(acknowledge(f.json(), popped.messages[0]).code) == 17);
    CHECK(value(f, "pop_in_flight") == 0);
    make_topic(f, 1);
    CHECK(pop(f.json()).summary() == "0 m0");
}

TEST_CASE("too many pops that wait are told so") {
    BrokerFixture f([](BrokerOptions& o) { o.parked_pulls_max = 1; });
    make_topic(f, 0);
    const std::future<Answer> waiting = start_pop(f.native(), {.poll_ms = kHoldMs});
    REQUIRE(harness::wait_until(kPatience, [&] { return value(f, "parked_pops") == 1; }));
    CHECK(static_cast<int>(pop(f.json(), {.poll_ms = 1'000}).answer.code) == 209);
    CHECK(pop(f.json()).summary() == "210");
}

TEST_CASE("messages that are not in memory are popped too, again and to the dead letters as well") {
    ColdLog cold;
    BrokerFixture& f = cold.fixture;
    make_topic(f, 0);
    make_group(f, 1);
    const std::string filler(16'000, 'x');
    for (int i = 0; i < 200; ++i) {
        REQUIRE(send(f.native(), "T", 0, {{"m" + std::to_string(i) + filler, "even"}}).summary() ==
                "0");
    }
    if (!cold.forget(20)) {
        MESSAGE("the file system keeps everything in memory");
        return;
    }
    const auto bodies_of = [](const Popped& popped) {
        std::vector<std::string> all;
        for (const PoppedRecord& message : popped.messages) {
            all.push_back(message.body.substr(0, message.body.find('x')));
        }
        return all;
    };
    const std::vector<std::string> wanted{"m0", "m1", "m2"};
    for (int i = 0; i < 2; ++i) {
        const Popped popped = pop(f.json(), {.count = 3});
        CHECK(bodies_of(popped) == wanted);
        for (const PoppedRecord& message : popped.messages) {
            CHECK(message.reconsume_times == i);
            REQUIRE(change_time(f.json(), message, 0).summary() == "0");
        }
        REQUIRE(cold.forget(20));
    }
    const Popped next = pop(f.json(), {.count = 2});
    CHECK(bodies_of(next) == std::vector<std::string>{"m3", "m4"});
    // Dead letters are read once they are on the disk.
    CHECK(harness::wait_until(kPatience,
                              [&] { return read_queue(f.native(), "%DLQ%G", 0).size() == 3; }));
}

TEST_CASE("several loops hand each message to one consumer") {
    BrokerFixture f([](BrokerOptions& o) { o.loop_count = 3; });
    REQUIRE(f.create_topic("T", 2) == ResponseCode::kSuccess);
    constexpr int kMessages = 2'000;
    for (int i = 0; i < kMessages; i += 100) {
        send_numbered(f, i, i + 100, (i / 100) % 2);
    }
    std::vector<std::unique_ptr<RpcClient>> clients;
    std::vector<std::future<std::vector<std::string>>> consumers;
    for (int i = 0; i < 6; ++i) {
        RpcClient& client =
            *clients.emplace_back(std::make_unique<RpcClient>(f.address(), wire::Codec::kJson));
        consumers.push_back(std::async(std::launch::async, [&client] {
            std::vector<std::string> got;
            for (;;) {
                const Popped popped = pop(client, {.count = 7, .poll_ms = 300});
                if (popped.messages.empty()) {
                    return got;
                }
                for (const PoppedRecord& message : popped.messages) {
                    got.push_back(message.body);
                    CHECK(acknowledge(client, message).summary() == "0");
                }
            }
        }));
    }
    std::vector<std::string> all;
    for (auto& consumer : consumers) {
        const auto got = consumer.get();
        all.insert(all.end(), got.begin(), got.end());
    }
    CHECK(all.size() == kMessages);
    CHECK(std::set<std::string>(all.begin(), all.end()).size() == kMessages);
    CHECK(value(f, "pop_in_flight") == 0);
}

TEST_SUITE_END();

}  // namespace gantry::broker

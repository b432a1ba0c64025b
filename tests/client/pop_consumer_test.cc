// SPDX-License-Identifier: Apache-2.0
#include "client/pop_consumer.h"

#include "tests/client/fake_pops.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace gantry::client::test {
namespace {

using Kind = SendAction::Kind;
using Settled = FakePops::Settled;
using std::chrono::milliseconds;

constexpr milliseconds kLimit{10'000};

PopConsumer::Options options_of() {
    PopConsumer::Options options;
    options.group = "G";
    options.renew = false;
    options.poll_hold = milliseconds(60'000);
    return options;
}

std::unique_ptr<PopConsumer> make(FakeCluster& cluster,
                                  const PopConsumer::Options& options,
                                  const MessageSelector& selector = {}) {
    auto consumer = PopConsumer::create(cluster.connect(), options);
    REQUIRE_MESSAGE(consumer, (consumer ? "" : to_string(consumer.error())));
    REQUIRE((*consumer)->subscribe("T", selector));
    return std::move(consumer).value();
}

std::vector<std::string> bodies_of(const std::vector<PoppedMessage>& messages) {
    std::vector<std::string> bodies;
    for (const PoppedMessage& message : messages) {
        bodies.emplace_back(message.body());
    }
    return bodies;
}

/// Polls until `count` have come.
std::vector<PoppedMessage> poll_all(PopConsumer& consumer, std::size_t count) {
    std::vector<PoppedMessage> all;
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (all.size() < count && std::chrono::steady_clock::now() < deadline) {
        for (PoppedMessage& message : consumer.poll(milliseconds(50), count - all.size())) {
            all.push_back(std::move(message));
        }
    }
    return all;
}

using Bodies = std::vector<std::string>;

struct Fixture {
    Fixture() { cluster.create_topic("T", 2); }

    FakeCluster cluster;
    FakePops pops{cluster};
};

}  // namespace

TEST_SUITE("client/pop consumer") {
    TEST_CASE("messages are polled, and what is acknowledged together travels together") {
        Fixture f;
        PopConsumer::Options options = options_of();
        options.invisible = milliseconds(30'000);
        options.pop_messages_max = 7;
        const auto consumer = make(f.cluster, options);
        f.pops.give("T", 1, 10, {{"a"}, {"b"}, {"c"}});
        const auto messages = poll_all(*consumer, 3);
        REQUIRE(bodies_of(messages) == Bodies{"a", "b", "c"});
        CHECK(messages[2].queue() == 1);
        CHECK(messages[2].queue_offset() == 12);
        CHECK(messages[2].pop_ms() == FakePops::kFirstReceipt);
        consumer->ack(messages);
        REQUIRE(consumer->flush(kLimit));
        CHECK(f.pops.settled() == std::vector<Settled>{{1, FakePops::kFirstReceipt, 10, 3}});
        CHECK(f.pops.settle_requests() == 1);
        const wire::PopMessageRequest asked = f.pops.pops().front();
        CHECK(asked.consumergroup() == "G");
        CHECK(asked.topic() == "T");
        CHECK(asked.queueid() == -1);
        CHECK(asked.maxmsgnums() == 7);
        CHECK(asked.invisibletime() == 30'000);
        CHECK(asked.polltime() == 60'000);
        CHECK(asked.initmode() == 1);
        CHECK(asked.exp() == "*");
    }

    TEST_CASE("what is given back says when others may have it") {
        Fixture f;
        const auto consumer = make(f.cluster, options_of());
        f.pops.give("T", 0, 0, {{"a"}, {"b"}});
        const auto messages = poll_all(*consumer, 2);
        REQUIRE(messages.size() == 2);
        consumer->give_back({&messages[0], 1}, milliseconds(250));
        consumer->renew({&messages[1], 1}, milliseconds(9'000));
        REQUIRE(consumer->flush(kLimit));
        CHECK(f.pops.settled() == std::vector<Settled>{{0, FakePops::kFirstReceipt, 0, 1, 250},
                                                       {0, FakePops::kFirstReceipt, 1, 1, 9'000}});
    }

    TEST_CASE("a listener acknowledges by success, gives back by anything else") {
        Fixture f;
        PopConsumer::Options options = options_of();
        options.threads = 2;
        options.retry_delay = milliseconds(77);
        const auto consumer = make(f.cluster, options);
        REQUIRE(consumer->start([](std::span<const PoppedMessage> batch) {
            CHECK(batch.size() == 1);
            if (batch[0].body() == "throws") {
                throw std::runtime_error("no");
            }
            return batch[0].body() == "later" ? ConsumeResult::kLater : ConsumeResult::kSuccess;
        }));
        CHECK_FALSE(consumer->start([](auto) { return ConsumeResult::kSuccess; }));
        f.pops.give("T", 0, 0, {{"good"}, {"later"}, {"throws"}});
        REQUIRE(wait_until([&] { return f.pops.settled().size() == 3; }));
        for (const Settled& settled : f.pops.settled()) {
            CHECK(settled.invisible_ms == (settled.from == 0 ? -1 : 77));
        }
        CHECK(consumer->close(kLimit));
    }

    TEST_CASE("what is held is renewed until it is acknowledged, or held for too long") {
        Fixture f;
        PopConsumer::Options options = options_of();
        options.renew = true;
        options.invisible = milliseconds(150);
        const auto consumer = make(f.cluster, options);
        f.pops.give("T", 0, 5, {{"a"}, {"b"}});
        const auto messages = poll_all(*consumer, 2);
        REQUIRE(messages.size() == 2);
        consumer->ack(messages[0]);
        REQUIRE(wait_until([&] { return f.pops.settled().size() >= 4; }));
        for (const Settled& settled : f.pops.settled()) {
            if (settled.from == 6) {
                CHECK(settled == Settled{0, FakePops::kFirstReceipt, 6, 1, 150});
            }
        }
        consumer->ack(messages[1]);
        REQUIRE(consumer->flush(kLimit));
        const std::size_t said = f.pops.settled().size();
        CHECK(f.pops.settled().back() == Settled{0, FakePops::kFirstReceipt, 6, 1});

        REQUIRE(consumer->close(kLimit));
        options.hold_max = milliseconds(100);
        options.group = "H";
        const auto short_one = make(f.cluster, options);
        f.pops.give("T", 0, 7, {{"c"}});  // for the one that is closed
        f.pops.give("T", 0, 8, {{"d"}});
        std::this_thread::sleep_for(milliseconds(400));  // sleeps: nothing tells of no renewal
        CHECK(f.pops.settled().size() <= said + 6);
    }

    TEST_CASE("an acknowledgement that fails is said again, one that is refused is not") {
        Fixture f;
        f.pops.on_settle([](int number) {
            return number == 0   ? SendAction{Kind::kCut}
                   : number == 1 ? SendAction{Kind::kRefuse, wire::ResponseCode::kSystemBusy}
                                 : SendAction{};
        });
        const auto consumer = make(f.cluster, options_of());
        f.pops.give("T", 0, 0, {{"a"}});
        const auto messages = poll_all(*consumer, 1);
        REQUIRE(messages.size() == 1);
        consumer->ack(messages);
        REQUIRE(consumer->flush(kLimit));
        CHECK(f.pops.settled() == std::vector<Settled>{{0, FakePops::kFirstReceipt, 0, 1}});
        CHECK(f.pops.settle_requests() == 3);
        f.pops.on_settle([](int) {
            return SendAction{Kind::kRefuse, wire::ResponseCode::kInvalidParameter};
        });
        consumer->ack(messages);
        REQUIRE(consumer->flush(kLimit));
        CHECK(f.pops.settle_requests() == 4);
    }

    TEST_CASE("flush and close are bounded when the broker does not answer") {
        Fixture f;
        f.pops.on_settle([](int) { return SendAction{Kind::kHold}; });
        const auto consumer = make(f.cluster, options_of());
        f.pops.give("T", 0, 0, {{"a"}});
        const auto messages = poll_all(*consumer, 1);
        REQUIRE(messages.size() == 1);
        consumer->ack(messages);
        const Status flushed = consumer->flush(milliseconds(50));
        REQUIRE_FALSE(flushed);
        CHECK(flushed.error().code == Errc::kTimeout);
        const Status closed = consumer->close(milliseconds(50));
        REQUIRE_FALSE(closed);
        CHECK(closed.error().code == Errc::kTimeout);
        CHECK(consumer->close(milliseconds(50)));
    }

    TEST_CASE("closing gives back what nobody polled, also what comes after it") {
        Fixture f;
        const auto consumer = make(f.cluster, options_of());
        f.pops.give("T", 0, 0, {{"a"}, {"b"}, {"c"}});
        const auto messages = poll_all(*consumer, 1);
        REQUIRE(messages.size() == 1);
        REQUIRE(wait_until([&] { return f.pops.waiting() == 1; }));
        REQUIRE(consumer->close(kLimit));
        CHECK(f.pops.settled() ==
              std::vector<Settled>{{0, FakePops::kFirstReceipt, 1, 2, 0, true}});
        CHECK(consumer->poll(milliseconds(0)).empty());
        f.pops.give("T", 1, 7, {{"late"}});
        REQUIRE(wait_until([&] { return f.pops.settled().size() == 2; }));
        CHECK(f.pops.settled().back() == Settled{1, FakePops::kFirstReceipt + 1, 7, 1, 0, true});
        CHECK(f.pops.waiting() == 0);
    }

    TEST_CASE("closing waits for a listener, but not longer than it is told") {
        Fixture f;
        std::promise<void> gate;
        const std::shared_future<void> opened = gate.get_future().share();
        std::atomic<int> running{0};
        const auto consumer = make(f.cluster, options_of());
        REQUIRE(consumer->start([&](std::span<const PoppedMessage>) {
            ++running;
            opened.wait();
            return ConsumeResult::kSuccess;
        }));
        f.pops.give("T", 0, 0, {{"a"}});
        REQUIRE(wait_until([&] { return running == 1; }));
        const Status closed = consumer->close(milliseconds(30));
        REQUIRE_FALSE(closed);
        CHECK(closed.error().detail == "a listener still runs after 30 ms");
        gate.set_value();
        REQUIRE(wait_until([&] { return f.pops.settled().size() == 1; }));
    }

    TEST_CASE("nothing more is popped while the buffer is full") {
        Fixture f;
        PopConsumer::Options options = options_of();
        options.buffer_messages_max = 2;
        const auto consumer = make(f.cluster, options);
        f.pops.give("T", 0, 0, {{"a"}, {"b"}});
        REQUIRE(poll_all(*consumer, 1).size() == 1);
        REQUIRE(wait_until([&] { return f.pops.pops().size() == 2; }));
        f.pops.give("T", 0, 2, {{"c"}});
        // a was taken, b and c are waiting: full.
        REQUIRE(wait_until([&] { return f.pops.waiting() == 0; }));
        REQUIRE(consumer->flush(kLimit));
        CHECK(f.pops.pops().size() == 2);
        CHECK(bodies_of(poll_all(*consumer, 2)) == Bodies{"b", "c"});
        REQUIRE(wait_until([&] { return f.pops.waiting() == 1; }));
    }

    TEST_CASE("tags are compared by text, what only has the hash is done") {
        Fixture f;
        const auto consumer = make(f.cluster, options_of(), MessageSelector::by_tag("Aa"));
        f.pops.give("T", 0, 0, {{"wanted", "Aa"}, {"same hash", "BB"}, {"too", "Aa"}});
        CHECK(bodies_of(poll_all(*consumer, 2)) == Bodies{"wanted", "too"});
        REQUIRE(consumer->flush(kLimit));
        CHECK(f.pops.settled() == std::vector<Settled>{{0, FakePops::kFirstReceipt, 1, 1}});
        CHECK(f.pops.pops().front().exp() == "Aa");
        CHECK(f.pops.pops().front().exptype() == "TAG");
    }

    TEST_CASE("a body that fails its check is neither handed out nor acknowledged") {
        Fixture f;
        const auto consumer = make(f.cluster, options_of());
        f.pops.give("T", 0, 0, {{"good one"}, {"bad one", "", true}, {"good too"}});
        const auto messages = poll_all(*consumer, 2);
        CHECK(bodies_of(messages) == Bodies{"good one", "good too"});
        consumer->ack(messages);
        REQUIRE(consumer->flush(kLimit));
        CHECK(f.pops.settled() == std::vector<Settled>{{0, FakePops::kFirstReceipt, 0, 1},
                                                       {0, FakePops::kFirstReceipt, 2, 1}});
    }

    TEST_CASE("every broker of the topic is popped") {
        FakeCluster cluster(2);
        FakePops first(cluster, 0);
        FakePops second(cluster, 1);
        cluster.create_topic("T", 1);
        const auto consumer = make(cluster, options_of());
        second.give("T", 0, 0, {{"from the second"}});
        const auto one = poll_all(*consumer, 1);
        first.give("T", 0, 0, {{"from the first"}});
        const auto other = poll_all(*consumer, 1);
        REQUIRE(one.size() + other.size() == 2);
        consumer->ack(one);
        consumer->ack(other);
        REQUIRE(consumer->flush(kLimit));
        CHECK(first.settled().size() == 1);
        CHECK(second.settled().size() == 1);
    }

    TEST_CASE("a broker that has nothing and does not wait is not asked without a pause") {
        Fixture f;
        f.pops.answer_empty(true);
        const auto consumer = make(f.cluster, options_of());
        CHECK(consumer->poll(milliseconds(200)).empty());
        CHECK(f.pops.pops().size() <= 15);
    }

    TEST_CASE("options out of their range are refused by name and value") {
        FakeCluster cluster;
        const auto why = [&](const std::function<void(PopConsumer::Options&)>& change) {
            PopConsumer::Options options = options_of();
            change(options);
            const auto made = PopConsumer::create(cluster.connect(), options);
            return made ? std::string("made") : made.error().detail;
        };
        using Options = PopConsumer::Options;
        CHECK(why([](Options& o) { o.threads = 0; }) == "threads 0 is not in 1..1024");
        CHECK(why([](Options& o) { o.pop_messages_max = 65'537; }) ==
              "pop_messages_max 65537 is not in 1..65536");
        CHECK(why([](Options& o) { o.invisible = milliseconds(99); }) ==
              "invisible 99 ms < 100 ms");
        CHECK(why([](Options& o) { o.start_from = StartFrom::Kind::kTimestamp; }) ==
              "start_from must be kLast or kFirst: pops begin at an end");
        CHECK(why([](Options& o) { o.group = "a b"; }) != "made");
        CHECK(why([](Options&) {}) == "made");
    }
}

}  // namespace gantry::client::test

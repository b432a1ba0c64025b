// SPDX-License-Identifier: Apache-2.0
#include "client/ordered_consumer.h"

#include "common/mutex.h"
#include "tests/client/fake_cluster.h"
#include "tests/client/order/fake_locks.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace gantry::client::test {
namespace {

/// A cluster whose broker locks queues, with topic "T", and what a listener saw.
class Ordered {
public:
    explicit Ordered(int queues = 1) : locks(cluster) { cluster.create_topic("T", queues); }

    static OrderedConsumer::Options options() {
        OrderedConsumer::Options wanted;
        wanted.group = "G";
        wanted.start_from.kind = StartFrom::Kind::kFirst;
        wanted.retry_delay = 1ms;
        wanted.retry_delay_max = 4ms;
        wanted.commit_interval = 10ms;
        wanted.poll_hold = 1s;
        wanted.lease = 1s;
        return wanted;
    }

    /// Its tag is the key, see by_key().
    static OrderedConsumer::Options by_key() {
        OrderedConsumer::Options wanted = options();
        wanted.order_by = OrderBy::kKey;
        wanted.key_property = "TAGS";
        wanted.threads = 4;
        return wanted;
    }

    static OrderedConsumer::Options parking() {
        OrderedConsumer::Options wanted = by_key();
        wanted.poisoned = Poisoned::kPark;
        wanted.attempts_max = 3;
        return wanted;
    }

    /// Calls with a message whose body begins so.
    std::vector<std::string> of(const std::string& key) {
        std::vector<std::string> all = seen();
        std::erase_if(all, [&](const std::string& body) { return !body.starts_with(key); });
        return all;
    }

    std::vector<std::int64_t> parked(const std::string& key) {
        return cluster.run([&] {
            const auto found = locks.parked.find(key);
            return found == locks.parked.end() ? std::vector<std::int64_t>{}
                                               : found->second.offsets;
        });
    }

    void store(const std::string& body, const std::string& tag = {}, std::int32_t queue = 0) {
        cluster.run([&] { cluster.broker().store("T", queue, body, tag); });
    }

    /// Starts a consumer that notes each call, then asks `judge` of its first message.
    std::unique_ptr<OrderedConsumer> start(
        const OrderedConsumer::Options& wanted,
        std::function<OrderedResult(const MessageView&)> judge = {}) {
        auto consumer = OrderedConsumer::create(cluster.connect(), wanted).value();
        REQUIRE(consumer->subscribe("T"));
        REQUIRE(consumer->start(
            [this, judge = std::move(judge)](std::span<const MessageView> messages) {
                {
                    const MutexLock lock(mutex);
                    std::string call;
                    for (const MessageView& message : messages) {
                        call += (call.empty() ? "" : " ") + std::string(message.body());
                    }
                    calls.push_back(call);
                }
                return judge ? judge(messages.front()) : OrderedResult::success();
            }));
        return consumer;
    }

    std::vector<std::string> seen() {
        const MutexLock lock(mutex);
        return calls;
    }

    bool becomes(const std::vector<std::string>& wanted) {
        return wait_until([&] { return seen() == wanted; });
    }

    std::int64_t committed(std::int32_t queue = 0) {
        return cluster.run([&] {
            const auto& known = cluster.broker().committed["G"];
            const auto found = known.find({"T", queue});
            return found == known.end() ? -1 : found->second;
        });
    }

    bool is_locked(std::int32_t queue = 0) {
        return cluster.run([&] { return locks.held.count({"T", queue}) != 0; });
    }

    FakeCluster cluster;
    FakeLocks locks;
    Mutex mutex;
    std::vector<std::string> calls;
};

}  // namespace

TEST_SUITE("client/ordered_consumer") {
    TEST_CASE("a queue is locked, consumed in order, committed, unlocked") {
        Ordered f;
        for (int i = 0; i < 5; ++i) {
            f.store(std::to_string(i));
        }
        OrderedConsumer::Options options = Ordered::options();
        options.threads = 3;
        auto consumer = f.start(options);
        CHECK(f.becomes({"0", "1", "2", "3", "4"}));
        CHECK(f.is_locked());
        CHECK(consumer->assignment().size() == 1);
        f.store("5");
        CHECK(wait_until([&] { return f.committed() == 6; }));
        consumer->stop();
        CHECK_FALSE(f.is_locked());
        CHECK(f.seen().size() == 6);
        CHECK(f.cluster.run([&] { return f.locks.lease; }) == 1'000);
        CHECK(f.cluster.run([&] { return f.locks.log; }) ==
              std::vector<std::string>{"lock T 0", "unlock T 0"});
        CHECK(f.cluster.run([&] { return f.cluster.broker().pulls.front().locktoken(); }) == 1);
    }

    TEST_CASE("a queue that another has locked is not consumed until it is free") {
        Ordered f(2);
        f.cluster.run([&] { f.locks.take_away({"T", 0}); });
        f.store("mine", {}, 1);
        f.store("other's", {}, 0);
        auto consumer = f.start(Ordered::options());
        CHECK(f.becomes({"mine"}));
        f.cluster.run([&] { f.locks.held.erase({"T", 0}); });
        CHECK(f.becomes({"mine", "other's"}));
    }

    TEST_CASE("what fails is tried again before what comes after it, exceptions too") {
        Ordered f;
        for (const char* const body : {"a", "b", "c"}) {
            f.store(body);
        }
        std::atomic<int> failures{0};
        auto consumer = f.start(Ordered::options(), [&](const MessageView& message) {
            if (message.body() == "b" && failures < 3) {
                if (++failures == 2) {
                    throw std::runtime_error("no");
                }
                return OrderedResult::later();
            }
            return OrderedResult::success();
        });
        CHECK(f.becomes({"a", "b", "b", "b", "b", "c"}));
        CHECK(wait_until([&] { return f.committed() == 3; }));
    }

    TEST_CASE("batches: as given, what failed together is tried one by one") {
        Ordered f;
        for (const char* const body : {"a", "b", "c", "d"}) {
            f.store(body);
        }
        OrderedConsumer::Options options = Ordered::options();
        options.batch_messages_max = 3;
        std::atomic<bool> has_failed{false};
        auto consumer = f.start(options, [&](const MessageView&) {
            return has_failed.exchange(true) ? OrderedResult::success() : OrderedResult::later();
        });
        CHECK(f.becomes({"a b c", "a", "b", "c", "d"}));
    }

    TEST_CASE("a message that fails too often is a dead letter, the queue goes on") {
        Ordered f;
        f.store("bad");
        f.store("good");
        OrderedConsumer::Options options = Ordered::options();
        options.poisoned = Poisoned::kDeadLetter;
        options.attempts_max = 3;
        auto consumer = f.start(options, [](const MessageView& message) {
            return message.body() == "bad" ? OrderedResult::later() : OrderedResult::success();
        });
        CHECK(f.becomes({"bad", "bad", "bad", "good"}));
        const auto sent = f.cluster.run([&] { return f.cluster.broker().sent_back; });
        REQUIRE(sent.size() == 1);
        CHECK(sent[0].delaylevel() == -1);
        CHECK(sent[0].offset() == 0);
        CHECK(sent[0].locktoken() == 1);
        CHECK(wait_until([&] { return f.committed() == 2; }));
    }

    TEST_CASE("a dead letter that no broker takes is tried again, nothing is passed over") {
        Ordered f;
        f.cluster.run([&] { f.cluster.broker().refuses_send_back = true; });
        f.store("bad");
        f.store("good");
        OrderedConsumer::Options options = Ordered::options();
        options.poisoned = Poisoned::kDeadLetter;
        options.attempts_max = 1;
        auto consumer = f.start(options, [](const MessageView& message) {
            return message.body() == "bad" ? OrderedResult::later() : OrderedResult::success();
        });
        CHECK(wait_until([&] { return f.seen().size() >= 3; }));
        CHECK(f.committed() <= 0);
        f.cluster.run([&] { f.cluster.broker().refuses_send_back = false; });
        CHECK(wait_until([&] { return f.seen().back() == "good"; }));
    }

    TEST_CASE("suspended by the listener: not an attempt, and nothing overtakes") {
        Ordered f;
        f.store("a");
        f.store("b");
        OrderedConsumer::Options options = Ordered::options();
        options.poisoned = Poisoned::kDeadLetter;
        options.attempts_max = 1;
        std::atomic<int> times{0};
        auto consumer = f.start(options, [&](const MessageView& message) {
            return message.body() == "a" && ++times < 4 ? OrderedResult::suspend(1ms)
                                                        : OrderedResult::success();
        });
        CHECK(f.becomes({"a", "a", "a", "a", "b"}));
        CHECK(f.cluster.run([&] { return f.cluster.broker().sent_back.size(); }) == 0);
    }

    TEST_CASE("suspend and resume: of one queue, of all") {
        Ordered f(2);
        const QueueId first{"T", "broker-a", 0};
        OrderedConsumer::Options options = Ordered::options();
        auto started = f.start(options);
        REQUIRE(wait_until([&] { return started->assignment().size() == 2; }));
        started->suspend(first);
        f.store("first", {}, 0);
        f.store("second", {}, 1);
        CHECK(f.becomes({"second"}));
        started->suspend();
        f.store("third", {}, 1);
        started->resume(first);
        CHECK(f.seen() == std::vector<std::string>{"second"});
        CHECK(f.is_locked(0));
        started->resume();
        CHECK(wait_until([&] { return f.seen().size() == 3; }));
    }

    TEST_CASE("by key: one that fails holds up its own key only, commits stop before it") {
        Ordered f;
        for (const char* const body : {"a1", "b1", "a2", "c1", "b2"}) {
            f.store(body, std::string(body, 1));
        }
        std::atomic<bool> is_healed{false};
        auto consumer = f.start(Ordered::by_key(), [&](const MessageView& message) {
            return message.body() == "a1" && !is_healed ? OrderedResult::later()
                                                        : OrderedResult::success();
        });
        const auto has = [&](const std::string& body) {
            const std::vector<std::string> all = f.seen();
            return std::find(all.begin(), all.end(), body) != all.end();
        };
        CHECK(wait_until([&] { return has("b1") && has("b2") && has("c1"); }));
        CHECK_FALSE(has("a2"));
        CHECK(f.committed() <= 0);
        is_healed = true;
        CHECK(wait_until([&] { return f.committed() == 5; }));
        CHECK(f.seen().back() == "a2");
    }

    TEST_CASE("by key: many keys and threads, each key in its order, no more held than allowed") {
        Ordered f(3);
        const std::uint64_t seed = test_seed();
        for (int i = 0; i < 600; ++i) {
            f.store(std::to_string(i), "k" + std::to_string(i % 7), i % 3);
        }
        OrderedConsumer::Options options = Ordered::by_key();
        options.held_messages_max = 16;
        Mutex mutex;
        std::map<std::string, int> last;
        std::set<std::string> running;
        std::atomic<int> done{0};
        std::atomic<int> mistakes{0};
        std::atomic<std::uint64_t> dice{seed};
        auto consumer = f.start(options, [&](const MessageView& message) {
            const int number = std::stoi(std::string(message.body()));
            const std::string key =
                std::string(message.tag()) + '/' + std::to_string(message.queue());
            {
                const MutexLock lock(mutex);
                mistakes += running.insert(key).second ? 0 : 1;
            }
            const bool fails = (dice += 0x9e3779b97f4a7c15U) % 11 == 0;
            const MutexLock lock(mutex);
            running.erase(key);
            if (fails) {
                return OrderedResult::later();
            }
            const auto before = last.find(key);
            mistakes += before != last.end() && before->second >= number ? 1 : 0;
            last[key] = number;
            ++done;
            return OrderedResult::success();
        });
        CHECK(wait_until([&] { return done == 600; }));
        CHECK(mistakes == 0);
        CHECK(wait_until([&] {
            return f.committed(0) == 200 && f.committed(1) == 200 && f.committed(2) == 200;
        }));
    }

    TEST_CASE("one that fails for ever: the queue is read on only as far as may be held") {
        Ordered f;
        f.store("bad", "bad");
        for (int i = 0; i < 100; ++i) {
            f.store("m", "k" + std::to_string(i));
        }
        OrderedConsumer::Options options = Ordered::by_key();
        options.held_messages_max = 20;
        auto consumer = f.start(options, [](const MessageView& message) {
            return message.body() == "bad" ? OrderedResult::later() : OrderedResult::success();
        });
        const auto good = [&] {
            const std::vector<std::string> all = f.seen();
            return std::count(all.begin(), all.end(), "m");
        };
        const auto bad = [&] {
            const std::vector<std::string> all = f.seen();
            return std::count(all.begin(), all.end(), "bad");
        };
        CHECK(wait_until([&] { return good() >= 10; }));
        const auto tried = bad();
        CHECK(wait_until([&] { return bad() > tried + 20; }));
        CHECK(good() <= 19);
    }

    TEST_CASE(
        "a lock that another has got: the listener gets no more, what was read is forgotten") {
        Ordered f;
        f.store("a");
        std::atomic<bool> is_in{false};
        std::atomic<bool> may_go{false};
        auto consumer = f.start(Ordered::options(), [&](const MessageView& message) {
            if (message.body() == "a" && !is_in.exchange(true)) {
                static_cast<void>(wait_until([&] { return may_go.load(); }));
            }
            return OrderedResult::success();
        });
        REQUIRE(wait_until([&] { return is_in.load(); }));
        f.store("b");
        f.cluster.run([&] { f.locks.take_away({"T", 0}); });
        CHECK(wait_until([&] { return consumer->assignment().empty(); }));
        may_go = true;
        CHECK(wait_until([&] { return f.committed() >= 0; }));  // real brokers refuse that one
        CHECK(f.seen() == std::vector<std::string>{"a"});
        f.cluster.run([&] {
            f.cluster.broker().committed["G"][{"T", 0}] = 0;
            f.locks.held.erase({"T", 0});
        });
        CHECK(f.becomes({"a", "a", "b"}));
    }

    TEST_CASE("a lease that nobody renews is over in time, and the queue comes back after it") {
        Ordered f;
        f.store("a");
        auto consumer = f.start(Ordered::options());
        CHECK(f.becomes({"a"}));
        f.cluster.run([&] { f.locks.is_silent = true; });
        CHECK(wait_until([&] { return consumer->assignment().empty(); }));
        f.store("b");
        f.cluster.run([&] { f.locks.is_silent = false; });
        CHECK(f.becomes({"a", "b"}));
    }

    TEST_CASE("a queue that began anew is consumed from where the broker says") {
        Ordered f;
        for (const char* const body : {"a", "b", "c"}) {
            f.store(body);
        }
        auto consumer = f.start(Ordered::options());
        CHECK(f.becomes({"a", "b", "c"}));
        f.cluster.run([&] { f.cluster.broker().queues[{"T", 0}].clear(); });
        f.store("passed over");  // this broker sends who is too far to its end
        CHECK(wait_until([&] {
            return f.cluster.run(
                [&] { return f.cluster.broker().pulls.back().queueoffset() == 1; });
        }));
        f.store("new");
        CHECK(f.becomes({"a", "b", "c", "new"}));
        CHECK(wait_until([&] { return f.committed() == 2; }));
    }

    TEST_CASE("two members: what one gives up the other goes on with, in order") {
        Ordered f(2);
        for (int i = 0; i < 40; ++i) {
            f.store(std::to_string(i), {}, i % 2);
        }
        auto first = f.start(Ordered::options());
        CHECK(wait_until([&] { return f.seen().size() == 40; }));
        auto second = f.start(Ordered::options());
        CHECK(wait_until(
            [&] { return first->assignment().size() == 1 && second->assignment().size() == 1; }));
        for (int i = 40; i < 60; ++i) {
            f.store(std::to_string(i), {}, i % 2);
        }
        CHECK(wait_until([&] { return f.seen().size() == 60; }));
        first->stop();
        CHECK(wait_until([&] { return second->assignment().size() == 2; }));
        f.store("60");
        f.store("61", {}, 1);
        CHECK(wait_until([&] { return f.seen().size() == 62; }));
        std::map<int, int> last;
        for (const std::string& body : f.seen()) {
            const int number = std::stoi(body);
            CHECK(last[number % 2] <= number);
            last[number % 2] = number;
        }
    }

    TEST_CASE("a key that fails too often is parked, with what comes after it, others go on") {
        Ordered f;
        for (const char* const body : {"a1", "a2", "b1", "a3"}) {
            f.store(body, std::string(body, 1));
        }
        std::atomic<bool> is_healed{false};
        auto consumer = f.start(Ordered::parking(), [&](const MessageView& message) {
            return message.body() == "a1" && !is_healed ? OrderedResult::later()
                                                        : OrderedResult::success();
        });
        CHECK(wait_until([&] { return f.committed() == 4; }));
        CHECK(f.of("a") == std::vector<std::string>{"a1", "a1", "a1"});
        CHECK(f.of("b") == std::vector<std::string>{"b1"});
        CHECK(f.parked("a") == std::vector<std::int64_t>{0, 1, 3});
        // What is released comes in order, before what is newer.
        is_healed = true;
        f.cluster.run([&] { f.locks.parked["a"].is_released = true; });
        f.store("a4", "a");
        const std::vector<std::string> wanted = {"a1", "a1", "a1", "a1", "a2", "a3", "a4"};
        CHECK(wait_until([&] { return f.of("a") == wanted; }));
        CHECK(f.parked("a").empty());
        CHECK(wait_until([&] { return f.committed() == 5; }));
    }

    TEST_CASE("a released key that fails again is parked again, as far as it is not done") {
        Ordered f;
        for (const char* const body : {"a1", "a2", "a3"}) {
            f.store(body, "a");
        }
        std::atomic<bool> fails_second{false};
        auto consumer = f.start(Ordered::parking(), [&](const MessageView& message) {
            return message.body() == (fails_second ? "a2" : "a1") ? OrderedResult::later()
                                                                  : OrderedResult::success();
        });
        CHECK(wait_until([&] { return f.committed() == 3; }));
        fails_second = true;
        f.cluster.run([&] { f.locks.parked["a"].is_released = true; });
        CHECK(wait_until([&] { return f.parked("a") == std::vector<std::int64_t>{1, 2}; }));
        CHECK(wait_until(
            [&] { return !f.cluster.run([&] { return f.locks.parked["a"].is_released; }); }));
        const std::vector<std::string> all = f.seen();
        CHECK(std::count(all.begin(), all.end(), "a3") == 0);
    }

    TEST_CASE("a key that is dropped goes on with what comes next, one known as parked is parked") {
        Ordered f;
        f.cluster.run([&] { f.locks.parked["a"].offsets = {-1}; });
        f.store("a1", "a");
        auto consumer = f.start(Ordered::parking());
        CHECK(wait_until([&] { return f.committed() == 1; }));
        CHECK(f.seen().empty());
        f.cluster.run([&] { f.locks.parked.clear(); });
        f.store("a2", "a");
        CHECK(f.becomes({"a2"}));
    }

    TEST_CASE("options out of their range are refused") {
        FakeCluster cluster;
        const auto client = cluster.connect();
        const auto refused = [&](const std::function<void(OrderedConsumer::Options&)>& change) {
            OrderedConsumer::Options options = Ordered::options();
            change(options);
            const auto made = OrderedConsumer::create(client, options);
            return made ? std::string() : made.error().detail;
        };
        using Options = OrderedConsumer::Options;
        CHECK(refused([](Options&) {}).empty());
        CHECK(refused([](Options& o) { o.lease = 999ms; }) ==
              "lease 999 ms is not in 1000..60000 ms");
        CHECK(refused([](Options& o) { o.threads = 0; }) == "threads 0 is not in 1..1024");
        CHECK_FALSE(refused([](Options& o) { o.held_messages_max = 0; }).empty());
        CHECK_FALSE(refused([](Options& o) { o.group = ""; }).empty());
        CHECK_FALSE(refused([](Options& o) {
                        o.order_by = OrderBy::kKey;
                        o.key_property = "";
                    }).empty());
        CHECK_FALSE(refused([](Options& o) { o.poisoned = Poisoned::kPark; }).empty());
    }
}

}  // namespace gantry::client::test

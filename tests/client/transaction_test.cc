// SPDX-License-Identifier: Apache-2.0
#include "client/transaction_producer.h"
#include "tests/client/fake_transactions.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace gantry::client::test {
namespace {

using Kind = SendAction::Kind;

constexpr std::int32_t kCommitted = 8;
constexpr std::int32_t kRolledBack = 12;

TransactionProducer::Options options_of(std::chrono::milliseconds deadline = kPatience) {
    TransactionProducer::Options options;
    options.group = "PG";
    options.topics = {"T"};
    options.deadline = deadline;
    return options;
}

/// What `check` was asked, and what it says: by default that it does not know.
struct Checks {
    TransactionProducer::Check check() {
        return [this](const MessageView& message) {
            const std::lock_guard lock(mutex);
            ids.emplace_back(message.property("UNIQ_KEY"));
            bodies.emplace_back(message.body());
            ++count;
            return answer(message);
        };
    }

    std::mutex mutex;
    std::vector<std::string> ids;
    std::vector<std::string> bodies;
    std::atomic<int> count{0};
    std::function<TransactionOutcome(const MessageView&)> answer = [](const MessageView&) {
        return TransactionOutcome::kUnknown;
    };
};

/// A cluster of one broker with a topic, and a producer.
struct Fixture {
    explicit Fixture(const TransactionProducer::Options& options = options_of())
        : producer(
              TransactionProducer::create(cluster.connect(), options, checks.check()).value()) {
        cluster.create_topic("T", 4);
    }

    Result<TransactionReceipt> send(TransactionOutcome outcome) {
        return producer->send(message_of("T", "x"), [this, outcome](const Transaction&) {
            ++local_runs;
            return outcome;
        });
    }

    /// Asks about a half message once the broker knows the producer.
    void ask(std::size_t index) {
        REQUIRE(wait_until([&] { return transactions.ask(index); }));
    }

    FakeCluster cluster;
    FakeTransactions transactions{cluster};
    Checks checks;
    std::atomic<int> local_runs{0};
    std::unique_ptr<TransactionProducer> producer;
};

/// Does that with the nth request, and answers the others.
std::function<SendAction(int)> at_number(int number, SendAction action) {
    return [=](int n) { return n == number ? action : SendAction{}; };
}

std::function<SendAction(int)> always(SendAction action) {
    return [=](int) { return action; };
}

}  // namespace

TEST_SUITE("client/transaction producer") {
    TEST_CASE("the message is stored before the local change, and told of after it") {
        Fixture f;
        for (const TransactionOutcome outcome :
             {TransactionOutcome::kCommit, TransactionOutcome::kRollback}) {
            const std::size_t index = f.transactions.halves().size();
            std::string id;
            const Result<TransactionReceipt> sent =
                f.producer->send(message_of("T", "order"), [&](const Transaction& transaction) {
                    const FakeTransactions::Half half = f.transactions.half(index);
                    CHECK(half.body == "order");
                    CHECK(half.words == 0);
                    CHECK(half.id == transaction.id);
                    CHECK(half.queue == transaction.queue.queue);
                    id = transaction.id;
                    return outcome;
                });
            REQUIRE(sent);
            CHECK(sent->outcome == outcome);
            CHECK(sent->is_confirmed);
            CHECK(sent->transaction.id == id);
            CHECK(id.size() == 32);
            const FakeTransactions::Half half = f.transactions.half(index);
            CHECK(half.group == "PG");
            CHECK(half.immunity.empty());
            CHECK(half.words == 1);
            CHECK(half.from_check == 0);
            CHECK(half.outcome ==
                  (outcome == TransactionOutcome::kCommit ? kCommitted : kRolledBack));
        }
        const std::vector<FakeTransactions::Half> halves = f.transactions.halves();
        REQUIRE(halves.size() == 2);
        CHECK(halves[0].id != halves[1].id);
    }

    TEST_CASE("step by step: begin, then commit or roll back, more than once") {
        TransactionProducer::Options options = options_of();
        options.check_immunity = std::chrono::seconds(7);
        Fixture f(options);
        const Result<Transaction> first = f.producer->begin(message_of("T", "a"));
        const Result<Transaction> second = f.producer->begin(message_of("T", "b"));
        REQUIRE(first);
        REQUIRE(second);
        CHECK(f.transactions.half(0).immunity == "7");
        CHECK(f.producer->commit(*second));
        CHECK(f.producer->commit(*second));
        CHECK(f.producer->rollback(*first));
        CHECK(f.transactions.half(0).outcome == kRolledBack);
        CHECK(f.transactions.half(1).outcome == kCommitted);
        CHECK(f.transactions.half(1).words == 2);
        Transaction unknown = *first;
        unknown.half_queue_offset += 10;
        CHECK(f.producer->commit(unknown).error().code == Errc::kNotFound);
    }

    TEST_CASE("an unknown outcome is not told, the broker asks, and check answers") {
        Fixture f;
        f.checks.answer = [&f](const MessageView&) {
            return f.checks.count > 1 ? TransactionOutcome::kCommit : TransactionOutcome::kUnknown;
        };
        const Result<TransactionReceipt> sent = f.send(TransactionOutcome::kUnknown);
        REQUIRE(sent);
        CHECK(sent->outcome == TransactionOutcome::kUnknown);
        CHECK_FALSE(sent->is_confirmed);
        f.ask(0);
        REQUIRE(wait_until([&] { return f.checks.count == 1; }));
        CHECK(f.transactions.half(0).words == 0);
        f.ask(0);
        REQUIRE(wait_until([&] { return f.transactions.half(0).words == 1; }));
        CHECK(f.transactions.half(0).from_check == 1);
        CHECK(f.transactions.half(0).outcome == kCommitted);
        const std::lock_guard lock(f.checks.mutex);
        CHECK(f.checks.ids == std::vector<std::string>(2, sent->transaction.id));
        CHECK(f.checks.bodies == std::vector<std::string>(2, "x"));
    }

    TEST_CASE("what a callback throws counts as unknown") {
        Fixture f;
        f.checks.answer = [&f](const MessageView&) -> TransactionOutcome {
            if (f.checks.count == 1) {
                throw std::runtime_error("no database");
            }
            if (f.checks.count == 2) {
                throw 7;
            }
            return TransactionOutcome::kRollback;
        };
        const Result<TransactionReceipt> sent =
            f.producer->send(message_of("T", "x"), [](const Transaction&) -> TransactionOutcome {
                throw std::runtime_error("no database");
            });
        REQUIRE(sent);
        CHECK(sent->outcome == TransactionOutcome::kUnknown);
        for (int asked = 1; asked <= 2; ++asked) {
            f.ask(0);
            REQUIRE(wait_until([&] { return f.checks.count == asked; }));
        }
        f.ask(0);
        REQUIRE(wait_until([&] { return f.transactions.half(0).words == 1; }));
        CHECK(f.transactions.half(0).outcome == kRolledBack);
    }

    TEST_CASE("a check that blocks holds up neither sends nor other questions") {
        Fixture f;
        std::promise<void> opened;
        std::shared_future<void> gate = opened.get_future().share();
        std::atomic<int> blocked{0};
        TransactionProducer::Options options = options_of();
        options.group = "OTHER";
        const auto other = TransactionProducer::create(
            f.cluster.connect(), options, [&blocked, gate](const MessageView& message) {
                if (message.body() == "slow") {
                    ++blocked;
                    gate.wait();
                }
                return TransactionOutcome::kCommit;
            });
        REQUIRE(other);
        REQUIRE((*other)->begin(message_of("T", "slow")));
        REQUIRE((*other)->begin(message_of("T", "fast")));
        f.ask(0);
        REQUIRE(wait_until([&] { return blocked == 1; }));
        f.ask(1);
        CHECK(wait_until([&] { return f.transactions.half(1).words == 1; }));
        CHECK((*other)->send(message_of("T", "sent"),
                             [](const Transaction&) { return TransactionOutcome::kCommit; }));
        CHECK(f.transactions.half(0).words == 0);
        opened.set_value();
        CHECK(wait_until([&] { return f.transactions.half(0).words == 1; }));
    }

    TEST_CASE("while the local change runs, a question about it is not for check") {
        TransactionProducer::Options options = options_of();
        options.threads = 1;  // questions are taken in their order
        Fixture f(options);
        const Result<TransactionReceipt> sent =
            f.producer->send(message_of("T", "x"), [&](const Transaction&) {
                CHECK(wait_until([&] { return f.transactions.ask(0); }));
                // The question behind it, about a transaction that nobody works at, is answered.
                CHECK(f.producer->begin(message_of("T", "y")));
                CHECK(f.transactions.ask(1));
                CHECK(wait_until([&] { return f.checks.count == 1; }));
                return TransactionOutcome::kCommit;
            });
        REQUIRE(sent);
        const std::lock_guard lock(f.checks.mutex);
        CHECK(f.checks.bodies == std::vector<std::string>{"y"});
        CHECK(f.transactions.half(0).words == 1);
    }

    TEST_CASE("questions about another group's transactions are not for this producer") {
        Fixture f;
        REQUIRE(f.send(TransactionOutcome::kUnknown));
        Checks others;
        TransactionProducer::Options options = options_of();
        options.group = "OTHER";
        const auto other =
            TransactionProducer::create(f.cluster.connect(), options, others.check()).value();
        REQUIRE(other->begin(message_of("T", "y")));
        f.ask(1);
        REQUIRE(wait_until([&] { return others.count == 1; }));
        CHECK(f.checks.count == 0);
    }

    TEST_CASE("a message that may be stored or not: no local change, no second message") {
        Fixture f(options_of(500ms));
        f.checks.answer = [](const MessageView&) { return TransactionOutcome::kRollback; };
        for (const Kind kind : {Kind::kStoreMute, Kind::kStoreCut}) {
            // With a connection, what is sent leaves, however short the deadline.
            f.transactions.on_half({});
            REQUIRE(
                wait_until([&] { return f.producer->begin(message_of("T", "w")).has_value(); }));
            const std::size_t index = f.transactions.halves().size();
            f.transactions.on_half(always({kind}));
            const Result<TransactionReceipt> sent = f.send(TransactionOutcome::kCommit);
            REQUIRE_FALSE(sent);
            CHECK((sent.error().code == Errc::kTimeout || sent.error().code == Errc::kUnknown));
            CHECK(f.local_runs == 0);
            CHECK(wait_until([&] { return f.transactions.halves().size() == index + 1; }));
            CHECK(f.transactions.half(index).words == 0);
            // The broker asks about it, and the application does not know such an order.
            REQUIRE(wait_until(
                [&] { return f.transactions.ask(index) && f.transactions.half(index).words > 0; }));
            CHECK(f.transactions.half(index).outcome == kRolledBack);
        }
    }

    TEST_CASE("a message that was refused goes to another broker, and the change runs once") {
        FakeCluster cluster(2);
        FakeTransactions first(cluster, 0);
        FakeTransactions second(cluster, 1);
        cluster.create_topic("T", 2);
        first.on_half(always({Kind::kRefuse, wire::ResponseCode::kSystemBusy}));
        const auto producer =
            TransactionProducer::create(cluster.connect(), options_of(), [](const MessageView&) {
                return TransactionOutcome::kUnknown;
            }).value();
        int runs = 0;
        for (int i = 0; i < 4; ++i) {
            const Result<TransactionReceipt> sent =
                producer->send(message_of("T", "x"), [&](const Transaction&) {
                    ++runs;
                    return TransactionOutcome::kCommit;
                });
            REQUIRE(sent);
            CHECK(sent->transaction.queue.broker == "broker-b");
        }
        CHECK(runs == 4);
        CHECK(first.halves().empty());
        const std::vector<FakeTransactions::Half> halves = second.halves();
        REQUIRE(halves.size() == 4);
        CHECK(std::all_of(halves.begin(), halves.end(), [](const FakeTransactions::Half& half) {
            return half.outcome == kCommitted;
        }));
    }

    TEST_CASE("an outcome whose confirmation got lost is told again") {
        Fixture f;
        const auto cuts = at_number(0, {Kind::kStoreCut});
        f.transactions.on_end(cuts);
        const Result<TransactionReceipt> sent = f.send(TransactionOutcome::kCommit);
        REQUIRE(sent);
        CHECK(sent->is_confirmed);
        CHECK(f.local_runs == 1);
        CHECK(f.transactions.half(0).words == 2);
        CHECK(f.transactions.half(0).outcome == kCommitted);
    }

    TEST_CASE("an outcome that nobody confirms by the deadline is no error") {
        Fixture f(options_of(300ms));
        for (const SendAction& action :
             {SendAction{Kind::kStoreMute},
              SendAction{Kind::kRefuse, wire::ResponseCode::kSystemBusy}}) {
            f.transactions.on_end(always(action));
            Result<TransactionReceipt> sent = f.send(TransactionOutcome::kCommit);
            REQUIRE(wait_until([&] {
                // So short a deadline may pass before the message is stored.
                sent = sent ? std::move(sent) : f.send(TransactionOutcome::kCommit);
                return sent.has_value();
            }));
            CHECK(sent->outcome == TransactionOutcome::kCommit);
            CHECK_FALSE(sent->is_confirmed);
        }
    }

    TEST_CASE("a transaction that ended the other way is a conflict") {
        Fixture f;
        f.transactions.on_end(always({Kind::kRefuse, wire::ResponseCode::kConflict}));
        CHECK(f.send(TransactionOutcome::kCommit).error().code == Errc::kConflict);
        const Result<Transaction> begun = f.producer->begin(message_of("T", "x"));
        REQUIRE(begun);
        CHECK(f.producer->rollback(*begun).error().code == Errc::kConflict);
    }

    TEST_CASE("many in the background, each done once") {
        constexpr int kCount = 200;
        Fixture f;
        std::atomic<int> done{0};
        std::atomic<int> committed{0};
        for (int i = 0; i < kCount; ++i) {
            REQUIRE(f.producer->send_async(
                message_of("T", std::to_string(i)),
                [i](const Transaction&) {
                    return i % 2 == 0 ? TransactionOutcome::kCommit : TransactionOutcome::kRollback;
                },
                [&](Result<TransactionReceipt> receipt) {
                    committed += receipt && receipt->outcome == TransactionOutcome::kCommit ? 1 : 0;
                    ++done;
                }));
        }
        CHECK(f.producer->close(kPatience));
        CHECK(done == kCount);
        CHECK(committed == kCount / 2);
        for (const FakeTransactions::Half& half : f.transactions.halves()) {
            CHECK(half.outcome == (std::stoi(half.body) % 2 == 0 ? kCommitted : kRolledBack));
        }
    }
}

}  // namespace gantry::client::test

// SPDX-License-Identifier: Apache-2.0
#include "client/consume/answer_check.h"
#include "client/consumer.h"
#include "common/metrics.h"
#include "protocol/wire/record.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <stdexcept>

namespace gantry::client::test {
namespace {

const QueueId kQueue{"T", "broker-a", 0};

/// What a consumer was told, in the order of telling.
class Told {
public:
    OnLost callback() {
        return [this](const LostMessages& lost) {
            const std::lock_guard lock(mutex_);
            runs_.push_back({lost.from, lost.to});
            CHECK(lost.queue == kQueue);
            reason_ = lost.reason;
        };
    }

    std::vector<std::pair<std::int64_t, std::int64_t>> runs() const {
        const std::lock_guard lock(mutex_);
        return runs_;
    }

    LostReason reason() const {
        const std::lock_guard lock(mutex_);
        return reason_;
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::pair<std::int64_t, std::int64_t>> runs_;
    LostReason reason_ = LostReason::kDamagedInStore;
};

using Runs = std::vector<std::pair<std::int64_t, std::int64_t>>;

/// A cluster whose queue has the bodies "0", "1", ... and a client of it.
struct Numbers {
    explicit Numbers(int count) {
        cluster.create_topic("T", 1);
        cluster.run([&] {
            for (int i = 0; i < count; ++i) {
                cluster.broker().store("T", 0, std::to_string(i), i % 2 == 0 ? "even" : "odd");
            }
        });
    }

    void lose(std::int64_t from, std::int64_t to) {
        cluster.run([&] { cluster.broker().lost[{"T", 0}][from] = to; });
    }

    /// Changes the byte at `at` of the record at `offset`, in the first `times` answers.
    void damage(std::int64_t offset, std::size_t at, int times) {
        cluster.run([&] {
            cluster.broker().on_give = [=](std::int64_t given, std::string& record) mutable {
                if (given == offset && times-- > 0) {
                    record[at] = static_cast<char>(record[at] ^ 1);
                }
            };
        });
    }

    PullConsumer::Options options(const std::string& group = {}) {
        PullConsumer::Options options;
        options.group = group;
        options.start_from.kind = StartFrom::Kind::kFirst;
        options.poll_hold = 1s;
        options.on_lost = told.callback();
        return options;
    }

    std::unique_ptr<PullConsumer> consumer(const PullConsumer::Options& options) {
        auto made = PullConsumer::create(client, options).value();
        REQUIRE(made->assign({kQueue}));
        return made;
    }

    /// Polls until the position is `end`; the offsets of what came.
    std::vector<std::int64_t> poll_to(PullConsumer& consumer, std::int64_t end) {
        std::vector<std::int64_t> offsets;
        CHECK(wait_until([&] {
            for (const MessageView& message : consumer.poll(20ms)) {
                offsets.push_back(message.queue_offset());
                CHECK(message.body() == std::to_string(message.queue_offset()));
            }
            return consumer.position(kQueue) >= end;
        }));
        return offsets;
    }

    FakeCluster cluster;
    std::shared_ptr<Client> client = cluster.connect();
    Told told;
};

/// All offsets below `end` but those in `without`.
std::vector<std::int64_t> all_but(std::int64_t end, const std::set<std::int64_t>& without) {
    std::vector<std::int64_t> offsets;
    for (std::int64_t at = 0; at < end; ++at) {
        if (without.count(at) == 0) {
            offsets.push_back(at);
        }
    }
    return offsets;
}

// Where the body "10" of a record lies: behind 84 bytes and its length.
constexpr std::size_t kBodyAt = 88;

}  // namespace

TEST_SUITE("client/lost_messages") {
    TEST_CASE("each hole is told once and exactly, everything else is delivered and committed") {
        Numbers numbers(100);
        numbers.lose(0, 3);
        numbers.lose(40, 60);
        numbers.lose(99, 100);
        auto consumer = numbers.consumer(numbers.options("G"));
        std::set<std::int64_t> gone{0, 1, 2, 99};
        for (std::int64_t at = 40; at < 60; ++at) {
            gone.insert(at);
        }
        CHECK(numbers.poll_to(*consumer, 100) == all_but(100, gone));
        CHECK(numbers.told.runs() == Runs{{0, 3}, {40, 60}, {99, 100}});
        CHECK(numbers.told.reason() == LostReason::kDamagedInStore);
        CHECK(consumer->position(kQueue) == 100);
        REQUIRE(consumer->commit());
        CHECK(consumer->committed(kQueue)->value() == 100);
        CHECK(consumer->out_of_range_count() == 0);
        CHECK(numbers.client->metrics().values().at("gantry_client_lost_messages_total") == 24);
    }

    TEST_CASE("a hole is told when its turn comes, before what is behind it") {
        Numbers numbers(20);
        numbers.lose(10, 12);
        auto consumer = numbers.consumer(numbers.options());
        std::size_t before = 0;
        while (before < 10) {
            before += consumer->poll(50ms, 10 - before).size();
        }
        CHECK(consumer->position(kQueue) == 10);
        CHECK(numbers.told.runs().empty());
        std::vector<MessageView> next;
        REQUIRE(wait_until([&] {
            next = consumer->poll(50ms, 1);
            return !next.empty();
        }));
        CHECK(next.front().queue_offset() == 12);
        CHECK(numbers.told.runs() == Runs{{10, 12}});
    }

    TEST_CASE("going back tells a hole again") {
        Numbers numbers(10);
        numbers.lose(4, 6);
        auto consumer = numbers.consumer(numbers.options());
        numbers.poll_to(*consumer, 10);
        REQUIRE(consumer->seek(kQueue, 5));
        CHECK(numbers.poll_to(*consumer, 10) == std::vector<std::int64_t>{6, 7, 8, 9});
        CHECK(numbers.told.runs() == Runs{{4, 6}, {5, 6}});
    }

    TEST_CASE("a push consumer tells each hole once and commits behind it") {
        Numbers numbers(50);
        numbers.lose(0, 1);
        numbers.lose(20, 22);
        numbers.lose(45, 50);
        PushConsumer::Options options;
        options.group = "G";
        options.start_from.kind = StartFrom::Kind::kFirst;
        options.threads = 3;
        options.commit_interval = 20ms;
        options.on_lost = numbers.told.callback();
        auto consumer = PushConsumer::create(numbers.client, options).value();
        REQUIRE(consumer->subscribe("T"));
        std::mutex mutex;
        std::set<std::string> bodies;
        REQUIRE(consumer->start([&](std::span<const MessageView> messages) {
            const std::lock_guard lock(mutex);
            for (const MessageView& message : messages) {
                bodies.emplace(message.body());
            }
            return ConsumeResult::kSuccess;
        }));
        CHECK(wait_until([&] {
            return numbers.cluster.run([&] {
                return numbers.cluster.broker().committed["G"][{"T", 0}];
            }) == 50;
        }));
        consumer->stop();
        CHECK(bodies.size() == 42);
        Runs runs = numbers.told.runs();
        std::sort(runs.begin(), runs.end());  // threads may overtake one another
        CHECK(runs == Runs{{0, 1}, {20, 22}, {45, 50}});
    }

    TEST_CASE("an exception of on_lost does no harm") {
        Numbers numbers(10);
        numbers.lose(3, 4);
        PullConsumer::Options options = numbers.options();
        options.on_lost = [](const LostMessages&) { throw std::runtime_error("no"); };
        auto consumer = numbers.consumer(options);
        CHECK(numbers.poll_to(*consumer, 10) == all_but(10, {3}));
    }

    TEST_CASE("a body that comes damaged once is asked for again") {
        Numbers numbers(20);
        numbers.damage(10, kBodyAt, 1);
        auto consumer = numbers.consumer(numbers.options());
        CHECK(numbers.poll_to(*consumer, 20) == all_but(20, {}));
        CHECK(numbers.told.runs().empty());
        CHECK(numbers.client->metrics().values().at("gantry_client_corrupt_answers_total") == 1);
    }

    TEST_CASE("a body that stays damaged is told as lost and not delivered") {
        Numbers numbers(20);
        std::int64_t offset = 0;
        SUBCASE("amid others") {
            offset = 10;
        }
        SUBCASE("at the end") {
            offset = 19;
        }
        numbers.damage(offset, kBodyAt, 1'000);
        auto consumer = numbers.consumer(numbers.options("G"));
        CHECK(numbers.poll_to(*consumer, 20) == all_but(20, {offset}));
        CHECK(numbers.told.runs() == Runs{{offset, offset + 1}});
        CHECK(numbers.told.reason() == LostReason::kDamagedInAnswer);
        REQUIRE(consumer->commit());
        CHECK(consumer->committed(kQueue)->value() == 20);
    }

    TEST_CASE("a record without a magic number costs itself alone") {
        Numbers numbers(20);
        numbers.damage(10, wire::record_at::kMagic, 1'000);
        auto consumer = numbers.consumer(numbers.options());
        CHECK(numbers.poll_to(*consumer, 20) == all_but(20, {10}));
        CHECK(numbers.told.runs() == Runs{{10, 11}});
    }

    TEST_CASE("without check_crc a damaged body is delivered, and what is no record is told") {
        Numbers numbers(20);
        PullConsumer::Options options = numbers.options();
        options.check_crc = false;
        SUBCASE("body") {
            numbers.damage(10, kBodyAt, 1'000);
            auto consumer = numbers.consumer(options);
            std::vector<MessageView> all;
            REQUIRE(wait_until([&] {
                for (MessageView& message : consumer->poll(20ms)) {
                    all.push_back(std::move(message));
                }
                return all.size() == 20;
            }));
            CHECK(all[10].body() == "00");
        }
        SUBCASE("magic") {
            numbers.damage(10, wire::record_at::kMagic, 1'000);
            auto consumer = numbers.consumer(options);
            CHECK(numbers.poll_to(*consumer, 20) ==
                  all_but(20, {10, 11, 12, 13, 14, 15, 16, 17, 18, 19}));
            CHECK(numbers.told.runs() == Runs{{10, 20}});
        }
    }

    TEST_CASE("a loss beyond the end of the queue is not believed, and nothing is skipped") {
        Numbers numbers(5);
        numbers.lose(2, 2'000);
        auto consumer = numbers.consumer(numbers.options());
        CHECK(numbers.poll_to(*consumer, 2) == all_but(2, {}));
        const auto pulls = [&] {
            return numbers.cluster.run([&] { return numbers.cluster.broker().pulls.size(); });
        };
        const std::size_t before = pulls();
        CHECK(wait_until([&] { return pulls() > before + 2; }));
        CHECK(consumer->position(kQueue) == 2);
        numbers.cluster.run([&] { numbers.cluster.broker().lost.clear(); });
        CHECK(numbers.poll_to(*consumer, 5) == std::vector<std::int64_t>{2, 3, 4});
        CHECK(numbers.told.runs().empty());
    }

    TEST_CASE("a check of an answer ends before the first damaged record") {
        wire::Record record;
        record.topic = "T";
        const std::string body = "body";
        record.body = as_bytes(body);
        std::string bytes;
        std::size_t size = 0;
        for (std::int64_t at : {5, 6, 9}) {
            record.queue_offset = QueueOffset(at);
            size = wire::record_bytes(record);
            bytes.resize(bytes.size() + size);
            wire::encode_record(
                record, {reinterpret_cast<std::byte*>(bytes.data() + bytes.size() - size), size});
        }
        CHECK(check_answer(as_bytes(bytes), 5, 10).why.empty());
        CHECK(check_answer({}, 5, 10).why.empty());
        bytes[2 * size + kBodyAt] ^= 1;
        AnswerCheck check = check_answer(as_bytes(bytes), 5, 10);
        CHECK(check.good_bytes == 2 * size);
        CHECK(check.bad_from == 9);
        CHECK(check.bad_to == 10);
        CHECK(check.why == "the CRC of its body does not match");
        bytes[size + wire::record_at::kSize] ^= 0x40;
        check = check_answer(as_bytes(bytes), 5, 10);
        CHECK(check.good_bytes == size);
        CHECK(check.bad_from == 6);
        CHECK(check.bad_to == 10);
        CHECK_FALSE(check.why.empty());
    }
}

}  // namespace gantry::client::test

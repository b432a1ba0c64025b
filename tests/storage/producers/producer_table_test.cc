// SPDX-License-Identifier: Apache-2.0
#include "storage/producers/producer_table.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

constexpr WallMs kStart = 1'700'000'000'000;

/// A table, and a log that is only counted.
class Fixture {
public:
    /// Sends a frame; each message takes 100 bytes and a queue offset.
    Result<Appended> send(wire::SendNumber number,
                          std::uint32_t count = 1,
                          const std::string& topic = "t",
                          std::int32_t queue = 0) {
        return table.in_turn({number, topic, queue, count}, now, [&]() -> Result<Appended> {
            if (refusal) {
                return *refusal;
            }
            Appended appended;
            appended.first = end;
            end += std::int64_t{100} * count;
            appended.end = end;
            appended.queue_offset = next;
            next += count;
            appended.count = count;
            appended.store_ms = now;
            ++appends;
            return appended;
        });
    }

    Errc error_of(wire::SendNumber number, std::uint32_t count = 1) {
        const int before = appends;
        const auto sent = send(number, count);
        REQUIRE_FALSE(sent);
        CHECK(appends == before);
        return sent.error().code;
    }

    ProducerTable table;
    std::optional<Error> refusal;
    WallMs now = kStart;
    LogOffset end;
    QueueOffset next;
    int appends = 0;
};

/// The same place, said to be a repeat.
bool is_repeat_of(const Result<Appended>& again, const Appended& first) {
    return again && again->is_repeat && again->first == first.first && again->end == first.end &&
           again->queue_offset == first.queue_offset && again->count == first.count &&
           again->store_ms == first.store_ms;
}

}  // namespace

TEST_SUITE("storage/producers/producer_table") {
    TEST_CASE_FIXTURE(Fixture, "a frame that comes again is answered as the first time") {
        const Appended a = send({1, 0, 0}, 3).value();
        CHECK_FALSE(a.is_repeat);
        const Appended b = send({1, 0, 3}).value();
        CHECK(is_repeat_of(send({1, 0, 0}, 3), a));
        CHECK(is_repeat_of(send({1, 0, 3}), b));
        CHECK(is_repeat_of(send({1, 0, 0}, 3), a));
        CHECK_FALSE(send({1, 0, 4}, 2).value().is_repeat);
        CHECK(appends == 3);
        CHECK(table.size() == 1);
    }

    TEST_CASE_FIXTURE(Fixture, "what is out of turn is refused, and changes nothing") {
        REQUIRE(send({1, 0, 0}, 3));
        CHECK(error_of({1, 0, 4}) == Errc::kConflict);
        CHECK(error_of({1, 0, 1}) == Errc::kRefused);     // part of a frame
        CHECK(error_of({1, 0, 0}, 4) == Errc::kRefused);  // a longer one
        CHECK(error_of({2, 0, 1}) == Errc::kGone);        // of nobody
        CHECK(error_of({1, 1, 3}) == Errc::kGone);        // an epoch begins with 0
        CHECK_FALSE(send({1, 0, 3}).value().is_repeat);
    }

    TEST_CASE_FIXTURE(Fixture, "an append that fails leaves the number to be sent again") {
        refusal = Error{Errc::kDiskFull, "full"};
        CHECK(error_of({1, 0, 0}) == Errc::kDiskFull);
        CHECK(table.size() == 0);
        refusal.reset();
        CHECK_FALSE(send({1, 0, 0}).value().is_repeat);
        refusal = Error{Errc::kDiskFull, "full"};
        CHECK(error_of({1, 0, 1}) == Errc::kDiskFull);
        CHECK(error_of({1, 0, 2}) == Errc::kConflict);
        refusal.reset();
        CHECK_FALSE(send({1, 0, 1}).value().is_repeat);
    }

    TEST_CASE_FIXTURE(Fixture, "a later epoch ends the earlier one") {
        REQUIRE(send({1, 0, 0}, 5));
        const Appended first = send({1, 1, 0}, 2).value();
        CHECK_FALSE(first.is_repeat);
        CHECK(error_of({1, 0, 5}) == Errc::kGone);
        CHECK(error_of({1, 0, 0}, 5) == Errc::kGone);
        CHECK(is_repeat_of(send({1, 1, 0}, 2), first));
        CHECK_FALSE(send({1, 7, 0}).value().is_repeat);
    }

    TEST_CASE_FIXTURE(Fixture, "producers, topics and queues have numbers of their own") {
        REQUIRE(send({1, 0, 0}));
        CHECK_FALSE(send({2, 0, 0}).value().is_repeat);
        CHECK_FALSE(send({1, 0, 0}, 1, "u").value().is_repeat);
        CHECK_FALSE(send({1, 0, 0}, 1, "t", 1).value().is_repeat);
        CHECK(send({1, 0, 0}, 1, "t", 1).value().is_repeat);
        CHECK(table.size() == 4);
        table.remove_topic("t");
        CHECK(table.size() == 1);
        CHECK(send({1, 0, 0}, 1, "u").value().is_repeat);
        CHECK_FALSE(send({1, 0, 0}).value().is_repeat);
    }

    TEST_CASE_FIXTURE(Fixture, "only the newest frames' places are kept") {
        constexpr std::int64_t kFrames = 40;
        for (std::int64_t i = 0; i < kFrames; ++i) {
            REQUIRE(send({1, 0, i}));
        }
        const std::int64_t kept = static_cast<std::int64_t>(ProducerTable::kFramesKept);
        CHECK(send({1, 0, kFrames - kept}).value().is_repeat);
        CHECK(error_of({1, 0, kFrames - kept - 1}) == Errc::kUnknown);
        CHECK(error_of({1, 0, 0}) == Errc::kUnknown);
    }

    TEST_CASE_FIXTURE(Fixture, "what is idle for too long is forgotten") {
        table.set_limits({.idle_ms = 1'000'000});
        REQUIRE(send({1, 0, 0}));
        now += 999'999;
        REQUIRE(send({1, 0, 1}));
        now += 1'000'000;
        CHECK(error_of({1, 0, 2}) == Errc::kGone);
        CHECK(table.size() == 0);
        CHECK_FALSE(send({1, 1, 0}).value().is_repeat);
    }

    TEST_CASE_FIXTURE(Fixture, "at the limit, who was not there for long goes, nobody else") {
        table.set_limits({.queues_max = 1});
        REQUIRE(send({1, 0, 0}));
        CHECK(error_of({2, 0, 0}) == Errc::kBusy);
        const auto refused = send({2, 0, 0});
        CHECK(refused.error().detail.find("limits.producer_queues_max 1") != std::string::npos);
        REQUIRE(send({1, 0, 1}));
        now += ProducerTable::kKeptMs;
        // One of those whose stripe it is takes its place.
        std::uint64_t producer = 2;
        while (!send({producer, 0, 0})) {
            REQUIRE(++producer < 10'000);
        }
        CHECK(table.size() == 1);
        CHECK(error_of({1, 0, 2}) == Errc::kGone);
    }

    TEST_CASE_FIXTURE(Fixture, "a snapshot brings it all back") {
        std::vector<Appended> places;
        for (std::int64_t i = 0; i < 20; ++i) {
            places.push_back(send({1, 3, i}, 1, "a").value());
        }
        REQUIRE(send({9, 0, 0}, 2, "b", 3));
        wire::ProducerStates saved;
        table.save(saved);
        CHECK(saved.end() == end.value);
        Fixture other;
        REQUIRE(other.table.restore(saved));
        other.end = end;
        other.next = next;
        CHECK(other.table.size() == table.size());
        CHECK(is_repeat_of(other.send({1, 3, 19}, 1, "a"), places[19]));
        CHECK(is_repeat_of(other.send({1, 3, 4}, 1, "a"), places[4]));
        const auto early = other.send({1, 3, 21}, 1, "a");
        REQUIRE_FALSE(early);
        CHECK(early.error().code == Errc::kConflict);
        CHECK(other.send({9, 0, 0}, 2, "b", 3).value().is_repeat);
        CHECK_FALSE(other.send({1, 3, 20}, 1, "a").value().is_repeat);
    }

    TEST_CASE_FIXTURE(Fixture, "a snapshot that makes no sense is refused") {
        wire::ProducerStates saved;
        saved.add_topics("t");
        wire::ProducerQueue& queue = *saved.add_queues();
        SUBCASE("topic") {
            queue.set_topic(1);
        }
        SUBCASE("queue") {
            queue.set_queueid(-1);
        }
        SUBCASE("number") {
            queue.set_next(-1);
        }
        const Status restored = table.restore(saved);
        REQUIRE_FALSE(restored);
        CHECK(restored.error().code == Errc::kCorrupt);
    }

    TEST_CASE_FIXTURE(Fixture, "to replay frames is to have stored them, twice is once") {
        std::vector<std::pair<NumberedSend, Appended>> log;
        for (std::int64_t i = 0; i < 20; ++i) {
            const NumberedSend send_of{{1, i < 10 ? 0U : 1U, i % 10 * 2}, "t", 0, 2};
            log.emplace_back(send_of, send(send_of.number, 2).value());
        }
        Fixture other;
        for (int round = 0; round < 2; ++round) {
            for (const auto& [send_of, stored] : log) {
                other.table.replay(send_of, stored);
            }
        }
        CHECK(is_repeat_of(other.send({1, 1, 18}, 2), log.back().second));
        CHECK(is_repeat_of(other.send({1, 1, 0}, 2), log[10].second));
        CHECK(other.error_of({1, 0, 18}, 2) == Errc::kGone);
        CHECK(other.error_of({1, 1, 22}) == Errc::kConflict);
        CHECK_FALSE(other.send({1, 1, 20}).value().is_repeat);
    }

    TEST_CASE_FIXTURE(Fixture,
                      "frames behind a cut of the log are forgotten, those before it not") {
        const Appended first = send({1, 0, 0}, 2).value();
        REQUIRE(send({1, 0, 2}, 2));
        REQUIRE(send({2, 0, 0}));
        table.remove_behind(first.end);
        CHECK(table.size() == 1);
        CHECK(is_repeat_of(send({1, 0, 0}, 2), first));
        CHECK_FALSE(send({1, 0, 2}, 2).value().is_repeat);
        CHECK_FALSE(send({2, 0, 0}).value().is_repeat);
    }
}

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/index/consume_queues.h"

#include "common/mutex.h"
#include "storage/index/extent_files.h"
#include "tests/storage/queue_fixture.h"

#include <doctest/doctest.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

/// The end of a log that several threads append to.
class SharedLog {
public:
    struct Place {
        QueueOffset at;
        std::int64_t log_at = 0;
    };

    /// The next message's place, in the queue and in the log; none when the queue gets no room.
    std::optional<Place> reserve(QueueIndex& queue) {
        do {
            const MutexLock lock(mutex_);
            if (queue.has_room(1)) {
                return Place{queue.reserve(1), std::exchange(end_, end_ + kMessageBytes)};
            }
        } while (queue.ensure_room(1));
        return std::nullopt;
    }

private:
    Mutex mutex_;
    std::int64_t end_ GANTRY_GUARDED_BY(mutex_) = 0;
};

}  // namespace

TEST_SUITE("storage/consume_queues") {
    TEST_CASE("units are read back over all extent classes and survive a flush and reopening") {
        QueueFixture f;
        QueueIndex& queue = f.queues->queue("orders", 3);
        constexpr std::int64_t kCount = 200'000;
        for (std::int64_t i = 0; i < kCount; ++i) {
            f.append(queue);
        }
        const auto is_whole = [&](const QueueIndex& q) {
            const std::vector<QueueUnit> units = all_units(q);
            REQUIRE(units.size() == kCount);
            for (std::int64_t i = 0; i < kCount; ++i) {
                if (units[static_cast<std::size_t>(i)] != unit_at_log(i * kMessageBytes)) {
                    return false;
                }
            }
            return true;
        };
        CHECK(is_whole(queue));
        f.flush();
        CHECK_FALSE(f.open().needs_rebuild);
        QueueIndex* const again = f.queues->find("orders", 3);
        REQUIRE(again != nullptr);
        CHECK(is_whole(*again));
        CHECK(f.queues->find("orders", 2) == nullptr);
        CHECK(f.queues->find("order", 3) == nullptr);
        f.append(*again, 5);
        CHECK(again->max() == QueueOffset(kCount + 5));
    }

    TEST_CASE("readers see no unit before it is published, and none outside min and max") {
        QueueFixture f;
        QueueIndex& queue = f.queues->queue("t", 0);
        CHECK_FALSE(queue.has_room(1));
        REQUIRE(queue.ensure_room(2).has_value());
        const QueueOffset first = queue.reserve(2);
        queue.put(first, unit_at_log(0));
        CHECK_FALSE(queue.unit_at(first).has_value());
        queue.put(first + 1, unit_at_log(100));
        queue.publish(first + 1);
        CHECK(queue.unit_at(first) == unit_at_log(0));
        CHECK_FALSE(queue.unit_at(first + 1).has_value());
        CHECK_FALSE(queue.unit_at(QueueOffset(-1)).has_value());
        std::vector<QueueUnit> units(10);
        CHECK(queue.read(first, units) == 1);
    }

    TEST_CASE("a batch larger than any extent gets room at once") {
        QueueFixture f;
        QueueIndex& queue = f.queues->queue("t", 0);
        f.append(queue, 120'000);
        const std::vector<QueueUnit> units = all_units(queue);
        CHECK(units.size() == 120'000);
        CHECK(units.back() == unit_at_log(119'999 * kMessageBytes));
    }

    TEST_CASE("a queue is searched by log offset") {
        QueueFixture f;
        QueueIndex& queue = f.queues->queue("t", 0);
        CHECK(queue.lower_bound(LogOffset(5)) == QueueOffset(0));
        f.append(queue, 1'000);
        CHECK(queue.lower_bound(LogOffset(0)) == QueueOffset(0));
        CHECK(queue.lower_bound(LogOffset(50'000)) == QueueOffset(500));
        CHECK(queue.lower_bound(LogOffset(50'001)) == QueueOffset(501));
        CHECK(queue.lower_bound(LogOffset(1'000'000)) == QueueOffset(1'000));
    }

    TEST_CASE("a deleted topic's queues are empty, refuse room, and begin again at offset 0") {
        QueueFixture f;
        QueueIndex& old = f.queues->queue("t", 0);
        f.append(old, 300);
        f.queues->seal("t");
        CHECK_FALSE(old.has_room(1));
        CHECK(old.ensure_room(1).error().code == Errc::kNotFound);
        CHECK(all_units(old).size() == 300);
        f.queues->unseal("t");
        f.append(old, 1);
        f.queues->drop("t");
        CHECK_FALSE(old.has_room(1));
        CHECK(old.min() == old.max());
        CHECK(f.queues->find("t", 0) == nullptr);
        QueueIndex& fresh = f.queues->queue("t", 0);
        CHECK(&fresh != &old);
        f.append(fresh, 2);
        CHECK(fresh.max() == QueueOffset(2));
        CHECK(f.queues->queue_count() == 1);
        f.flush();
        f.open();
        REQUIRE(f.queues->find("t", 0) != nullptr);
        CHECK(f.queues->find("t", 0)->max() == QueueOffset(2));
    }

    TEST_CASE("a reservation made before the drop may still be put and published") {
        QueueFixture f;
        QueueIndex& queue = f.queues->queue("t", 0);
        REQUIRE(queue.ensure_room(3).has_value());
        const QueueOffset first = queue.reserve(3);
        f.queues->drop("t");
        for (int i = 0; i < 3; ++i) {
            queue.put(first + i, unit_at_log(i * kMessageBytes));
        }
        queue.publish(first + 3);
        f.flush();
        CHECK(queue.min() == queue.max());
    }

    TEST_CASE("extents of dropped queues are used again, but not before a flush") {
        QueueFixture f;
        f.helper_thread = false;
        f.open();
        f.append(f.queues->queue("old", 0), 100'000);
        const std::uint64_t bytes = f.queues->file_bytes();
        f.queues->drop("old");
        f.append(f.queues->queue("new", 0), 100'000);
        CHECK(f.queues->file_bytes() > bytes);
        f.queues->drop("new");
        f.flush();
        const std::uint64_t grown = f.queues->file_bytes();
        for (int i = 0; i < 5; ++i) {
            f.append(f.queues->queue("next", 0), 100'000);
            f.queues->drop("next");
            f.flush();
        }
        CHECK(f.queues->file_bytes() == grown);
    }

    TEST_CASE("min moves past removed messages and their extents are given back") {
        QueueFixture f;
        f.helper_thread = false;
        f.open();
        for (int round = 0; round < 30; ++round) {
            f.append(f.queues->queue("t", 0), 52'000);
            f.queues->advance_min(LogOffset(f.log_end - 100 * kMessageBytes));
            CHECK(f.queues->queue("t", 0).min() == f.queues->queue("t", 0).max() - 100);
            f.flush();
        }
        CHECK(f.queues->file_bytes() < 16U << 20U);
        const QueueIndex& queue = f.queues->queue("t", 0);
        CHECK_FALSE(queue.unit_at(queue.min() - 1).has_value());
        CHECK(queue.unit_at(queue.min()) == unit_at_log(f.log_end - 100 * kMessageBytes));
        const QueueOffset min = queue.min();
        f.open();
        CHECK(f.queues->queue("t", 0).min() == min);
        CHECK(all_units(f.queues->queue("t", 0)).size() == 100);
    }

    TEST_CASE("100 queues of 1 topic and 100 topics of 1 queue are listed with their ends") {
        QueueFixture f;
        for (int i = 0; i < 100; ++i) {
            f.append(f.queues->queue("wide", i), static_cast<std::uint32_t>(i + 1));
            f.append(f.queues->queue("t" + std::to_string(i), 0));
        }
        f.flush();
        f.open();
        std::int64_t units = 0;
        std::size_t queues = 0;
        f.queues->for_each([&](std::string_view topic, std::int32_t id, QueueIndex& queue) {
            ++queues;
            units += queue.max() - queue.min();
            CHECK(queue.max() == QueueOffset(topic == "wide" ? id + 1 : 1));
        });
        CHECK(queues == 200);
        CHECK(f.queues->queue_count() == 200);
        CHECK(units == 5'050 + 100);
    }

    TEST_CASE("several threads fill reserved places of one queue while readers follow") {
        QueueFixture f;
        QueueIndex& queue = f.queues->queue("t", 0);
        constexpr int kWriters = 3;
        constexpr std::int64_t kEach = 8'000;
        SharedLog log;
        std::atomic<std::int64_t> published{0};
        std::vector<std::thread> threads;
        for (int w = 0; w < kWriters; ++w) {
            threads.emplace_back([&] {
                for (std::int64_t i = 0; i < kEach; ++i) {
                    const auto place = log.reserve(queue);
                    if (!place) {
                        return;
                    }
                    queue.put(place->at, unit_at_log(place->log_at));
                    while (published.load(std::memory_order_acquire) != place->at.value) {
                        std::this_thread::yield();
                    }
                    queue.publish(place->at + 1);
                    published.store(place->at.value + 1, std::memory_order_release);
                }
            });
        }
        std::int64_t wrong = 0;
        std::int64_t seen = 0;
        std::vector<QueueUnit> units(257);
        while (seen < kWriters * kEach) {
            const std::size_t count = queue.read(QueueOffset(seen), units);
            for (std::size_t i = 0; i < count; ++i, ++seen) {
                wrong += static_cast<int>(units[i] != unit_at_log(seen * kMessageBytes));
            }
            if (count == 0) {
                std::this_thread::yield();
            }
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        CHECK(wrong == 0);
        CHECK(queue.max() == QueueOffset(kWriters * kEach));
    }

    TEST_CASE("queues are appended to, read, dropped and flushed by threads at the same time") {
        QueueFixture f;
        std::atomic<bool> is_done{false};
        std::atomic<std::int64_t> log_end{0};
        std::thread flusher([&] {
            while (!is_done) {
                if (!f.queues->flush([&] { return LogOffset(log_end.load()); },
                                     [](LogOffset) { return ok(); })) {
                    return;
                }
                f.queues->advance_min(LogOffset(log_end.load() / 2));
            }
        });
        std::thread reader([&] {
            std::vector<QueueUnit> units(64);
            while (!is_done) {
                for (int i = 0; i < 4; ++i) {
                    const QueueIndex& queue = f.queues->queue("t" + std::to_string(i), 0);
                    static_cast<void>(queue.read(queue.min(), units));
                    static_cast<void>(queue.lower_bound(LogOffset(log_end.load() / 2)));
                }
            }
        });
        for (int round = 0; round < 400; ++round) {
            const std::string topic = "t" + std::to_string(round % 4);
            QueueIndex& queue = f.queues->queue(topic, 0);
            REQUIRE(queue.ensure_room(100).has_value());
            const QueueOffset first = queue.reserve(100);
            for (int i = 0; i < 100; ++i) {
                queue.put(first + i, unit_at_log(log_end.load()));
                log_end += kMessageBytes;
            }
            queue.publish(first + 100);
            if (round % 37 == 0) {
                f.queues->drop(topic);
            }
        }
        is_done = true;
        flusher.join();
        reader.join();
        CHECK(f.queues
                  ->flush([&] { return LogOffset(log_end.load()); }, [](LogOffset) { return ok(); })
                  .has_value());
    }
}

}  // namespace gantry::storage

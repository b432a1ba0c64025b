// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"
#include "storage/index/consume_queues.h"
#include "storage/index/extent_files.h"
#include "tests/storage/queue_fixture.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

/// What the queues should hold: per (topic, id) the first offset kept and all units since.
struct Model {
    struct Queue {
        std::int64_t min = 0;
        std::vector<QueueUnit> units;  ///< of offset min and up

        std::int64_t max() const { return min + static_cast<std::int64_t>(units.size()); }
    };

    std::map<std::pair<std::string, std::int32_t>, Queue> queues;

    void drop(const std::string& topic) {
        for (auto at = queues.begin(); at != queues.end();) {
            at = at->first.first == topic ? queues.erase(at) : std::next(at);
        }
    }

    void advance_min(LogOffset first) {
        for (auto& [name, queue] : queues) {
            while (!queue.units.empty() && queue.units.front().at < first) {
                queue.units.erase(queue.units.begin());
                ++queue.min;
            }
        }
    }
};

/// A log of everything that happened, for replay.
struct Event {
    std::int64_t at = 0;
    std::string topic;
    std::int32_t id = 0;
    std::int64_t queue_offset = 0;
    bool is_drop = false;
};

struct World : QueueFixture {
    Model model;
    std::vector<Event> log;
    std::int64_t checkpoint = 0;
    std::int64_t first = 0;

    void append(const std::string& topic, std::int32_t id, std::uint32_t count) {
        Model::Queue& expected = model.queues[{topic, id}];
        for (std::uint32_t i = 0; i < count; ++i) {
            const std::int64_t at = log_end + static_cast<std::int64_t>(i) * kMessageBytes;
            log.push_back({at, topic, id, expected.max(), false});
            expected.units.push_back(unit_at_log(at));
        }
        QueueFixture::append(queues->queue(topic, id), count);
    }

    void drop(const std::string& topic) {
        log.push_back({log_end, topic, 0, 0, true});
        log_end += kMessageBytes;
        queues->drop(topic);
        model.drop(topic);
    }

    void advance_min(LogOffset to) {
        first = to.value;
        queues->advance_min(to);
        model.advance_min(to);
    }

    /// Retention never passes the checkpoint.
    void retain(Random& random) {
        const auto room = static_cast<std::uint64_t>(checkpoint - first);
        advance_min(LogOffset(first + static_cast<std::int64_t>(random.below(room + 1))));
    }

    void checkpoint_now() {
        const std::int64_t from = log_end;
        flush();
        checkpoint = from;
    }

    /// A kill, then recovery from the checkpoint or from the log's first record.
    void crash() {
        const std::int64_t from = open().needs_rebuild ? first : checkpoint;
        for (const Event& event : log) {
            if (event.at < from) {
                continue;
            }
            if (event.is_drop) {
                queues->drop(event.topic);
            } else {
                REQUIRE(queues->queue(event.topic, event.id)
                            .restore(QueueOffset(event.queue_offset), unit_at_log(event.at))
                            .has_value());
            }
        }
        queues->truncate_after(LogOffset(log_end));
        queues->advance_min(LogOffset(first));
    }

    void check() {
        for (const auto& [name, expected] : model.queues) {
            QueueIndex* const queue = queues->find(name.first, name.second);
            if (expected.units.empty()) {
                continue;
            }
            REQUIRE(queue != nullptr);
            REQUIRE(queue->min().value == expected.min);
            REQUIRE(queue->max().value == expected.max());
            REQUIRE(all_units(*queue) == expected.units);
        }
        queues->for_each([&](std::string_view topic, std::int32_t id, QueueIndex& queue) {
            if (queue.max() > queue.min()) {
                REQUIRE(model.queues.count({std::string(topic), id}) == 1);
            }
        });
    }
};

void random_run(std::uint64_t seed, int steps) {
    Random random(seed);
    World world;
    world.helper_thread = random.below(2) == 0;
    for (int step = 0; step < steps; ++step) {
        const std::string topic = "t" + std::to_string(random.below(4));
        const auto id = static_cast<std::int32_t>(random.below(3));
        switch (random.below(16)) {
            case 0:
                world.drop(topic);
                break;
            case 1:
                world.retain(random);
                break;
            case 2:
                world.checkpoint_now();
                break;
            case 3:
                world.crash();
                world.check();
                break;
            default:
                world.append(topic, id, 1 + static_cast<std::uint32_t>(random.below(400)));
                break;
        }
    }
    world.check();
    world.crash();
    world.check();
}

/// 20 queues with units in several extents, flushed.
void fill(QueueFixture& f) {
    for (int i = 0; i < 20; ++i) {
        f.append(f.queues->queue("t", i), 10);
        f.append(f.queues->queue("t", i), 500);
    }
    f.flush();
}

}  // namespace

TEST_SUITE("storage/consume_queues recovery") {
    TEST_CASE("random appends, drops, retention, checkpoints and crashes equal a simple model") {
        const std::uint64_t seed = test_seed();
        for (std::uint64_t i = 0; i < 8; ++i) {
            random_run(seed + i, 200);
        }
    }

    TEST_CASE("replay from the checkpoint again changes nothing") {
        QueueFixture f;
        QueueIndex& queue = f.queues->queue("t", 0);
        f.append(queue, 100);
        f.flush();
        for (std::int64_t i = 50; i < 100; ++i) {
            REQUIRE(queue.restore(QueueOffset(i), unit_at_log(i * kMessageBytes)).has_value());
        }
        CHECK(queue.max() == QueueOffset(100));
        CHECK(queue.next() == QueueOffset(100));
        CHECK(all_units(queue).back() == unit_at_log(99 * kMessageBytes));
    }

    TEST_CASE("a deletion that the log could not make durable is in no directory") {
        QueueFixture f;
        f.append(f.queues->queue("t", 0), 10);
        f.flush();
        f.queues->drop("t");
        const Status flushed = f.queues->flush([&] { return LogOffset(f.log_end); },
                                               [](LogOffset) {
                                                   return Status(Error{Errc::kReadOnly, "no sync"});
                                               });
        CHECK_FALSE(flushed.has_value());
        f.open();
        CHECK(all_units(f.queues->queue("t", 0)).size() == 10);
    }

    TEST_CASE("units of messages beyond the recovered end of the log are cut") {
        QueueFixture f;
        f.append(f.queues->queue("a", 0), 5'000);
        f.append(f.queues->queue("b", 0), 10);
        f.flush();
        f.open();
        const std::int64_t end = 100 * kMessageBytes;
        f.queues->truncate_after(LogOffset(end));
        CHECK(f.queues->queue("a", 0).max() == QueueOffset(100));
        CHECK(f.queues->queue("b", 0).max() == QueueOffset(0));
        f.log_end = end;
        f.append(f.queues->queue("a", 0), 200);
        CHECK(all_units(f.queues->queue("a", 0)).back() == unit_at_log(299 * kMessageBytes));
        f.flush();
        f.open();
        CHECK(all_units(f.queues->queue("a", 0)).size() == 300);
    }

    TEST_CASE("a gap in the log is filled with holes, a queue that begins later begins there") {
        QueueFixture f;
        QueueIndex& queue = f.queues->queue("t", 0);
        REQUIRE(queue.restore(QueueOffset(1'000), unit_at_log(0)).has_value());
        CHECK(queue.min() == QueueOffset(1'000));
        REQUIRE(queue.restore(QueueOffset(1'003), unit_at_log(300)).has_value());
        const std::vector<QueueUnit> units = all_units(queue);
        REQUIRE(units.size() == 4);
        CHECK_FALSE(units[0].is_hole());
        CHECK(units[1].is_hole());
        CHECK(units[2].is_hole());
        CHECK(units[3] == unit_at_log(300));
        CHECK(queue.restore(QueueOffset(5), unit_at_log(500)).has_value());
        CHECK(queue.max() == QueueOffset(1'004));
        const Status far = queue.restore(QueueOffset(1'004 + QueueIndex::kGapMax + 1), {});
        CHECK(far.error().code == Errc::kCorrupt);
        CHECK(queue.restore(QueueOffset(-1), {}).error().code == Errc::kCorrupt);
        CHECK(queue.restore(QueueOffset(INT64_MAX), {}).error().code == Errc::kCorrupt);
    }

    TEST_CASE("a missing directory asks for a rebuild and forgets the extents") {
        QueueFixture f;
        fill(f);
        f.queues.reset();
        std::filesystem::remove(f.directory() / "directory");
        const auto opened = f.open();
        CHECK(opened.needs_rebuild);
        CHECK(opened.rebuild_reason.empty());
        CHECK(f.queues->queue_count() == 0);
    }

    TEST_CASE("any flipped bit or lost byte of the directory asks for a rebuild") {
        QueueFixture f;
        Random random(test_seed());
        for (int i = 0; i < 6; ++i) {
            fill(f);
            f.queues.reset();
            const auto path = f.directory() / "directory";
            const auto size = std::filesystem::file_size(path);
            if (i % 2 == 0) {
                flip_bit(path, random.below(size));
            } else {
                std::filesystem::resize_file(path, random.below(size));
            }
            const auto opened = f.open();
            CHECK(opened.needs_rebuild);
            CHECK_FALSE(opened.rebuild_reason.empty());
            CHECK(f.queues->queue_count() == 0);
            f.append(f.queues->queue("t", 0), 10);
            CHECK(all_units(f.queues->queue("t", 0)).size() == 10);
        }
    }

    TEST_CASE("a flipped bit in an extent header in use asks for a rebuild") {
        QueueFixture f;
        f.helper_thread = false;
        f.open();
        for (const std::uint64_t byte : {0U, 5U, 11U, 20U, 31U, 40U, 57U, 63U}) {
            fill(f);
            f.queues.reset();
            // The first block is cut into extents of 1 KiB, one for each queue.
            flip_bit(f.directory() / "00000000", 4'096 + 7 * 1'024 + byte);
            const auto opened = f.open();
            CHECK(opened.needs_rebuild);
            CHECK(opened.rebuild_reason.find("extent header") != std::string::npos);
        }
    }

    TEST_CASE("a damaged, short or missing extent file asks for a rebuild") {
        QueueFixture f;
        for (int damage = 0; damage < 4; ++damage) {
            fill(f);
            f.queues.reset();
            const auto path = f.directory() / "00000000";
            if (damage == 0) {
                flip_bit(path, 13);
            } else if (damage == 1) {
                std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
            } else if (damage == 2) {
                std::filesystem::resize_file(path, 7);
            } else {
                std::filesystem::remove(path);
            }
            const auto opened = f.open();
            CHECK(opened.needs_rebuild);
            CHECK_FALSE(opened.rebuild_reason.empty());
            f.append(f.queues->queue("t", 0), 10);
            f.flush();
        }
    }

    TEST_CASE("a file that was being made at the crash harms nothing") {
        QueueFixture f;
        f.helper_thread = false;
        f.open();
        f.append(f.queues->queue("t", 0), 10);
        f.flush();
        f.queues.reset();
        std::ofstream(f.directory() / "00000001") << "half a header";
        CHECK_FALSE(f.open().needs_rebuild);
        f.append(f.queues->queue("t", 0), 200'000);
        f.flush();
        CHECK_FALSE(f.open().needs_rebuild);
        CHECK(all_units(f.queues->queue("t", 0)).size() == 200'010);
    }

    TEST_CASE("queues made after the last flush are known again only by replay") {
        QueueFixture f;
        f.append(f.queues->queue("old", 0), 10);
        f.flush();
        f.append(f.queues->queue("new", 0), 10);
        f.append(f.queues->queue("old", 0), 1'000);
        CHECK_FALSE(f.open().needs_rebuild);
        CHECK(f.queues->find("new", 0) == nullptr);
        CHECK(f.queues->queue("old", 0).max() == QueueOffset(10));
        f.append(f.queues->queue("newer", 0), 10);
        f.flush();
        f.open();
        CHECK(f.queues->find("newer", 0) != nullptr);
    }
}

}  // namespace gantry::storage

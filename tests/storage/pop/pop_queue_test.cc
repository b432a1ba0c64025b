// SPDX-License-Identifier: Apache-2.0
#include "storage/pop/pop_queue.h"

#include "common/random.h"
#include "tests/wire/seed.h"

#include <doctest/doctest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace gantry::storage {
namespace {

OffsetSpan span(std::int64_t from, std::int64_t end) {
    return {QueueOffset(from), QueueOffset(end)};
}

PopLease lease(std::int64_t from, std::int64_t end, WallMs until, WallMs pop, int deliveries = 1) {
    return {span(from, end), until, pop, deliveries};
}

/// One message, as the queue should see it.
struct Owned {
    WallMs until = 0;
    WallMs pop = 0;
    int deliveries = 0;

    bool operator==(const Owned&) const = default;
};

/// Message by message what PopQueue keeps by runs.
struct Model {
    std::map<std::int64_t, Owned> owned;
    std::int64_t next = 0;

    std::int64_t committed() const { return owned.empty() ? next : owned.begin()->first; }

    void hand_out(const PopLease& lease) {
        for (std::int64_t at = lease.span.from.value; at < lease.span.end.value; ++at) {
            owned[at] = {lease.until_ms, lease.pop_ms, lease.deliveries};
        }
        next = std::max(next, lease.span.end.value);
    }

    template <class Each>
    std::int64_t each_of(OffsetSpan span, WallMs pop, Each each) {
        std::int64_t count = 0;
        for (std::int64_t at = span.from.value; at < span.end.value; ++at) {
            const auto found = owned.find(at);
            if (found != owned.end() && found->second.pop == pop) {
                ++count;
                each(found);
            }
        }
        return count;
    }
};

std::map<std::int64_t, Owned> messages_of(const PopQueue& queue) {
    std::map<std::int64_t, Owned> all;
    for (const PopLease& lease : queue.leases()) {
        for (std::int64_t at = lease.span.from.value; at < lease.span.end.value; ++at) {
            CHECK(all.count(at) == 0);
            all[at] = {lease.until_ms, lease.pop_ms, lease.deliveries};
        }
    }
    return all;
}

void check_same(const PopQueue& queue, const Model& model) {
    CHECK(messages_of(queue) == model.owned);
    CHECK(queue.next().value == model.next);
    CHECK(queue.committed().value == model.committed());
    CHECK(queue.in_flight() == static_cast<std::int64_t>(model.owned.size()));
}

/// The queue, its model, and what the log says of it.
struct World {
    PopQueue queue{QueueOffset(0), 1};
    PopQueue logged{QueueOffset(0), 1};
    Model model;
    WallMs now = 1'000;
    WallMs last_pop = 0;

    void write(bool fails) {
        wire::PopPut put;
        queue.write_changes(put);
        REQUIRE(check_pop(put));
        if (fails) {
            queue.write_failed();
            return;
        }
        std::string bytes = put.SerializeAsString();
        wire::PopPut read;
        REQUIRE(read.ParseFromString(bytes));
        logged.apply(read);
        CHECK_FALSE(queue.has_changes());
        check_same(logged, model);
    }
};

OffsetSpan random_span(const World& world, Random& random) {
    const auto next = static_cast<std::uint64_t>(world.model.next);
    const auto from = static_cast<std::int64_t>(random.below(next + 1));
    return span(from, from + static_cast<std::int64_t>(random.below(12)));
}

WallMs random_receipt(const World& world, Random& random) {
    if (world.model.owned.empty() || random.below(5) == 0) {
        return static_cast<WallMs>(random.below(static_cast<std::uint64_t>(world.last_pop) + 1));
    }
    const auto at = random.below(world.model.owned.size());
    return std::next(world.model.owned.begin(), static_cast<std::ptrdiff_t>(at))->second.pop;
}

/// Hands out what is due, which must be nobody's, or else new messages.
void pop(World& world, Random& random) {
    world.last_pop = std::max(world.now, world.last_pop + 1);
    const WallMs until = world.last_pop + static_cast<WallMs>(random.below(300));
    const auto count = static_cast<std::int64_t>(1 + random.below(8));
    const std::optional<PopLease> due = world.queue.due(world.now, count);
    bool any_over = false;
    for (const auto& [at, owned] : world.model.owned) {
        any_over = any_over || owned.until <= world.now;
    }
    REQUIRE(due.has_value() == any_over);
    PopLease handed{span(world.model.next, world.model.next + count), until, world.last_pop, 1};
    if (due) {
        REQUIRE(due->span.count() >= 1);
        REQUIRE(due->span.count() <= count);
        for (std::int64_t at = due->span.from.value; at < due->span.end.value; ++at) {
            const Owned& owned = world.model.owned.at(at);
            CHECK(owned.until <= world.now);
            CHECK(owned.deliveries == due->deliveries);
        }
        handed.span = due->span;
        handed.deliveries = due->deliveries + 1;
    }
    world.queue.hand_out(handed);
    world.model.hand_out(handed);
}

void change(World& world, Random& random) {
    const OffsetSpan where = random_span(world, random);
    const WallMs receipt = random_receipt(world, random);
    switch (random.below(4)) {
        case 0:
        case 1:
            CHECK(
                world.queue.acknowledge(where, receipt) ==
                world.model.each_of(where, receipt, [&](auto at) { world.model.owned.erase(at); }));
            break;
        case 2: {
            const PopQueue::Terms terms{world.now + static_cast<WallMs>(random.below(300)),
                                        std::max(world.now, receipt),
                                        static_cast<std::int32_t>(random.below(2))};
            CHECK(world.queue.renew(where, receipt, terms) ==
                  world.model.each_of(where, receipt, [&](auto at) {
                      at->second = {terms.until_ms,
                                    terms.pop_ms,
                                    std::max(at->second.deliveries - terms.undelivered, 0)};
                  }));
            break;
        }
        default: {
            world.queue.finish(where);
            for (std::int64_t at = where.from.value; at < where.end.value; ++at) {
                world.model.owned.erase(at);
            }
        }
    }
}

}  // namespace

TEST_SUITE("storage/pop_queue") {
    TEST_CASE("whatever happens, a message has one owner, and the log says the same") {
        Random random(wire::test_seed("pop_queue"));
        for (int round = 0; round < 40; ++round) {
            World world;
            for (int i = 0; i < 400; ++i) {
                world.now += static_cast<WallMs>(random.below(40));
                switch (random.below(8)) {
                    case 0:
                    case 1:
                    case 2:
                        pop(world, random);
                        break;
                    case 3: {
                        const auto passed = world.model.next + 3;
                        world.queue.pass_to(QueueOffset(passed));
                        world.model.next = passed;
                        break;
                    }
                    case 4:
                        world.write(random.below(4) == 0);
                        break;
                    default:
                        change(world, random);
                }
                check_same(world.queue, world.model);
            }
            world.write(false);
            wire::PopPut whole;
            world.queue.write_whole(whole);
            REQUIRE(check_pop(whole));
            PopQueue again(QueueOffset(77), 2);
            again.apply(whole);
            check_same(again, world.model);
        }
    }

    TEST_CASE("a message comes again when its time is over, and not before") {
        PopQueue queue(QueueOffset(10), 1);
        queue.hand_out(lease(10, 14, 100, 50));
        CHECK_FALSE(queue.due(99, 32));
        REQUIRE(queue.due(100, 32));
        CHECK(*queue.due(100, 32) == lease(10, 14, 100, 50));
        CHECK(queue.due(100, 2)->span == span(10, 12));
        CHECK(queue.committed().value == 10);
    }

    TEST_CASE("an acknowledgement ends what its receipt stands for, and nothing else") {
        PopQueue queue(QueueOffset(0), 1);
        queue.hand_out(lease(0, 4, 100, 50));
        CHECK(queue.acknowledge(span(1, 3), 49) == 0);
        CHECK(queue.acknowledge(span(1, 3), 50) == 2);
        CHECK(queue.acknowledge(span(1, 3), 50) == 0);
        CHECK(queue.committed().value == 0);
        queue.hand_out(lease(0, 1, 300, 200, 2));
        CHECK(queue.acknowledge(span(0, 4), 50) == 1);
        CHECK(queue.leases() == std::vector<PopLease>{lease(0, 1, 300, 200, 2)});
        CHECK(queue.acknowledge(span(0, 1), 200) == 1);
        CHECK(queue.committed().value == 4);
        CHECK(queue.next_due() == PopQueue::kNever);
    }

    TEST_CASE("a span of nothing changes nothing") {
        PopQueue queue(QueueOffset(0), 1);
        queue.hand_out(lease(0, 4, 100, 50));
        queue.finish(span(2, 2));
        queue.finish(span(3, 1));
        CHECK(queue.acknowledge(span(2, 2), 50) == 0);
        CHECK(queue.leases() == std::vector<PopLease>{lease(0, 4, 100, 50)});
        wire::PopPut put;
        queue.write_changes(put);
        CHECK(put.done().empty());
        CHECK(check_pop(put));
    }

    TEST_CASE("a late acknowledgement counts as long as nobody else has the message") {
        PopQueue queue(QueueOffset(0), 1);
        queue.hand_out(lease(0, 1, 100, 50));
        REQUIRE(queue.due(5'000, 1));
        CHECK(queue.acknowledge(span(0, 1), 50) == 1);
    }

    TEST_CASE("messages delivered as often come again together, others do not") {
        PopQueue queue(QueueOffset(0), 1);
        queue.hand_out(lease(0, 2, 100, 50));
        queue.hand_out(lease(2, 4, 90, 60));
        queue.hand_out(lease(4, 6, 90, 70, 2));
        CHECK(queue.due(95, 32)->span == span(2, 4));
        CHECK(queue.due(100, 32)->span == span(2, 4));
        CHECK(queue.acknowledge(span(2, 4), 60) == 2);
        CHECK(queue.due(100, 32)->span == span(4, 6));
    }

    TEST_CASE("what was acknowledged or renewed since it was due is not due any more") {
        PopQueue queue(QueueOffset(0), 1);
        queue.hand_out(lease(0, 10, 100, 50));
        REQUIRE(queue.due(100, 32)->span == span(0, 10));
        CHECK(queue.acknowledge(span(2, 3), 50) == 1);
        CHECK(queue.renew(span(5, 7), 50, {500, 50, 0}) == 2);
        CHECK(queue.due_within(span(1, 9), 100, 1) ==
              std::vector<OffsetSpan>{span(1, 2), span(3, 5), span(7, 9)});
        CHECK(queue.due_within(span(0, 10), 100, 2).empty());
        CHECK(queue.due_within(span(0, 10), 99, 1).empty());
    }

    TEST_CASE("many changes are written as the whole, with what is in flight") {
        PopQueue queue(QueueOffset(0), 1);
        for (std::int64_t i = 0; i < 5'000; ++i) {
            queue.hand_out(lease(2 * i, 2 * i + 1, 100 + i, 50));
        }
        wire::PopPut put;
        queue.write_changes(put);
        CHECK(put.whole());
        CHECK(put.leases_size() == 5'000);
        PopQueue logged(QueueOffset(0), 1);
        logged.apply(put);
        CHECK(logged.leases() == queue.leases());
    }

    TEST_CASE("a change that cannot be is refused by field, value and limit") {
        const auto why = [](const auto& set) {
            wire::PopPut put;
            put.set_next(10);
            put.set_committed(3);
            set(put);
            const Status checked = check_pop(put);
            return checked ? std::string() : checked.error().detail;
        };
        CHECK(why([](wire::PopPut&) {}).empty());
        CHECK(why([](wire::PopPut& put) { put.set_next(-1); }) == "pop next -1 is not 0 or more");
        CHECK(why([](wire::PopPut& put) { put.set_committed(11); }) ==
              "pop committed 11 is not within 0 to next");
        CHECK(why([](wire::PopPut& put) { put.add_leases()->set_from(11); }) ==
              "pop lease from 11 is not within 0 to next");
        CHECK(why([](wire::PopPut& put) { put.add_leases()->set_from(4); }) ==
              "pop lease count 0 is not within 1 and what is below next");
        CHECK(why([](wire::PopPut& put) {
                  put.add_done()->set_from(4);
                  put.mutable_done(0)->set_count(INT64_MAX);
              }) == "pop done count 9223372036854775807 is not within 1 and what is below next");
        CHECK(why([](wire::PopPut& put) {
                  put.add_leases()->set_count(1);
                  put.mutable_leases(0)->set_deliveries(-1);
              }) == "pop deliveries -1 is not 0 or more");
    }
}

}  // namespace gantry::storage

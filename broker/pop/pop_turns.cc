// SPDX-License-Identifier: Apache-2.0
#include "broker/pop/pop_turns.h"

#include "broker/context.h"
#include "broker/topic_creator.h"
#include "common/log.h"
#include "storage/state_machine.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace gantry::broker {

namespace {

using storage::PopLease;
using storage::PopQueue;
using storage::PopShare;
using Kind = PopTurn::Kind;

constexpr Logger kLog("broker");

std::optional<PopTurn> turn_again(const PopQueue& popped,
                                  storage::Queue& queue,
                                  const PopQuery& query,
                                  WallMs now) {
    const std::optional<PopLease> due = popped.due(now, query.count_max);
    if (!due) {
        return std::nullopt;
    }
    PopTurn turn;
    turn.queue = &queue;
    turn.kind = Kind::kAgain;
    turn.span = due->span;
    turn.pop_ms_before = due->pop_ms;
    turn.deliveries = due->deliveries;
    return turn;
}

}  // namespace

std::optional<PopTurn> PopTurns::turn_new(const PopQueue& popped, storage::Queue& queue) const {
    // The end of the queue is looked at more closely only when it may be ahead.
    if (popped.next() >= queue.max() ||
        popped.lease_count() >= static_cast<std::size_t>(context_.options.pop_leases_max) ||
        popped.next() >= context_.store->confirmed_max(queue)) {
        return std::nullopt;
    }
    PopTurn turn;
    turn.queue = &queue;
    turn.span = {popped.next(), popped.next()};
    turn.pop_ms_before = popped.receipts_after();
    return turn;
}

PopTurns::Choice PopTurns::choose(const PopQuery& query, WallMs now) {
    const std::int32_t all = query.topic->read_queues();
    const std::int32_t count = query.queue_id < 0 ? all : 1;
    const std::int32_t first =
        query.queue_id < 0
            ? static_cast<std::int32_t>(turns_.fetch_add(1, std::memory_order_relaxed) %
                                        static_cast<std::uint32_t>(std::max(all, 1)))
            : query.queue_id;
    return table_.with(query.group, query.topic->name(), [&](PopShare& share) {
        Choice choice;
        choice.must_open = share.size() < static_cast<std::size_t>(all);
        for (const bool is_again : {true, false}) {
            for (std::int32_t i = 0; i < count && !choice.must_open && !choice.turn; ++i) {
                const std::int32_t id = (first + i) % std::max(all, query.queue_id + 1);
                PopQueue* const popped = share.find(id);
                storage::Queue* const queue = query.topic->queue(id);
                if (popped == nullptr || queue == nullptr || popped->is_reading()) {
                    continue;
                }
                choice.turn =
                    is_again ? turn_again(*popped, *queue, query, now) : turn_new(*popped, *queue);
                if (choice.turn) {
                    choice.turn->life = popped->life();
                    popped->set_reading(true);
                }
            }
        }
        return choice;
    });
}

std::optional<PopTurn> PopTurns::take(const PopQuery& query, WallMs now) {
    Choice choice = choose(query, now);
    if (choice.must_open) {
        open_queues(query);
        choice = choose(query, now);
    }
    if (choice.turn && choice.turn->kind == Kind::kAgain &&
        choice.turn->deliveries > deliveries_max(query.group)) {
        choice.turn->kind = Kind::kDead;
        choice.turn->span.end =
            std::min(choice.turn->span.end, choice.turn->span.from + std::int64_t{kDeadMax});
    }
    return choice.turn;
}

std::int32_t PopTurns::deliveries_max(std::string_view group) const {
    const auto config = context_.store->state().group(group);
    return config ? config->retrymaxtimes() : make_group_config(group).retrymaxtimes();
}

/// So that it is listed, and can be configured, as one that sends heartbeats.
void PopTurns::make_group(const std::string& name) {
    storage::StateMachine& state = context_.store->state();
    if (state.group(name)) {
        return;
    }
    wire::StateRecord changes;
    *changes.add_changes()->mutable_groupput() = make_group_config(name);
    if (const auto made = state.commit(changes); !made) {
        kLog.warn("group_not_made", {{"group", std::string_view(name)}, {"error", made.error()}});
    }
}

/// The state machine is asked before the table is locked: its lock comes first.
void PopTurns::open_queues(const PopQuery& query) {
    make_group(query.group);
    const std::string& topic = query.topic->name();
    const std::int32_t count = query.topic->read_queues();
    bool is_known =
        table_.with(query.group, topic, [](PopShare& share) { return share.size() > 0; });
    for (const wire::OffsetPut& put : context_.store->state().offsets_of_group(query.group)) {
        is_known = is_known || put.topic() == topic;
    }
    std::vector<std::pair<std::int32_t, QueueOffset>> starts;
    for (std::int32_t id = 0; id < count; ++id) {
        if (storage::Queue* const queue = query.topic->queue(id)) {
            starts.emplace_back(id, start_of(query, *queue, is_known));
        }
    }
    table_.with(query.group, topic, [&](PopShare& share) {
        for (const auto& [id, start] : starts) {
            share.open(id, start);
        }
        return true;
    });
}

/// A queue that came after the group had begun is consumed from its beginning.
QueueOffset PopTurns::start_of(const PopQuery& query, storage::Queue& queue, bool is_known) const {
    const QueueOffset max = context_.store->confirmed_max(queue);
    if (const auto committed =
            context_.store->state().offset(query.group, queue.topic, queue.queue_id)) {
        return std::clamp(QueueOffset(*committed), std::min(queue.min(), max), max);
    }
    return !is_known && query.begins_at_end ? max : queue.min();
}

}  // namespace gantry::broker

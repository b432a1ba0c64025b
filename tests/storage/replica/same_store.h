// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/checksum.h"
#include "common/random.h"
#include "storage/index/queue_index.h"
#include "storage/replica/replica_log.h"
#include "tests/storage/store_fixture.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::storage {

/// The bytes of a piece, which must be whole.
inline std::string piece_bytes(const LogPiece& piece) {
    std::string bytes = run_bytes(piece.run);
    REQUIRE(xxh3(as_bytes(bytes)) == piece.sum);
    return bytes;
}

/// The log in [from, to).
inline std::string log_bytes(Store& store, LogOffset from, LogOffset to) {
    std::string bytes;
    while (from < to) {
        const auto piece = store.replica().piece(from, static_cast<std::uint64_t>(to - from));
        if (!piece) {
            FAIL("piece at " << from.value << ": " << to_string(piece.error()));
        }
        REQUIRE(piece->run.length > 0);
        bytes += piece_bytes(*piece);
        from += static_cast<std::int64_t>(piece->run.length);
    }
    return bytes;
}

/// Gives the follower the leader's bytes up to `to`, or its end, cut at random.
inline void feed(Store& leader, Store& follower, Random& random, LogOffset to = LogOffset(-1)) {
    const LogOffset end = to < LogOffset(0) ? leader.watermarks().appended : to;
    const std::uint64_t bytes_max = std::uint64_t{1} << (1 + random.below(17));
    ReplicaLog& log = follower.replica();
    while (log.received() < end) {
        const LogOffset at = log.received();
        const auto left = static_cast<std::uint64_t>(end - at);
        const auto piece = leader.replica().piece(at, std::min(left, 1 + random.below(bytes_max)));
        REQUIRE(piece);
        REQUIRE(piece->run.length > 0);
        const Status taken = log.append_raw(at, as_bytes(piece_bytes(*piece)));
        if (!taken) {
            FAIL("append_raw at " << at.value << ": " << to_string(taken.error()));
        }
    }
}

/// What a state machine knows, in one order.
inline std::string state_text(Store& store) {
    auto& state = static_cast<LogStateMachine&>(store.state());
    wire::StateSnapshot snapshot = state.snapshot([&] { return store.watermarks().appended; });
    const auto sorted = [](auto* values) {
        std::sort(values->begin(), values->end(), [](const auto& a, const auto& b) {
            return a.SerializeAsString() < b.SerializeAsString();
        });
    };
    sorted(snapshot.mutable_topics());
    sorted(snapshot.mutable_groups());
    sorted(snapshot.mutable_offsets());
    sorted(snapshot.mutable_transactions());
    sorted(snapshot.mutable_pops());
    // Of sets without an order.
    wire::TimerStates& timers = *snapshot.mutable_timers();
    std::sort(timers.mutable_delivered()->begin(), timers.mutable_delivered()->end());
    std::sort(timers.mutable_setaside()->begin(), timers.mutable_setaside()->end());
    // Their topics are named by index.
    wire::ProducerStates& producers = *snapshot.mutable_producers();
    std::string text;
    std::vector<std::string> queues;
    for (wire::ProducerQueue& queue : *producers.mutable_queues()) {
        const std::string topic = producers.topics(queue.topic());
        queue.clear_topic();
        queues.push_back(topic + ' ' + queue.ShortDebugString());
    }
    std::sort(queues.begin(), queues.end());
    producers.Clear();
    for (const std::string& queue : queues) {
        text += queue + '\n';
    }
    return text + snapshot.DebugString();
}

/// The raw units and records of a queue.
inline void require_same_queue(Store& leader, Store& follower, Queue& mine, Queue& other) {
    CAPTURE(mine.topic);
    CAPTURE(mine.queue_id);
    REQUIRE(mine.min() == other.min());
    REQUIRE(mine.max() == other.max());
    REQUIRE(leader.confirmed_max(mine) == follower.confirmed_max(other));
    for (QueueOffset at = mine.min(); at < mine.max(); at += 1) {
        CAPTURE(at.value);
        REQUIRE(mine.index->unit_at(at) == other.index->unit_at(at));
    }
    REQUIRE(read_bodies(leader, mine) == read_bodies(follower, other));
}

/// Messages with that key that are in their queue: those of deleted topics may be found or not.
inline std::vector<LogOffset> living_with_key(Store& store, const Store::KeyQuery& query) {
    std::vector<LogOffset> living;
    Topic* const topic = store.find_topic(query.topic);
    for (const LogOffset at : store.find_by_key(query)) {
        const auto bytes = store.record_at(at);
        REQUIRE(bytes);
        const auto record = wire::parse_record(as_bytes(*bytes));
        REQUIRE(record);
        const Queue* const queue = topic == nullptr ? nullptr : topic->queue(record->queue_id);
        const auto unit = queue == nullptr ? std::optional<QueueUnit>()
                                           : queue->index->unit_at(record->queue_offset);
        if (unit && unit->at == at) {
            living.push_back(at);
        }
    }
    std::sort(living.begin(), living.end());
    return living;
}

/// Two stores with the same log from the later of their first bytes on, both confirmed to the end.
inline void require_same(Store& leader, Store& follower) {
    const Watermarks mine = leader.watermarks();
    const Watermarks theirs = follower.watermarks();
    REQUIRE(mine.appended == theirs.appended);
    const LogOffset first = std::max(mine.first, theirs.first);
    REQUIRE(log_bytes(leader, first, mine.appended) == log_bytes(follower, first, mine.appended));
    const std::vector<Topic*> topics = leader.topics();
    REQUIRE(topics.size() == follower.topics().size());
    for (Topic* const topic : topics) {
        CAPTURE(topic->name());
        Topic* const other = follower.find_topic(topic->name());
        REQUIRE(other != nullptr);
        REQUIRE(topic->read_queues() == other->read_queues());
        REQUIRE(topic->write_queues() == other->write_queues());
        for (std::int32_t id = 0; id < topic->read_queues(); ++id) {
            require_same_queue(leader, follower, *topic->queue(id), *other->queue(id));
        }
    }
    Queue* const state = leader.find_topic(kStateTopic)->queue(0);
    require_same_queue(leader, follower, *state, *follower.find_topic(kStateTopic)->queue(0));
    REQUIRE(state_text(leader) == state_text(follower));
    for (int key = 0; key < 9; ++key) {
        for (int topic = 0; topic < 5; ++topic) {
            const std::string name = "topic-" + std::to_string(topic);
            const std::string word = "key-" + std::to_string(key);
            const Store::KeyQuery query{name, word, 0, INT64_MAX / 2, 10'000};
            REQUIRE(living_with_key(leader, query) == living_with_key(follower, query));
        }
    }
}

}  // namespace gantry::storage

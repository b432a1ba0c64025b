// SPDX-License-Identifier: Apache-2.0
#include "storage/state_machine.h"

#include "common/random.h"
#include "storage/index/consume_queues.h"
#include "storage/topic_table.h"
#include "tests/storage/scratch_directory.h"

#include <doctest/doctest.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

constexpr std::int64_t kRecordBytes = 100;

wire::TopicConfig topic_config(const std::string& name, std::int32_t queues) {
    wire::TopicConfig config;
    config.set_topicname(name);
    config.set_readqueuenums(queues);
    config.set_writequeuenums(queues);
    config.set_perm(perm::kRead | perm::kWrite);
    return config;
}

wire::StateRecord put_topic(const std::string& name, std::int32_t queues) {
    wire::StateRecord record;
    *record.add_changes()->mutable_topicput() = topic_config(name, queues);
    return record;
}

wire::StateRecord delete_topic(const std::string& name) {
    wire::StateRecord record;
    record.add_changes()->set_topicdelete(name);
    return record;
}

wire::StateRecord put_group(const std::string& name) {
    wire::StateRecord record;
    record.add_changes()->mutable_groupput()->set_groupname(name);
    return record;
}

wire::StateRecord delete_group(const std::string& name) {
    wire::StateRecord record;
    record.add_changes()->set_groupdelete(name);
    return record;
}

wire::StateRecord put_offset(const std::string& group,
                             const std::string& topic,
                             std::int32_t queue_id,
                             std::int64_t offset) {
    wire::StateRecord record;
    wire::OffsetPut& put = *record.add_changes()->mutable_offsetput();
    put.set_group(group);
    put.set_topic(topic);
    put.set_queueid(queue_id);
    put.set_offset(offset);
    return record;
}

/// One record of the log: of the state topic, or a message of a queue.
struct Logged {
    std::string topic;
    std::int32_t queue_id = 0;
    std::int64_t queue_offset = 0;
    std::string body;
};

/// A log in memory, and what a store keeps over it.
struct World {
    ScratchDirectory scratch;
    std::unique_ptr<FileSystem> files = make_posix_file_system();
    std::unique_ptr<ConsumeQueues> queues;
    std::unique_ptr<TopicTable> topics;
    std::unique_ptr<LogStateMachine> state;
    std::vector<Logged> log;
    bool log_is_full = false;

    World() { open(); }

    bool open() {
        state.reset();
        topics.reset();
        queues.reset();
        auto opened = ConsumeQueues::open(
            *files, {.directory = scratch.path(), .first_file_blocks = 4, .helper_thread = false});
        REQUIRE(opened.has_value());
        queues = std::move(opened->queues);
        topics = std::make_unique<TopicTable>(*queues);
        state = std::make_unique<LogStateMachine>(
            *topics, [this](std::string body) { return append(kStateTopic, std::move(body)); });
        return opened->needs_rebuild;
    }

    LogOffset end() const {
        return LogOffset(static_cast<std::int64_t>(log.size()) * kRecordBytes);
    }

    Result<Appended> append(std::string_view topic, std::string body, std::int32_t queue_id = 0) {
        if (log_is_full) {
            return Error{Errc::kDiskFull, "no room"};
        }
        QueueIndex& queue = *topics->find(topic)->queue(queue_id)->index;
        GANTRY_TRY(queue.ensure_room(1));
        Appended appended{end(), end() + kRecordBytes, queue.reserve(1), 1, end().value * 10};
        queue.put(appended.queue_offset, {end(), kRecordBytes, 0});
        queue.publish(appended.queue_offset + 1);
        log.push_back({std::string(topic), queue_id, appended.queue_offset.value, std::move(body)});
        return appended;
    }

    /// Replays the log from `from` over what is open, as the store's recovery does.
    void replay(std::int64_t from, std::int64_t queues_from) {
        for (std::int64_t at = from; at < end().value; at += kRecordBytes) {
            const Logged& logged = log[static_cast<std::size_t>(at / kRecordBytes)];
            const bool feeds_queues = at >= queues_from;
            if (feeds_queues) {
                REQUIRE(
                    queues->queue(logged.topic, logged.queue_id)
                        .restore(QueueOffset(logged.queue_offset), {LogOffset(at), kRecordBytes, 0})
                        .has_value());
            }
            if (logged.topic == kStateTopic) {
                REQUIRE(state
                            ->replay({as_bytes(logged.body),
                                      LogOffset(at),
                                      LogOffset(at + kRecordBytes),
                                      QueueOffset(logged.queue_offset),
                                      at * 10},
                                     feeds_queues)
                            .has_value());
            }
        }
        queues->truncate_after(end());
    }

    wire::StateSnapshot snapshot() const {
        return state->snapshot([this] { return end(); });
    }

    /// Ends of all queues that have messages, as text.
    std::vector<std::string> queue_ends() const {
        std::vector<std::string> ends;
        queues->for_each([&](std::string_view topic, std::int32_t id, QueueIndex& queue) {
            if (queue.max() > queue.min()) {
                ends.push_back(std::string(topic) + '/' + std::to_string(id) + ' ' +
                               std::to_string(queue.min().value) + ".." +
                               std::to_string(queue.max().value));
            }
        });
        std::sort(ends.begin(), ends.end());
        return ends;
    }
};

/// Snapshots as text, offsets sorted, so that equal states give equal texts.
std::string text_of(wire::StateSnapshot snapshot) {
    const auto key = [](const wire::OffsetPut& put) {
        return put.group() + '@' + put.topic() + '@' + std::to_string(put.queueid());
    };
    std::sort(snapshot.mutable_offsets()->begin(),
              snapshot.mutable_offsets()->end(),
              [&](const auto& a, const auto& b) { return key(a) < key(b); });
    return snapshot.DebugString();
}

wire::StateRecord random_change(Random& random) {
    const std::string topic = "t" + std::to_string(random.below(5));
    const std::string group = "g" + std::to_string(random.below(4));
    switch (random.below(8)) {
        case 0:
            return delete_topic(topic);
        case 1:
            return put_group(group);
        case 2:
            return delete_group(group);
        case 3:
        case 4:
            return put_topic(topic, 1 + static_cast<std::int32_t>(random.below(4)));
        default: {
            wire::StateRecord record = put_offset(group, topic, 0, 0);
            for (int i = 0; i < 3; ++i) {
                wire::OffsetPut& put = *record.add_changes()->mutable_offsetput();
                put.set_group(group);
                put.set_topic(topic);
                put.set_queueid(static_cast<std::int32_t>(random.below(4)));
                put.set_offset(static_cast<std::int64_t>(random.below(1'000)));
            }
            return record;
        }
    }
}

}  // namespace

TEST_SUITE("storage/state_machine") {
    TEST_CASE("committed changes are seen by queries and by the topic table") {
        World w;
        REQUIRE(w.state->commit(put_topic("orders", 4)).has_value());
        REQUIRE(w.state->topic("orders").has_value());
        CHECK(w.state->topic("orders")->writequeuenums() == 4);
        CHECK(w.state->topics().size() == 1);
        Topic* const topic = w.topics->find("orders");
        REQUIRE(topic != nullptr);
        CHECK(topic->perm() == 6);
        CHECK(topic->queue(3) != nullptr);
        CHECK(topic->queue(3) == topic->queue(3));
        CHECK(topic->queue(4) == nullptr);
        CHECK(topic->queue(-1) == nullptr);
        CHECK(w.topics->all() == std::vector<Topic*>{topic});
        REQUIRE(w.state->commit(put_topic("orders", 8)).has_value());
        CHECK(topic->queue(7) != nullptr);
        REQUIRE(w.state->commit(put_group("g")).has_value());
        CHECK(w.state->group("g").has_value());
        CHECK_FALSE(w.state->group("h").has_value());
        CHECK(w.state->groups().size() == 1);
    }

    TEST_CASE("offsets move both ways and are listed by group and by topic") {
        World w;
        REQUIRE(w.state->commit(put_topic("t", 4)).has_value());
        CHECK_FALSE(w.state->offset("g", "t", 0).has_value());
        REQUIRE(w.state->commit(put_offset("g", "t", 0, 50)).has_value());
        REQUIRE(w.state->commit(put_offset("g", "t", 2, 60)).has_value());
        REQUIRE(w.state->commit(put_offset("h", "t", 0, 70)).has_value());
        CHECK(w.state->offset("g", "t", 0) == 50);
        REQUIRE(w.state->commit(put_offset("g", "t", 0, 10)).has_value());
        CHECK(w.state->offset("g", "t", 0) == 10);
        CHECK_FALSE(w.state->offset("g", "t", 1).has_value());
        CHECK(w.state->offsets_of_group("g").size() == 2);
        CHECK(w.state->offsets_of_topic("t").size() == 3);
        REQUIRE(w.state->commit(delete_group("g")).has_value());
        CHECK(w.state->offsets_of_topic("t").size() == 1);
    }

    TEST_CASE("only topic changes count in the topic version") {
        World w;
        CHECK(w.state->topic_version().counter() == 0);
        REQUIRE(w.state->commit(put_topic("t", 1)).has_value());
        REQUIRE(w.state->commit(put_offset("g", "t", 0, 50)).has_value());
        REQUIRE(w.state->commit(put_group("g")).has_value());
        CHECK(w.state->topic_version().counter() == 1);
        const auto appended = w.state->commit(delete_topic("t"));
        REQUIRE(appended.has_value());
        CHECK(w.state->topic_version().counter() == 2);
        CHECK(w.state->topic_version().timestamp() == appended->store_ms);
    }

    TEST_CASE("an illegal change is refused with field, value and limit, and nothing is logged") {
        World w;
        const auto refusal = [&](const wire::StateRecord& record) {
            const auto result = w.state->commit(record);
            REQUIRE_FALSE(result.has_value());
            CHECK(result.error().code == Errc::kRefused);
            return result.error().detail;
        };
        CHECK(refusal(put_topic("t", 65'537)) == "readQueueNums 65537 is not within 0 to 65536");
        CHECK(refusal(put_topic("t", 0)) == "readQueueNums + writeQueueNums 0 is not at least 1");
        CHECK(refusal(put_topic("", 1)) == "topicName length 0 is not within 1 to 255 B");
        wire::StateRecord record = put_topic("t", 1);
        record.mutable_changes(0)->mutable_topicput()->set_perm(8);
        CHECK(refusal(record) == "perm 8 is not within 0 to 7");
        CHECK(refusal(put_offset("g", "t", 0, -1)) == "offset -1 is not 0 or more");
        CHECK(refusal(put_offset("g", "t", 65'536, 0)) == "queueId 65536 is not within 0 to 65535");
        CHECK_FALSE(refusal(delete_topic(std::string(kStateTopic))).empty());
        CHECK_FALSE(refusal(wire::StateRecord()).empty());
        wire::StateRecord mixed = put_topic("good", 1);
        mixed.add_changes();
        CHECK_FALSE(refusal(mixed).empty());
        CHECK(w.state->topics().empty());
        CHECK(w.log.empty());
        wire::StateRecord read_only = put_topic("t", 1);
        read_only.mutable_changes(0)->mutable_topicput()->set_writequeuenums(0);
        CHECK(w.state->commit(read_only).has_value());
    }

    TEST_CASE("a change that cannot be logged is not applied, and a deletion is taken back") {
        World w;
        REQUIRE(w.state->commit(put_topic("t", 1)).has_value());
        Queue* const queue = w.topics->find("t")->queue(0);
        REQUIRE(queue->index->ensure_room(1).has_value());
        w.log_is_full = true;
        CHECK(w.state->commit(put_topic("u", 1)).error().code == Errc::kDiskFull);
        CHECK(w.state->commit(delete_topic("t")).error().code == Errc::kDiskFull);
        w.log_is_full = false;
        CHECK_FALSE(w.state->topic("u").has_value());
        REQUIRE(w.topics->find("t") != nullptr);
        CHECK(w.topics->find("t")->queue(0) == queue);
        CHECK(queue->index->has_room(1));
        CHECK(w.append("t", "message").has_value());
    }

    TEST_CASE("a deleted topic takes its queues and offsets along and begins again at offset 0") {
        World w;
        REQUIRE(w.state->commit(put_topic("t", 2)).has_value());
        REQUIRE(w.state->commit(put_offset("g", "t", 0, 3)).has_value());
        Topic* const old = w.topics->find("t");
        Queue* const queue = old->queue(0);
        for (int i = 0; i < 5; ++i) {
            REQUIRE(w.append("t", "message").has_value());
        }
        CHECK(queue->max() == QueueOffset(5));
        REQUIRE(w.state->commit(delete_topic("t")).has_value());
        CHECK(old->is_deleted());
        CHECK(old->perm() == 0);
        CHECK(old->queue(0) == nullptr);
        CHECK(w.topics->find("t") == nullptr);
        CHECK(queue->min() == queue->max());
        CHECK(queue->index->ensure_room(1).error().code == Errc::kNotFound);
        CHECK_FALSE(w.state->offset("g", "t", 0).has_value());
        REQUIRE(w.state->commit(put_topic("t", 2)).has_value());
        CHECK(w.topics->find("t") != old);
        REQUIRE(w.append("t", "message").has_value());
        CHECK(w.topics->find("t")->queue(0)->max() == QueueOffset(1));
        CHECK(w.topics->find("t")->queue(0)->min() == QueueOffset(0));
    }

    TEST_CASE("a body that does not parse or holds an illegal change is corrupt") {
        World w;
        const std::string noise = "\xFF\xFF\xFF";
        CHECK(
            w.state->replay({as_bytes(noise), LogOffset(0), LogOffset(9), QueueOffset(0), 0}, true)
                .error()
                .code == Errc::kCorrupt);
        const std::string illegal = put_topic("t", -1).SerializeAsString();
        CHECK(w.state
                  ->replay({as_bytes(illegal), LogOffset(0), LogOffset(9), QueueOffset(0), 0}, true)
                  .error()
                  .code == Errc::kCorrupt);
        wire::StateSnapshot snapshot;
        *snapshot.add_topics() = topic_config("", 1);
        CHECK(w.state->restore(snapshot).error().code == Errc::kCorrupt);
    }

    TEST_CASE("replay from the log, from snapshots and from checkpoints gives the live state") {
        const std::uint64_t seed = test_seed();
        for (std::uint64_t run = 0; run < 10; ++run) {
            Random random(seed + run);
            World w;
            wire::StateSnapshot saved;
            std::int64_t checkpoint = 0;
            for (int step = 0; step < 150; ++step) {
                if (random.below(3) == 0) {
                    REQUIRE(w.state->commit(random_change(random)).has_value());
                }
                const std::string topic = "t" + std::to_string(random.below(5));
                if (w.topics->find(topic) != nullptr) {
                    REQUIRE(w.append(topic, "message").has_value());
                }
                if (random.below(60) == 0) {
                    checkpoint = w.end().value;
                    REQUIRE(w.queues->flush([&] { return w.end(); }, [](LogOffset) { return ok(); })
                                .has_value());
                }
                if (random.below(60) == 0) {
                    saved = w.snapshot();
                }
            }
            const std::string live = text_of(w.snapshot());
            const std::vector<std::string> ends = w.queue_ends();
            const std::int64_t queues_from = w.open() ? 0 : checkpoint;
            REQUIRE(w.state->restore(saved).has_value());
            w.replay(std::min(saved.logoffset(), queues_from), queues_from);
            CHECK(text_of(w.snapshot()) == live);
            CHECK(w.queue_ends() == ends);
        }
    }
}

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "tests/storage/replica/leader_load.h"

#include "protocol/wire/send_number.h"
#include "storage/pop/pops.h"
#include "storage/timers/timers.h"

#include <algorithm>

namespace gantry::storage {

void LeaderLoad::opened() {
    now_ = std::max(now_, at_.clock.wall_ms());
    at_.clock.set(now_);
    REQUIRE(at_.store->timers().open(wheel(), now_));
}

void LeaderLoad::step() {
    now_ += static_cast<WallMs>(random_.below(30));
    at_.clock.set(now_);
    const std::uint64_t dice = random_.below(100);
    if (dice < 45) {
        send();
    } else if (dice < 60) {
        send_numbered();
    } else if (dice < 66) {
        open_half();
    } else if (dice < 71) {
        end_half();
    } else if (dice < 77) {
        delay();
    } else if (dice < 80) {
        deliver();
    } else if (dice < 83) {
        put_topic();
    } else if (dice < 86) {
        delete_topic();
    } else if (dice < 88) {
        put_group();
    } else if (dice < 94) {
        commit_offset();
    } else if (dice < 98) {
        pop();
    } else {
        lock_queue();
    }
}

void LeaderLoad::steps(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        step();
    }
}

void LeaderLoad::settle() {
    REQUIRE(at_.store->pops().write(Pops::What::kAll));
}

std::string LeaderLoad::topic() {
    return "topic-" + std::to_string(random_.below(5));
}

Queue& LeaderLoad::wheel() {
    return at_.queue(std::string(kTimerTopic));
}

void LeaderLoad::commit(const wire::StateRecord& changes) {
    const auto committed = at_.store->state().commit(changes);
    REQUIRE(committed);
}

std::vector<TestMessage> LeaderLoad::messages(std::size_t count_max, std::size_t bytes_max) {
    std::vector<TestMessage> made;
    const std::size_t count = 1 + random_.below(count_max);
    for (std::size_t i = 0; i < count; ++i) {
        TestMessage message;
        message.body = numbered_body(number_++, 20 + random_.below(bytes_max));
        message.tag = random_.below(2) == 0 ? "tag" : "";
        message.keys = random_.below(3) == 0 ? "key-" + std::to_string(random_.below(9)) : "";
        made.push_back(std::move(message));
    }
    return made;
}

void LeaderLoad::send() {
    Queue& queue = at_.queue(topic(), static_cast<std::int32_t>(random_.below(4)));
    const bool is_large = random_.below(20) == 0;
    REQUIRE(at_.append(queue, is_large ? messages(1, 9'000) : messages(4, 300)));
}

void LeaderLoad::send_numbered() {
    const std::string name = topic();
    const auto id = static_cast<std::int32_t>(random_.below(2));
    const std::uint64_t producer = producers_ + random_.below(3);
    std::int64_t& sequence = sequences_[{producer, name, id}];
    Queue& queue = at_.queue(name, id);
    const std::size_t count = 1 + random_.below(5);
    std::string bytes;
    for (std::size_t i = 0; i < count; ++i) {
        std::string properties;
        wire::Record record;
        if (i == 0) {
            REQUIRE(wire::append_property(properties,
                                          wire::property::kSendNumber,
                                          wire::format_send_number({producer, 0, sequence})));
            record.sys_flag = wire::sys_flag::kNumbered;
        }
        const std::string body = numbered_body(number_++, 20 + random_.below(200));
        record.topic = queue.topic;
        record.queue_id = id;
        record.properties = properties;
        record.body = as_bytes(body);
        const std::size_t at = bytes.size();
        bytes.resize(at + wire::record_bytes(record));
        wire::encode_record(record,
                            {reinterpret_cast<std::byte*>(bytes.data()) + at, bytes.size() - at});
    }
    const auto appended =
        at_.store->append_records(queue, as_bytes(bytes), static_cast<std::uint32_t>(count), false);
    REQUIRE(appended);
    sequence += static_cast<std::int64_t>(count);
}

void LeaderLoad::open_half() {
    std::string properties;
    REQUIRE(wire::append_property(properties, wire::property::kProducerGroup, "group"));
    const std::string body = numbered_body(number_++, 60);
    wire::Record half;
    half.body = as_bytes(body);
    half.properties = properties;
    const auto opened =
        at_.store->transactions().open(at_.queue(std::string(kHalfTopic)), half, 1'000);
    REQUIRE(opened);
    halves_.push_back(opened->first);
}

void LeaderLoad::end_half() {
    if (halves_.empty()) {
        return;
    }
    const std::size_t chosen = random_.below(halves_.size());
    const LogOffset half = halves_[chosen];
    halves_.erase(halves_.begin() + static_cast<std::ptrdiff_t>(chosen));
    if (random_.below(3) == 0) {
        REQUIRE(at_.store->transactions().end(half));
        return;
    }
    const std::string body = numbered_body(number_++, 60);
    wire::Record message;
    message.body = as_bytes(body);
    REQUIRE(at_.store->transactions().end_with(half, at_.queue(topic()), message));
}

void LeaderLoad::delay() {
    const std::string body = numbered_body(number_++, 60);
    std::string properties;
    const WallMs due = (now_ + static_cast<WallMs>(random_.below(300))) / 10 * 10;
    REQUIRE(wire::append_property(properties, "TIMER_OUT_MS", std::to_string(due)));
    REQUIRE(wire::append_property(properties, "REAL_TOPIC", "delayed"));
    REQUIRE(wire::append_property(properties, "REAL_QID", "0"));
    wire::Record record;
    record.body = as_bytes(body);
    record.properties = properties;
    REQUIRE(at_.store->timers().append(wheel(), at_.queue("delayed"), {&record, 1}));
}

void LeaderLoad::deliver() {
    Timers& timers = at_.store->timers();
    const auto whole = [](const Result<bool>& more) {
        REQUIRE(more);
        return !*more;
    };
    while (!whole(timers.fold(100)) || !whole(timers.prepare(now_, 100))) {
    }
    const auto due = timers.due(now_, 8);
    REQUIRE(due);
    if (due->empty()) {
        return;
    }
    std::vector<TimerBatch> batches(1);
    batches[0].queue = &at_.queue("delayed");
    std::vector<std::string> bodies(due->size());
    timers.read(*due, [&](const TimerEntry& timer, const Result<wire::Record>& record) {
        if (!record) {  // deleted for its age or size, while it waited
            REQUIRE(timer.at < at_.store->watermarks().first);
            return;
        }
        bodies[batches[0].records.size()] = as_text(record->body);
        batches[0].records.emplace_back();
        batches[0].timers.push_back(timer);
    });
    for (std::size_t i = 0; i < batches[0].records.size(); ++i) {
        batches[0].records[i].body = as_bytes(bodies[i]);
    }
    std::uint64_t dropped = 0;
    REQUIRE(timers.deliver(batches, dropped));
    timers.finish();
    if (random_.below(2) == 0) {
        REQUIRE(timers.commit());
    }
}

void LeaderLoad::put_topic() {
    wire::StateRecord changes;
    wire::TopicConfig& put = *changes.add_changes()->mutable_topicput();
    put.set_topicname(topic());
    put.set_readqueuenums(static_cast<std::int32_t>(8 + random_.below(4)));
    put.set_writequeuenums(8);
    put.set_perm(perm::kRead | perm::kWrite);
    commit(changes);
}

void LeaderLoad::delete_topic() {
    const std::string name = topic();
    if (at_.store->find_topic(name) == nullptr) {
        return;
    }
    wire::StateRecord changes;
    changes.add_changes()->set_topicdelete(name);
    commit(changes);
    std::erase_if(sequences_, [&](const auto& known) { return std::get<1>(known.first) == name; });
}

void LeaderLoad::put_group() {
    wire::StateRecord changes;
    wire::StateChange& change = *changes.add_changes();
    const std::string name = "group-" + std::to_string(random_.below(4));
    if (random_.below(4) == 0) {
        change.set_groupdelete(name);
    } else {
        change.mutable_groupput()->set_groupname(name);
        change.mutable_groupput()->set_retrymaxtimes(static_cast<std::int32_t>(number_ % 16));
    }
    commit(changes);
}

void LeaderLoad::commit_offset() {
    wire::StateRecord changes;
    for (std::uint64_t i = 0; i <= random_.below(3); ++i) {
        wire::OffsetPut& put = *changes.add_changes()->mutable_offsetput();
        put.set_group("group-" + std::to_string(random_.below(4)));
        put.set_topic(topic());
        put.set_queueid(static_cast<std::int32_t>(random_.below(4)));
        put.set_offset(static_cast<std::int64_t>(random_.below(1'000)));
    }
    commit(changes);
}

void LeaderLoad::pop() {
    at_.queue("popped");
    PopTable& table = at_.store->pops().table();
    QueueOffset from;
    table.with("popper", "popped", [&](PopShare& share) {
        PopQueue& queue = share.open(0, QueueOffset(0));
        from = queue.next();
        queue.hand_out({{from, from + 3}, now_ + 60'000, now_, 1});
        return true;
    });
    REQUIRE(at_.store->pops().write(Pops::What::kLeases));
    if (random_.below(2) == 0) {
        table.with("popper", "popped", [&](PopShare& share) {
            share.find(0)->acknowledge({from, from + 2}, now_);
            return true;
        });
    }
}

void LeaderLoad::lock_queue() {
    wire::StateRecord changes;
    wire::QueueLockPut& put = *changes.add_changes()->mutable_queuelockput();
    put.set_group("group-0");
    put.set_topic(topic());
    put.set_queueid(0);
    put.set_client("client");
    put.set_token(++token_);
    put.set_lease(15'000);
    commit(changes);
}

}  // namespace gantry::storage

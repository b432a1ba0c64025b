// SPDX-License-Identifier: Apache-2.0
#include "tests/storage/store_workload.h"

#include "tests/harness/wait.h"

#include <algorithm>
#include <set>

namespace gantry::storage {
namespace {

using Kind = LoggedEvent::Kind;

constexpr std::chrono::seconds kPatience{60};
constexpr std::uint32_t kKeys = 5;

std::string key_of(std::uint32_t number) {
    return "key" + std::to_string(number % kKeys);
}

void require_message(StoreFixture& at, const LoggedEvent& event, std::int64_t queue_offset) {
    const Result<std::string> bytes = at.store->record_at(event.at);
    if (!bytes) {
        FAIL("record at " << event.at.value << ": " << to_string(bytes.error()));
    }
    const Result<wire::Record> record = wire::parse_record(as_bytes(*bytes));
    REQUIRE(record);
    REQUIRE(event.at + static_cast<std::int64_t>(bytes->size()) == event.end);
    REQUIRE(record->queue_offset == QueueOffset(queue_offset));
    REQUIRE(record->store_ms == at.clock.wall_ms());
    REQUIRE(wire::find_property(record->properties, wire::property::kTags) == event.message.tag);
    REQUIRE(wire::find_property(record->properties, wire::property::kKeys) == event.message.keys);
}

void require_queue(StoreFixture& at,
                   Queue& queue,
                   const std::vector<const LoggedEvent*>& expected) {
    CAPTURE(queue.topic);
    CAPTURE(queue.queue_id);
    REQUIRE(queue.min() == QueueOffset(0));
    const std::vector<std::string> bodies = read_bodies(*at.store, queue);
    REQUIRE(bodies.size() == expected.size());
    REQUIRE(at.store->confirmed_max(queue) ==
            QueueOffset(static_cast<std::int64_t>(expected.size())));
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        REQUIRE(bodies[i] == expected[i]->message.body);
        require_message(at, *expected[i], static_cast<std::int64_t>(i));
    }
}

std::set<LogOffset> places_with_key(
    const std::map<std::int32_t, std::vector<const LoggedEvent*>>& queues, const std::string& key) {
    std::set<LogOffset> places;
    for (const auto& [id, messages] : queues) {
        for (const LoggedEvent* message : messages) {
            if (message->message.keys == key) {
                places.insert(message->at);
            }
        }
    }
    return places;
}

/// Messages of topics that were deleted may be found or not; nothing twice.
void require_keys(StoreFixture& at, const LoggedEvents& events, const ExpectedStore& expected) {
    const LogOffset end = at.store->watermarks().confirmed;
    for (const auto& living_topic : expected.topics) {
        const std::string& topic = living_topic.first;
        for (std::uint32_t i = 0; i < kKeys; ++i) {
            CAPTURE(topic);
            CAPTURE(i);
            const std::vector<LogOffset> all =
                at.store->find_by_key({topic, key_of(i), 0, at.clock.wall_ms(), 10'000});
            const std::set<LogOffset> found(all.begin(), all.end());
            REQUIRE(found.size() == all.size());
            const std::set<LogOffset> living = places_with_key(living_topic.second, key_of(i));
            std::set<LogOffset> ever;
            for (const LoggedEvent& event : events) {
                if (event.kind == Kind::kMessage && event.topic == topic && event.end <= end &&
                    event.message.keys == key_of(i)) {
                    ever.insert(event.at);
                }
            }
            REQUIRE(std::includes(found.begin(), found.end(), living.begin(), living.end()));
            REQUIRE(std::includes(ever.begin(), ever.end(), found.begin(), found.end()));
        }
    }
}

}  // namespace

ExpectedStore::ExpectedStore(const LoggedEvents& events, LogOffset end) {
    for (const LoggedEvent& event : events) {
        if (event.end > end) {
            break;
        }
        switch (event.kind) {
            case Kind::kMessage:
                topics[event.topic][event.queue].push_back(&event);
                break;
            case Kind::kTopicPut:
                topics[event.topic];
                break;
            case Kind::kTopicDelete:
                topics.erase(event.topic);
                std::erase_if(offsets, [&](const auto& offset) {
                    return std::get<1>(offset.first) == event.topic;
                });
                break;
            case Kind::kGroupPut:
                groups[event.group] = event.value;
                break;
            case Kind::kGroupDelete:
                groups.erase(event.group);
                std::erase_if(offsets, [&](const auto& offset) {
                    return std::get<0>(offset.first) == event.group;
                });
                break;
            case Kind::kOffsetPut:
                offsets[{event.group, event.topic, event.queue}] = event.value;
                break;
        }
    }
}

void require_expected(StoreFixture& at, const LoggedEvents& events) {
    const ExpectedStore expected(events, at.store->watermarks().appended);
    StateMachine& state = at.store->state();
    std::set<std::string> names;
    for (Topic* topic : at.store->topics()) {
        names.insert(topic->name());
    }
    REQUIRE(names.size() == expected.topics.size());
    REQUIRE(state.topics().size() == expected.topics.size());
    for (const auto& [name, queues] : expected.topics) {
        Topic* const topic = at.store->find_topic(name);
        REQUIRE(topic != nullptr);
        for (std::int32_t id = 0; id < topic->read_queues(); ++id) {
            const auto found = queues.find(id);
            require_queue(
                at,
                *topic->queue(id),
                found != queues.end() ? found->second : std::vector<const LoggedEvent*>());
        }
    }
    REQUIRE(state.groups().size() == expected.groups.size());
    for (const auto& [name, retries] : expected.groups) {
        REQUIRE(state.group(name).has_value());
        REQUIRE(state.group(name)->retrymaxtimes() == retries);
    }
    std::size_t offsets = 0;
    for (const char* group : {"g0", "g1", "g2"}) {
        offsets += state.offsets_of_group(group).size();
    }
    REQUIRE(offsets == expected.offsets.size());
    for (const auto& [place, offset] : expected.offsets) {
        const auto& [group, topic, queue] = place;
        REQUIRE(state.offset(group, topic, queue) == offset);
    }
    require_keys(at, events, expected);
}

StoreWorkload::StoreWorkload(StoreFixture& at, Random& random, LoggedEvents events)
    : at_(at),
      random_(random),
      events_(std::move(events)),
      next_number_(static_cast<std::uint32_t>(events_.size())) {}

void StoreWorkload::step() {
    const std::uint64_t dice = random_.below(100);
    if (dice < 6) {
        put_topic("t" + std::to_string(random_.below(4)));
    } else if (dice < 10) {
        if (const std::string topic = living_topic(); !topic.empty()) {
            delete_topic(topic);
        }
    } else if (dice < 14) {
        change_group();
    } else if (dice < 22) {
        commit_offset();
    } else if (dice < 32) {
        flush();
    } else {
        append_some();
    }
}

std::string StoreWorkload::living_topic() {
    const std::vector<Topic*> topics = at_.store->topics();
    return topics.empty() ? std::string() : topics[random_.below(topics.size())]->name();
}

void StoreWorkload::append_some() {
    const std::string topic = living_topic();
    if (topic.empty()) {
        put_topic("t0");
        return;
    }
    const auto queue = static_cast<std::int32_t>(random_.below(3));
    const bool is_large = random_.below(8) == 0;
    append(topic, queue, static_cast<std::uint32_t>(random_.below(is_large ? 9'000 : 600)));
}

void StoreWorkload::append(const std::string& topic, std::int32_t queue, std::uint32_t body_bytes) {
    const std::size_t count = body_bytes < 600 ? 1 + random_.below(4) : 1;
    std::vector<TestMessage> messages;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t number = next_number_++;
        TestMessage message;
        message.body = numbered_body(number, body_bytes);
        message.tag = random_.below(2) == 0 ? "tag" + std::to_string(number % 3) : "";
        message.keys = random_.below(2) == 0 ? key_of(number) : "";
        messages.push_back(std::move(message));
    }
    Queue* const into = at_.store->find_topic(topic)->queue(queue);
    const Result<Appended> appended = at_.append(*into, messages);
    if (!appended) {
        FAIL("append: " << to_string(appended.error()));
    }
    LogOffset at = appended->first;
    for (TestMessage& message : messages) {
        LoggedEvent event;
        event.at = at;
        event.end = at + static_cast<std::int64_t>(stored(topic, queue, message).size());
        event.has_more = event.end < appended->end;
        event.topic = topic;
        event.queue = queue;
        event.message = std::move(message);
        at = event.end;
        events_.push_back(std::move(event));
    }
    REQUIRE(at == appended->end);
}

void StoreWorkload::commit(const wire::StateRecord& changes, LoggedEvent event) {
    const Result<Appended> committed = at_.store->state().commit(changes);
    if (!committed) {
        FAIL("commit: " << to_string(committed.error()));
    }
    event.end = committed->end;
    events_.push_back(std::move(event));
}

void StoreWorkload::put_topic(const std::string& topic) {
    wire::StateRecord changes;
    wire::TopicConfig& put = *changes.add_changes()->mutable_topicput();
    put.set_topicname(topic);
    put.set_readqueuenums(4);
    put.set_writequeuenums(4);
    put.set_perm(perm::kRead | perm::kWrite);
    LoggedEvent event;
    event.kind = Kind::kTopicPut;
    event.topic = topic;
    commit(changes, std::move(event));
}

void StoreWorkload::delete_topic(const std::string& topic) {
    wire::StateRecord changes;
    changes.add_changes()->set_topicdelete(topic);
    LoggedEvent event;
    event.kind = Kind::kTopicDelete;
    event.topic = topic;
    commit(changes, std::move(event));
}

void StoreWorkload::change_group() {
    LoggedEvent event;
    event.group = "g" + std::to_string(random_.below(3));
    wire::StateRecord changes;
    if (random_.below(4) == 0) {
        event.kind = Kind::kGroupDelete;
        changes.add_changes()->set_groupdelete(event.group);
    } else {
        event.kind = Kind::kGroupPut;
        event.value = static_cast<std::int64_t>(random_.below(100));
        wire::SubscriptionGroupConfig& put = *changes.add_changes()->mutable_groupput();
        put.set_groupname(event.group);
        put.set_retrymaxtimes(static_cast<std::int32_t>(event.value));
    }
    commit(changes, std::move(event));
}

void StoreWorkload::commit_offset() {
    LoggedEvent event;
    event.kind = Kind::kOffsetPut;
    event.group = "g" + std::to_string(random_.below(3));
    event.topic = living_topic();
    if (event.topic.empty()) {
        return;
    }
    event.queue = static_cast<std::int32_t>(random_.below(3));
    event.value = static_cast<std::int64_t>(random_.below(50));
    wire::StateRecord changes;
    wire::OffsetPut& put = *changes.add_changes()->mutable_offsetput();
    put.set_group(event.group);
    put.set_topic(event.topic);
    put.set_queueid(event.queue);
    put.set_offset(event.value);
    commit(changes, std::move(event));
}

void StoreWorkload::flush() {
    const LogOffset end = at_.store->watermarks().appended;
    at_.store->flush_soon();
    REQUIRE(harness::wait_until(kPatience, [&] { return at_.store->watermarks().flushed >= end; }));
}

}  // namespace gantry::storage

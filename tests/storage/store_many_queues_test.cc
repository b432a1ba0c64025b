// SPDX-License-Identifier: Apache-2.0
#include "storage/index/queue_index.h"
#include "storage/state_machine.h"
#include "storage/topic_table.h"
#include "tests/harness/build.h"
#include "tests/storage/store_fixture.h"

#include <algorithm>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::int32_t kTopics = harness::kIsSanitized ? 20 : 1'000;
constexpr std::int32_t kQueuesPerTopic = 100;
constexpr std::int64_t kRounds = 3;

std::string topic_name(std::int32_t number) {
    return "topic-" + std::to_string(number);
}

StoreOptions many_options(const fs::path& directory) {
    StoreOptions options = small_options(directory);
    options.segment_bytes = std::uint64_t{64} << 20U;
    options.prefault_bytes = std::uint64_t{8} << 20U;
    options.queue_file_mib = 8;
    options.flush_interval_ms = 3'600'000;
    return options;
}

void make_topics(Store& store) {
    for (std::int32_t i = 0; i < kTopics; ++i) {
        wire::StateRecord changes;
        wire::TopicConfig& put = *changes.add_changes()->mutable_topicput();
        put.set_topicname(topic_name(i));
        put.set_readqueuenums(kQueuesPerTopic);
        put.set_writequeuenums(kQueuesPerTopic);
        put.set_perm(perm::kRead | perm::kWrite);
        REQUIRE(store.state().commit(changes));
    }
}

/// One message to each queue; topics take turns.
void append_round(StoreFixture& at, std::int64_t round) {
    for (std::int32_t queue = 0; queue < kQueuesPerTopic; ++queue) {
        for (std::int32_t topic = 0; topic < kTopics; ++topic) {
            Queue& to = *at.store->find_topic(topic_name(topic))->queue(queue);
            const auto appended = at.append(to, {{"body", round % 2 == 0 ? "even" : "odd", ""}});
            if (!appended || appended->queue_offset.value != round) {
                FAIL("queue " << queue << " of " << topic_name(topic) << ", round " << round);
            }
        }
    }
}

/// Every unit of every queue, topic by topic.
std::vector<QueueUnit> all_units(Store& store) {
    std::vector<QueueUnit> all;
    std::vector<QueueUnit> some(static_cast<std::size_t>(kRounds) + 1);
    for (std::int32_t topic = 0; topic < kTopics; ++topic) {
        Topic* const found = store.find_topic(topic_name(topic));
        REQUIRE(found != nullptr);
        for (std::int32_t id = 0; id < kQueuesPerTopic; ++id) {
            const QueueIndex& index = *found->queue(id)->index;
            const std::size_t count = index.read(index.min(), some);
            all.insert(all.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(count));
        }
    }
    return all;
}

constexpr std::size_t kUnits = std::size_t{kTopics} * kQueuesPerTopic * kRounds;

TEST_SUITE("storage/store_many_queues") {
    TEST_CASE(
        "a hundred thousand queues survive a kill, a clean stop and the loss of their index") {
        const TemporaryDirectory directory(fast_directory());
        const fs::path image = directory.path() / "image";
        std::vector<QueueUnit> written;
        {
            StoreFixture at(directory.path() / "live");
            at.options = many_options(directory.path() / "live");
            at.open();
            make_topics(*at.store);
            for (std::int64_t round = 0; round < kRounds; ++round) {
                append_round(at, round);
            }
            written = all_units(*at.store);
            REQUIRE(written.size() == kUnits);
            copy_store(at.options.directory, image);
        }
        fs::remove_all(directory.path() / "live");
        StoreFixture at(image);
        at.options = many_options(image);
        at.open();
        CHECK_FALSE(at.recovery.was_clean);
        CHECK(at.recovery.records_replayed == kUnits + kTopics);
        CHECK(at.store->topics().size() == kTopics);
        CHECK(all_units(*at.store) == written);

        at.open();
        CHECK(at.recovery.was_clean);
        CHECK(at.recovery.records_replayed == 0);
        CHECK(all_units(*at.store) == written);

        at.store.reset();
        fs::remove_all(image / "consumequeue");
        at.open();
        CHECK(at.recovery.records_replayed == kUnits + kTopics);
        CHECK(all_units(*at.store) == written);
        const auto next =
            at.append(*at.store->find_topic(topic_name(0))->queue(0), {{"next", "", ""}});
        REQUIRE(next);
        CHECK(next->queue_offset == QueueOffset(kRounds));
    }

    TEST_CASE(
        "of many topics each is found by its name, also when others were removed and made anew") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path() / "live");
        at.options = many_options(directory.path() / "live");
        at.open();
        make_topics(*at.store);
        const auto remove = [&](std::int32_t number) {
            wire::StateRecord changes;
            changes.add_changes()->set_topicdelete(topic_name(number));
            REQUIRE(at.store->state().commit(changes));
        };
        std::vector<Topic*> first;
        for (std::int32_t i = 0; i < kTopics; ++i) {
            first.push_back(at.store->find_topic(topic_name(i)));
            REQUIRE(first.back() != nullptr);
            CHECK(first.back()->name() == topic_name(i));
            if (i % 3 == 0) {
                remove(i);
            }
        }
        CHECK(at.store->topics().size() == static_cast<std::size_t>(kTopics - (kTopics + 2) / 3));
        for (std::int32_t i = 0; i < kTopics; ++i) {
            Topic* const found = at.store->find_topic(topic_name(i));
            CHECK(found == (i % 3 == 0 ? nullptr : first[static_cast<std::size_t>(i)]));
        }
        make_topics(*at.store);
        for (std::int32_t i = 0; i < kTopics; ++i) {
            Topic* const found = at.store->find_topic(topic_name(i));
            REQUIRE(found != nullptr);
            CHECK(found->name() == topic_name(i));
            CHECK((found == first[static_cast<std::size_t>(i)]) == (i % 3 != 0));
            CHECK(first[static_cast<std::size_t>(i)]->is_deleted() == (i % 3 == 0));
        }
    }

    TEST_CASE("a topic's queues stay where they are while others are made, up to the last one") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path() / "live");
        at.open();
        wire::StateRecord changes;
        wire::TopicConfig& put = *changes.add_changes()->mutable_topicput();
        put.set_topicname("wide");
        put.set_readqueuenums(kQueuesPerTopicMax);
        put.set_writequeuenums(kQueuesPerTopicMax);
        put.set_perm(perm::kRead | perm::kWrite);
        REQUIRE(at.store->state().commit(changes));
        Topic& topic = *at.store->find_topic("wide");
        const std::vector<std::int32_t> ids{
            0, 1, 7, 8, 15, 16, 17, 31, 32, 127, 128, 65'534, 65'535};
        std::vector<Queue*> queues;
        for (const std::int32_t id : ids) {
            queues.push_back(topic.queue(id));
            REQUIRE(queues.back() != nullptr);
            CHECK(queues.back()->queue_id == id);
        }
        for (std::size_t i = 0; i < ids.size(); ++i) {
            CHECK(topic.queue(ids[i]) == queues[i]);
            CHECK(queues[i]->queue_id == ids[i]);
        }
        CHECK(topic.queue(-1) == nullptr);
        CHECK(topic.queue(kQueuesPerTopicMax) == nullptr);
    }

    TEST_CASE("queues made in any order, with gaps between their ids, are found by id") {
        const TemporaryDirectory directory;
        StoreFixture at(directory.path() / "live");
        at.open();
        for (const std::int32_t id : {7, 3, 5}) {
            REQUIRE(at.append(at.queue("t", id), {{"body " + std::to_string(id), "", ""}}));
        }
        at.open();
        for (const std::int32_t id : {3, 5, 7}) {
            CHECK(read_bodies(*at.store, at.queue("t", id)) ==
                  std::vector<std::string>{"body " + std::to_string(id)});
        }
        CHECK(read_bodies(*at.store, at.queue("t", 4)).empty());
    }
}

}  // namespace
}  // namespace gantry::storage

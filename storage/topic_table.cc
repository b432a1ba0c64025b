// SPDX-License-Identifier: Apache-2.0
#include "storage/topic_table.h"

#include "protocol/wire/topic.pb.h"
#include "storage/by_name.h"
#include "storage/index/consume_queues.h"
#include "storage/index/queue_index.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace gantry::storage {
namespace {

constexpr std::size_t kFirstBlockQueues = 8;
constexpr std::size_t kSlotsMin = 64;

/// Where a topic keeps a queue: blocks of 8, 8, 16, 32... queues.
struct Place {
    std::size_t block = 0;
    std::size_t at = 0;
    std::size_t block_queues = kFirstBlockQueues;
};

Place place_of(std::size_t queue_id) noexcept {
    if (queue_id < kFirstBlockQueues) {
        return {0, queue_id};
    }
    const std::size_t first = std::bit_floor(queue_id);
    const auto block = static_cast<std::size_t>(std::countr_zero(first / kFirstBlockQueues)) + 1;
    return {block, queue_id - first, first};
}

TopicAcks acks_of(const wire::TopicConfig& config) {
    const auto found = config.attributes().find(std::string(kReplicationAttribute));
    if (found == config.attributes().end()) {
        return TopicAcks::kDefault;
    }
    return found->second == "async" ? TopicAcks::kAsync : TopicAcks::kSync;
}

}  // namespace

QueueOffset Queue::min() const noexcept {
    return index->min();
}

QueueOffset Queue::max() const noexcept {
    return index->max();
}

Queue* Topic::queue(std::int32_t queue_id) {
    const MutexLock lock(mutex_);
    if (is_deleted() || queue_id < 0 || queue_id >= std::max(read_queues(), write_queues())) {
        return nullptr;
    }
    const Place place = place_of(static_cast<std::size_t>(queue_id));
    std::unique_ptr<Queue[]>& block = blocks_[place.block];
    if (block == nullptr) {
        block = std::make_unique<Queue[]>(place.block_queues);
    }
    Queue& queue = block[place.at];
    if (queue.index == nullptr) {
        queue = {name_, queue_id, &all_.queue(name_, queue_id)};
    }
    // With many queues its index is seldom in the processor's cache, and is needed soon.
    queue.index->prefetch();
    return &queue;
}

TopicTable::TopicTable(ConsumeQueues& queues) : queues_(queues) {
    const MutexLock lock(mutex_);
    Topic& state = add(std::string(kStateTopic));
    state.read_queues_.store(1, std::memory_order_release);
    state.write_queues_.store(1, std::memory_order_release);
}

TopicTable::~TopicTable() = default;

Topic* TopicTable::find(std::string_view name) const {
    const MutexLock lock(mutex_);
    Topic* topic = get(name);
    return topic != nullptr && !topic->is_deleted() ? topic : nullptr;
}

Topic* TopicTable::get(std::string_view name) const {
    const std::size_t hash = NameHash{}(name);
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = hash & mask; slots_[at].topic != nullptr; at = (at + 1) & mask) {
        Topic* topic = slots_[at].topic;
        if (slots_[at].hash != hash) {
            continue;
        }
        // Where it keeps its queues: needed next, and read while the name is compared.
        __builtin_prefetch(&topic->mutex_, 1);
        __builtin_prefetch(&topic->blocks_, 0);
        if (!topic->is_removed_ && topic->name() == name) {
            return topic;
        }
    }
    return nullptr;
}

Topic& TopicTable::add(std::string name) {
    Topic& topic = topics_.emplace_back(std::move(name), queues_);
    if ((used_ + 1) * 2 > slots_.size()) {
        grow();
    } else {
        enter(topic);
    }
    return topic;
}

void TopicTable::enter(Topic& topic) {
    const std::size_t hash = NameHash{}(topic.name());
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = hash & mask;
    while (slots_[at].topic != nullptr) {
        at = (at + 1) & mask;
    }
    slots_[at] = {hash, &topic};
    ++used_;
}

void TopicTable::grow() {
    const auto is_living = [](const Topic& topic) { return !topic.is_removed_; };
    const auto living =
        static_cast<std::size_t>(std::count_if(topics_.begin(), topics_.end(), is_living));
    slots_.assign(std::max(kSlotsMin, std::bit_ceil(living) * 4), {});
    used_ = 0;
    for (Topic& topic : topics_) {
        if (!topic.is_removed_) {
            enter(topic);
        }
    }
}

std::vector<Topic*> TopicTable::all() {
    std::vector<Topic*> living;
    const MutexLock lock(mutex_);
    living.reserve(topics_.size());
    for (Topic& topic : topics_) {
        if (topic.name() != kStateTopic && !topic.is_deleted()) {
            living.push_back(&topic);
        }
    }
    std::sort(living.begin(), living.end(), [](const Topic* a, const Topic* b) {
        return a->name() < b->name();
    });
    return living;
}

Topic& TopicTable::put(const wire::TopicConfig& config) {
    const MutexLock lock(mutex_);
    Topic* const known = get(config.topicname());
    Topic& topic = known != nullptr ? *known : add(config.topicname());
    topic.read_queues_.store(config.readqueuenums(), std::memory_order_release);
    topic.write_queues_.store(config.writequeuenums(), std::memory_order_release);
    topic.perm_.store(config.perm(), std::memory_order_release);
    topic.acks_.store(acks_of(config), std::memory_order_release);
    return topic;
}

void TopicTable::seal(std::string_view name) {
    const MutexLock lock(mutex_);
    if (Topic* topic = get(name); topic != nullptr) {
        // Under the topic's own lock: no queue is made between the mark and the seal.
        const MutexLock closing(topic->mutex_);
        topic->is_deleted_.store(true, std::memory_order_release);
        queues_.seal(name);
    }
}

void TopicTable::unseal(std::string_view name) {
    const MutexLock lock(mutex_);
    if (Topic* topic = get(name); topic != nullptr) {
        const MutexLock opening(topic->mutex_);
        queues_.unseal(name);
        topic->is_deleted_.store(false, std::memory_order_release);
    }
}

void TopicTable::remove(std::string_view name, bool drop_queues) {
    const MutexLock lock(mutex_);
    if (Topic* topic = get(name); topic != nullptr) {
        const MutexLock closing(topic->mutex_);
        topic->is_deleted_.store(true, std::memory_order_release);
        topic->perm_.store(0, std::memory_order_release);
        topic->is_removed_ = true;
    }
    if (drop_queues) {
        queues_.drop(name);
    }
}

void TopicTable::drop_queues(std::string_view name) {
    queues_.drop(name);
}

}  // namespace gantry::storage

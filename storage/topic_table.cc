// SPDX-License-Identifier: Apache-2.0
#include "storage/topic_table.h"

#include "protocol/wire/topic.pb.h"
#include "storage/index/consume_queues.h"
#include "storage/index/queue_index.h"

#include <algorithm>
#include <utility>

namespace gantry::storage {

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
    const auto at = static_cast<std::size_t>(queue_id);
    if (queues_.size() <= at) {
        queues_.resize(at + 1);
    }
    Queue& queue = queues_[at];
    if (queue.index == nullptr) {
        queue = {name_, queue_id, &all_.queue(name_, queue_id)};
    }
    // With many queues its index is seldom in the processor's cache, and is needed soon.
    queue.index->prefetch();
    return &queue;
}

TopicTable::TopicTable(ConsumeQueues& queues) : queues_(queues) {
    std::unique_ptr<Topic> state(new Topic(std::string(kStateTopic), queues_));
    state->read_queues_.store(1, std::memory_order_release);
    state->write_queues_.store(1, std::memory_order_release);
    const MutexLock lock(mutex_);
    topics_.emplace(kStateTopic, std::move(state));
}

TopicTable::~TopicTable() = default;

Topic* TopicTable::find(std::string_view name) const {
    const MutexLock lock(mutex_);
    const auto found = topics_.find(name);
    return found != topics_.end() && !found->second->is_deleted() ? found->second.get() : nullptr;
}

std::vector<Topic*> TopicTable::all() const {
    std::vector<Topic*> living;
    const MutexLock lock(mutex_);
    living.reserve(topics_.size());
    for (const auto& [name, topic] : topics_) {
        if (name != kStateTopic && !topic->is_deleted()) {
            living.push_back(topic.get());
        }
    }
    std::sort(living.begin(), living.end(), [](const Topic* a, const Topic* b) {
        return a->name() < b->name();
    });
    return living;
}

Topic& TopicTable::put(const wire::TopicConfig& config) {
    const MutexLock lock(mutex_);
    auto found = topics_.find(config.topicname());
    if (found == topics_.end()) {
        std::unique_ptr<Topic> made(new Topic(config.topicname(), queues_));
        found = topics_.emplace(config.topicname(), std::move(made)).first;
    }
    Topic& topic = *found->second;
    topic.read_queues_.store(config.readqueuenums(), std::memory_order_release);
    topic.write_queues_.store(config.writequeuenums(), std::memory_order_release);
    topic.perm_.store(config.perm(), std::memory_order_release);
    return topic;
}

void TopicTable::seal(std::string_view name) {
    const MutexLock lock(mutex_);
    if (const auto found = topics_.find(name); found != topics_.end()) {
        // Under the topic's own lock: no queue is made between the mark and the seal.
        const MutexLock topic(found->second->mutex_);
        found->second->is_deleted_.store(true, std::memory_order_release);
        queues_.seal(name);
    }
}

void TopicTable::unseal(std::string_view name) {
    const MutexLock lock(mutex_);
    if (const auto found = topics_.find(name); found != topics_.end()) {
        const MutexLock topic(found->second->mutex_);
        queues_.unseal(name);
        found->second->is_deleted_.store(false, std::memory_order_release);
    }
}

void TopicTable::remove(std::string_view name, bool drop_queues) {
    const MutexLock lock(mutex_);
    if (const auto found = topics_.find(name); found != topics_.end()) {
        Topic& topic = *found->second;
        const MutexLock closing(topic.mutex_);
        topic.is_deleted_.store(true, std::memory_order_release);
        topic.perm_.store(0, std::memory_order_release);
        deleted_.push_back(std::move(found->second));
        topics_.erase(found);
    }
    if (drop_queues) {
        queues_.drop(name);
    }
}

void TopicTable::drop_queues(std::string_view name) {
    queues_.drop(name);
}

}  // namespace gantry::storage

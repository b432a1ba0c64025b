// SPDX-License-Identifier: Apache-2.0
#include "storage/pop/pop_table.h"

#include <algorithm>

namespace gantry::storage {

PopQueue* PopShare::find(std::int32_t queue_id) {
    const auto found = queues_.find(queue_id);
    if (found == queues_.end()) {
        return nullptr;
    }
    touched_.push_back(queue_id);
    return &found->second;
}

PopQueue& PopShare::open(std::int32_t queue_id, QueueOffset start) {
    const auto [at, is_new] = queues_.try_emplace(queue_id, start, *last_life_ + 1);
    if (is_new) {
        ++*last_life_;
    }
    touched_.push_back(queue_id);
    return at->second;
}

PopShare& PopTable::share_of(std::string_view group, std::string_view topic) {
    auto in_group = groups_.find(group);
    if (in_group == groups_.end()) {
        in_group = groups_.emplace(std::string(group), Topics{}).first;
    }
    auto share = in_group->second.find(topic);
    if (share == in_group->second.end()) {
        share = in_group->second.emplace(std::string(topic), PopShare{}).first;
        share->second.last_life_ = &last_life_;
    }
    return share->second;
}

PopQueue* PopTable::find(const Key& key) {
    const auto in_group = groups_.find(key.group);
    if (in_group == groups_.end()) {
        return nullptr;
    }
    const auto share = in_group->second.find(key.topic);
    if (share == in_group->second.end()) {
        return nullptr;
    }
    const auto queue = share->second.queues_.find(key.queue_id);
    return queue == share->second.queues_.end() ? nullptr : &queue->second;
}

void PopTable::note_changes(std::string_view group, std::string_view topic, PopShare& share) {
    for (const std::int32_t queue_id : share.touched_) {
        const PopQueue& queue = share.queues_.at(queue_id);
        if (!queue.has_changes()) {
            continue;
        }
        bool& is_urgent = changed_[Key{std::string(group), std::string(topic), queue_id}];
        if (queue.has_leases_to_write() && !is_urgent) {
            is_urgent = true;
            ++urgent_;
        }
    }
    share.touched_.clear();
    if (share.queues_.empty()) {
        remove(group, topic);
    }
}

void PopTable::remove(std::string_view group, std::string_view topic) {
    const auto in_group = groups_.find(group);
    in_group->second.erase(in_group->second.find(topic));
    if (in_group->second.empty()) {
        groups_.erase(in_group);
    }
}

bool PopTable::has_changes(bool leases_only) const {
    const MutexLock lock(mutex_);
    return leases_only ? urgent_ > 0 : !changed_.empty();
}

bool PopTable::take_changes(wire::StateRecord& record, std::size_t bytes_max, bool leases_only) {
    const MutexLock lock(mutex_);
    std::size_t bytes = 0;
    for (auto at = changed_.begin(); at != changed_.end();) {
        const auto& [key, is_urgent] = *at;
        if (leases_only && !is_urgent) {
            ++at;
            continue;
        }
        if (bytes >= bytes_max) {
            return true;
        }
        if (PopQueue* const queue = find(key)) {
            wire::PopPut& put = *record.add_changes()->mutable_popput();
            put.set_group(key.group);
            put.set_topic(key.topic);
            put.set_queueid(key.queue_id);
            queue->write_changes(put);
            bytes += put.ByteSizeLong();
        }
        urgent_ -= is_urgent ? 1U : 0U;
        at = changed_.erase(at);
    }
    return false;
}

void PopTable::write_failed(const wire::StateRecord& record) {
    const MutexLock lock(mutex_);
    for (const wire::StateChange& change : record.changes()) {
        const Key key{change.popput().group(), change.popput().topic(), change.popput().queueid()};
        if (PopQueue* const queue = find(key)) {
            queue->write_failed();
            bool& is_urgent = changed_[key];
            urgent_ += is_urgent ? 0U : 1U;
            is_urgent = true;
        }
    }
}

void PopTable::apply(const wire::PopPut& put) {
    const MutexLock lock(mutex_);
    PopShare& share = share_of(put.group(), put.topic());
    share.open(put.queueid(), QueueOffset(put.committed())).apply(put);
    share.touched_.clear();
}

void PopTable::reset(std::string_view group,
                     std::string_view topic,
                     std::int32_t queue_id,
                     QueueOffset offset) {
    const MutexLock lock(mutex_);
    const Key key{std::string(group), std::string(topic), queue_id};
    PopQueue* const queue = find(key);
    if (queue == nullptr) {
        return;
    }
    *queue = PopQueue(offset, ++last_life_);
    queue->written();
}

void PopTable::remove_topic(std::string_view topic) {
    const MutexLock lock(mutex_);
    for (auto& [group, topics] : groups_) {
        const auto share = topics.find(topic);
        if (share != topics.end()) {
            topics.erase(share);
        }
    }
}

void PopTable::remove_group(std::string_view group) {
    const MutexLock lock(mutex_);
    const auto found = groups_.find(group);
    if (found != groups_.end()) {
        groups_.erase(found);
    }
}

PopTable::Size PopTable::size() const {
    const MutexLock lock(mutex_);
    Size size;
    for (const auto& [group, topics] : groups_) {
        for (const auto& [topic, share] : topics) {
            for (const auto& [queue_id, queue] : share.queues_) {
                size.messages += queue.in_flight();
                size.leases += queue.lease_count();
            }
        }
    }
    return size;
}

void PopTable::save(wire::StateSnapshot& snapshot) const {
    const MutexLock lock(mutex_);
    for (const auto& [group, topics] : groups_) {
        for (const auto& [topic, share] : topics) {
            for (const auto& [queue_id, queue] : share.queues_) {
                wire::PopPut& put = *snapshot.add_pops();
                put.set_group(group);
                put.set_topic(topic);
                put.set_queueid(queue_id);
                queue.write_whole(put);
            }
        }
    }
}

}  // namespace gantry::storage

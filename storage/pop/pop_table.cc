// SPDX-License-Identifier: Apache-2.0
#include "storage/pop/pop_table.h"

#include <utility>

namespace gantry::storage {

PopQueue* PopShare::find(std::int32_t queue_id) {
    const auto found = queues_.find(queue_id);
    if (found == queues_.end()) {
        return nullptr;
    }
    touched_.push_back(queue_id);
    return &found->second.queue;
}

PopQueue& PopShare::open(std::int32_t queue_id, QueueOffset start) {
    const auto [at, is_new] = queues_.try_emplace(queue_id, start, *last_life_ + 1);
    if (is_new) {
        ++*last_life_;
    }
    touched_.push_back(queue_id);
    return at->second.queue;
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

PopShare::Entry* PopTable::find(std::string_view group,
                                std::string_view topic,
                                std::int32_t queue_id) {
    const auto in_group = groups_.find(group);
    if (in_group == groups_.end()) {
        return nullptr;
    }
    const auto share = in_group->second.find(topic);
    if (share == in_group->second.end()) {
        return nullptr;
    }
    const auto queue = share->second.queues_.find(queue_id);
    return queue == share->second.queues_.end() ? nullptr : &queue->second;
}

void PopTable::note_changes(std::string_view group, std::string_view topic, PopShare& share) {
    using Listed = PopShare::Listed;
    for (const std::int32_t queue_id : share.touched_) {
        PopShare::Entry& entry = share.queues_.at(queue_id);
        const Listed wanted = entry.queue.has_leases_to_write() ? Listed::kNow
                              : entry.queue.has_changes()       ? Listed::kLater
                                                                : Listed::kNo;
        if (wanted <= entry.listed) {
            continue;
        }
        entry.listed = wanted;
        Keys& keys = wanted == Listed::kNow ? with_leases_ : with_less_;
        keys.insert(Key{std::string(group), std::string(topic), queue_id});
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
    return !with_leases_.empty() || (!leases_only && !with_less_.empty());
}

bool PopTable::take_changes(wire::StateRecord& record, std::size_t bytes_max, bool leases_only) {
    const MutexLock lock(mutex_);
    return take_some(with_leases_, record, bytes_max) ||
           (!leases_only && take_some(with_less_, record, bytes_max));
}

bool PopTable::take_some(Keys& keys, wire::StateRecord& record, std::size_t bytes_max) {
    std::size_t bytes = record.ByteSizeLong();
    while (!keys.empty()) {
        if (bytes >= bytes_max) {
            return true;
        }
        const Key key = *keys.begin();
        keys.erase(keys.begin());
        PopShare::Entry* const entry = find(key.group, key.topic, key.queue_id);
        if (entry == nullptr) {
            continue;
        }
        entry->listed = PopShare::Listed::kNo;
        if (entry->queue.has_changes()) {
            wire::PopPut& put = *record.add_changes()->mutable_popput();
            put.set_group(key.group);
            put.set_topic(key.topic);
            put.set_queueid(key.queue_id);
            entry->queue.write_changes(put);
            bytes += put.ByteSizeLong();
        }
    }
    return false;
}

void PopTable::write_failed(const wire::StateRecord& record) {
    const MutexLock lock(mutex_);
    for (const wire::StateChange& change : record.changes()) {
        const wire::PopPut& put = change.popput();
        if (PopShare::Entry* const entry = find(put.group(), put.topic(), put.queueid())) {
            entry->queue.write_failed();
            entry->listed = PopShare::Listed::kNow;
            with_leases_.insert(Key{put.group(), put.topic(), put.queueid()});
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
    PopShare::Entry* const entry = find(group, topic, queue_id);
    if (entry == nullptr) {
        return;
    }
    const WallMs last_receipt = entry->queue.last_receipt();
    entry->queue = PopQueue(offset, ++last_life_);
    entry->queue.set_receipts_after(last_receipt);
    entry->queue.written();
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
            for (const auto& [queue_id, entry] : share.queues_) {
                size.messages += entry.queue.in_flight();
                size.leases += entry.queue.lease_count();
            }
        }
    }
    return size;
}

void PopTable::save(wire::StateSnapshot& snapshot) const {
    const MutexLock lock(mutex_);
    for (const auto& [group, topics] : groups_) {
        for (const auto& [topic, share] : topics) {
            for (const auto& [queue_id, entry] : share.queues_) {
                wire::PopPut& put = *snapshot.add_pops();
                put.set_group(group);
                put.set_topic(topic);
                put.set_queueid(queue_id);
                entry.queue.write_whole(put);
            }
        }
    }
}

}  // namespace gantry::storage

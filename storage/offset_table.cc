// SPDX-License-Identifier: Apache-2.0
#include "storage/offset_table.h"

#include <algorithm>

namespace gantry::storage {
namespace {

using Entry = std::pair<std::int32_t, std::int64_t>;

bool is_before(const Entry& entry, std::int32_t queue_id) noexcept {
    return entry.first < queue_id;
}

template <class Map>
auto& entry_of(Map& map, const std::string& name) {
    const auto found = map.find(name);
    return found != map.end() ? found->second : map[name];
}

wire::OffsetPut make_put(const std::string& group, const std::string& topic, const Entry& entry) {
    wire::OffsetPut put;
    put.set_group(group);
    put.set_topic(topic);
    put.set_queueid(entry.first);
    put.set_offset(entry.second);
    return put;
}

}  // namespace

void OffsetTable::put(const wire::OffsetPut& put) {
    Queues& queues = entry_of(entry_of(groups_, put.group()), put.topic());
    const auto at = std::lower_bound(queues.begin(), queues.end(), put.queueid(), is_before);
    if (at != queues.end() && at->first == put.queueid()) {
        at->second = put.offset();
    } else {
        queues.emplace(at, put.queueid(), put.offset());
    }
}

void OffsetTable::remove_topic(std::string_view topic) {
    for (auto group = groups_.begin(); group != groups_.end();) {
        if (const auto found = group->second.find(topic); found != group->second.end()) {
            group->second.erase(found);
        }
        group = group->second.empty() ? groups_.erase(group) : std::next(group);
    }
}

void OffsetTable::remove_group(std::string_view group) {
    if (const auto found = groups_.find(group); found != groups_.end()) {
        groups_.erase(found);
    }
}

std::optional<std::int64_t> OffsetTable::find(std::string_view group,
                                              std::string_view topic,
                                              std::int32_t queue_id) const {
    const auto topics = groups_.find(group);
    if (topics == groups_.end()) {
        return std::nullopt;
    }
    const auto queues = topics->second.find(topic);
    if (queues == topics->second.end()) {
        return std::nullopt;
    }
    const auto at =
        std::lower_bound(queues->second.begin(), queues->second.end(), queue_id, is_before);
    return at != queues->second.end() && at->first == queue_id ? std::optional(at->second)
                                                               : std::nullopt;
}

std::vector<wire::OffsetPut> OffsetTable::of_group(std::string_view group) const {
    std::vector<wire::OffsetPut> puts;
    const auto found = groups_.find(group);
    if (found == groups_.end()) {
        return puts;
    }
    for (const auto& [topic, queues] : found->second) {
        for (const Entry& entry : queues) {
            puts.push_back(make_put(found->first, topic, entry));
        }
    }
    return puts;
}

std::vector<wire::OffsetPut> OffsetTable::of_topic(std::string_view topic) const {
    std::vector<wire::OffsetPut> puts;
    for (const auto& [group, topics] : groups_) {
        const auto found = topics.find(topic);
        if (found == topics.end()) {
            continue;
        }
        for (const Entry& entry : found->second) {
            puts.push_back(make_put(group, found->first, entry));
        }
    }
    return puts;
}

void OffsetTable::for_each(const std::function<void(const wire::OffsetPut&)>& each) const {
    for (const auto& [group, topics] : groups_) {
        for (const auto& [topic, queues] : topics) {
            for (const Entry& entry : queues) {
                each(make_put(group, topic, entry));
            }
        }
    }
}

}  // namespace gantry::storage

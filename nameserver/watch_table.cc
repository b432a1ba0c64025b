// SPDX-License-Identifier: Apache-2.0
#include "nameserver/watch_table.h"

namespace gantry::nameserver {

Status WatchTable::park(Watch watch) {
    if (topic_count_ + watch.topics.size() > topics_max_) {
        return Error{Errc::kBusy,
                     std::to_string(topic_count_) + " topics are watched, " +
                         std::to_string(watch.topics.size()) +
                         " more exceed limits.watched_topics_max " + std::to_string(topics_max_)};
    }
    std::unordered_set<Id>& mine = by_connection_[watch.to.connection];
    if (mine.size() >= kPerConnection) {
        return Error{Errc::kBusy,
                     std::to_string(mine.size()) +
                         " watches are parked on this connection, the most allowed"};
    }
    const Id id = next_id_++;
    mine.insert(id);
    by_deadline_.emplace(watch.deadline, id);
    for (const Watch::Entry& entry : watch.topics) {
        by_topic_[entry.topic].insert(id);
    }
    topic_count_ += watch.topics.size();
    watches_.emplace(id, std::move(watch));
    return ok();
}

void WatchTable::mark(const std::string& topic) {
    const auto entry = by_topic_.find(topic);
    if (entry != by_topic_.end()) {
        due_.insert(entry->second.begin(), entry->second.end());
    }
}

Watch WatchTable::take(Id id) {
    const auto place = watches_.find(id);
    Watch watch = std::move(place->second);
    watches_.erase(place);
    due_.erase(id);
    topic_count_ -= watch.topics.size();
    for (const Watch::Entry& entry : watch.topics) {
        const auto topic = by_topic_.find(entry.topic);
        // A request may name a topic twice.
        if (topic != by_topic_.end()) {
            topic->second.erase(id);
            if (topic->second.empty()) {
                by_topic_.erase(topic);
            }
        }
    }
    const auto connection = by_connection_.find(watch.to.connection);
    connection->second.erase(id);
    if (connection->second.empty()) {
        by_connection_.erase(connection);
    }
    const auto [first, last] = by_deadline_.equal_range(watch.deadline);
    for (auto it = first; it != last; ++it) {
        if (it->second == id) {
            by_deadline_.erase(it);
            break;
        }
    }
    return watch;
}

std::vector<Watch> WatchTable::take_due() {
    std::vector<Watch> taken;
    taken.reserve(due_.size());
    while (!due_.empty()) {
        taken.push_back(take(*due_.begin()));
    }
    return taken;
}

std::vector<Watch> WatchTable::take_expired(SteadyTime now) {
    std::vector<Watch> taken;
    while (!by_deadline_.empty() && by_deadline_.begin()->first <= now) {
        taken.push_back(take(by_deadline_.begin()->second));
    }
    return taken;
}

std::optional<SteadyTime> WatchTable::next_deadline() const {
    if (by_deadline_.empty()) {
        return std::nullopt;
    }
    return by_deadline_.begin()->first;
}

void WatchTable::drop_connection(net::ConnectionId connection) {
    const auto entry = by_connection_.find(connection);
    if (entry == by_connection_.end()) {
        return;
    }
    const std::vector<Id> ids(entry->second.begin(), entry->second.end());
    for (const Id id : ids) {
        take(id);
    }
}

}  // namespace gantry::nameserver

// SPDX-License-Identifier: Apache-2.0
#include "nameserver/route_table.h"

#include <algorithm>

namespace gantry::nameserver {
namespace {

constexpr std::int32_t kWrite = 2;

}  // namespace

bool RouteTable::route(const std::string& topic, wire::TopicRouteData& route) const {
    const auto entry = topics_.find(topic);
    if (entry == topics_.end()) {
        return false;
    }
    for (const Group* group : entry->second.groups) {
        wire::BrokerData& broker = *route.add_brokerdatas();
        broker.set_brokername(group->name);
        broker.set_cluster(group->cluster);
        if (group->epoch > 0) {
            broker.set_epoch(group->epoch);
        }
        for (const auto& [id, member] : group->members) {
            (*broker.mutable_brokeraddrs())[id] = member.address;
        }
        const Queues& queues = group->topics.at(topic);
        wire::QueueData& data = *route.add_queuedatas();
        data.set_brokername(group->name);
        data.set_perm(queues.permission);
        data.set_readqueuenums(queues.read);
        data.set_writequeuenums(queues.write);
        data.set_topicsysflag(queues.sys_flag);
    }
    return true;
}

std::uint64_t RouteTable::version(const std::string& topic) const {
    const auto entry = topics_.find(topic);
    return entry == topics_.end() ? absent_version_ : entry->second.version;
}

void RouteTable::touch(const std::string& topic) {
    const auto entry = topics_.find(topic);
    if (entry != topics_.end()) {
        entry->second.version = ++last_version_;
        changed(entry->first);
    }
}

void RouteTable::changed(const std::string& topic) {
    ++change_count_;
    on_change_(topic);
}

void RouteTable::touch_all(const Group& group) {
    for (const auto& [topic, queues] : group.topics) {
        touch(topic);
    }
}

wire::ClusterInfo RouteTable::cluster_info() const {
    wire::ClusterInfo info;
    for (const auto& [name, group] : groups_) {
        wire::BrokerData& broker = (*info.mutable_brokeraddrtable())[name];
        broker.set_brokername(name);
        broker.set_cluster(group.cluster);
        for (const auto& [id, member] : group.members) {
            (*broker.mutable_brokeraddrs())[id] = member.address;
        }
        (*info.mutable_clusteraddrtable())[group.cluster].add_values(name);
    }
    return info;
}

wire::TopicList RouteTable::topics() const {
    wire::TopicList list;
    for (const auto& [topic, entry] : topics_) {
        list.add_topiclist(topic);
    }
    std::sort(list.mutable_topiclist()->begin(), list.mutable_topiclist()->end());
    return list;
}

wire::TopicList RouteTable::topics_of_cluster(std::string_view cluster) const {
    wire::TopicList list;
    const bool exists = std::any_of(groups_.begin(), groups_.end(), [cluster](const auto& entry) {
        return entry.second.cluster == cluster;
    });
    if (!exists) {
        return list;
    }
    for (const auto& [topic, entry] : topics_) {
        const auto& groups = entry.groups;
        if (std::any_of(groups.begin(), groups.end(), [cluster](const Group* group) {
                return group->cluster == cluster;
            })) {
            list.add_topiclist(topic);
        }
    }
    std::sort(list.mutable_topiclist()->begin(), list.mutable_topiclist()->end());
    return list;
}

wire::TopicList RouteTable::system_topics() const {
    std::map<std::string, std::vector<std::string>> clusters;
    for (const auto& [name, group] : groups_) {
        clusters[group.cluster].push_back(name);
    }
    wire::TopicList list;
    for (const auto& [cluster, names] : clusters) {
        list.add_topiclist(cluster);
        for (const std::string& name : names) {
            list.add_topiclist(name);
        }
    }
    if (!groups_.empty()) {
        list.set_brokeraddr(groups_.begin()->second.members.begin()->second.address);
    }
    return list;
}

std::int32_t RouteTable::wipe_write_permission(const std::string& broker_name) {
    const auto found = groups_.find(broker_name);
    if (found == groups_.end()) {
        return 0;
    }
    for (auto& [topic, queues] : found->second.topics) {
        if ((queues.permission & kWrite) != 0) {
            queues.permission &= ~kWrite;
            touch(topic);
        }
    }
    return static_cast<std::int32_t>(found->second.topics.size());
}

std::int32_t RouteTable::restore_write_permission(const std::string& broker_name) {
    const auto found = groups_.find(broker_name);
    if (found == groups_.end()) {
        return 0;
    }
    for (auto& [topic, queues] : found->second.topics) {
        if (queues.permission != queues.registered_permission) {
            queues.permission = queues.registered_permission;
            touch(topic);
        }
    }
    return static_cast<std::int32_t>(found->second.topics.size());
}

void RouteTable::delete_topic(const std::string& topic, std::string_view cluster) {
    const auto entry = topics_.find(topic);
    if (entry == topics_.end()) {
        return;
    }
    const std::vector<Group*> groups = entry->second.groups;
    for (Group* group : groups) {
        if (cluster.empty() || group->cluster == cluster) {
            remove_topic(*group, topic);
        }
    }
}

}  // namespace gantry::nameserver

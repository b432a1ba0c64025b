// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/group_registry.h"

#include <algorithm>
#include <set>
#include <utility>

namespace gantry::broker {

namespace {

void describe(const ClientInfo& client, wire::Connection& into) {
    into.set_clientaddr(client.address);
    into.set_clientid(client.client_id);
    into.set_language(client.language);
    into.set_version(client.version);
}

std::shared_ptr<const Subscription> make_subscription(const wire::SubscriptionData& data,
                                                      filter::SqlFilters& filters) {
    auto made = std::make_shared<Subscription>();
    made->data = data;
    const bool is_by_tag = data.expressiontype().empty() || data.expressiontype() == "TAG";
    if (is_by_tag && data.substring().empty() && data.codeset_size() > 0) {
        made->filter.tags = std::make_shared<const std::vector<std::int64_t>>(
            data.codeset().begin(), data.codeset().end());
        return made;
    }
    Result<MessageFilter> filter =
        parse_expression({data.expressiontype(), data.substring()}, filters);
    if (filter) {
        made->filter = std::move(filter).value();
    } else {
        made->error = filter.error();
    }
    return made;
}

}  // namespace

void GroupRegistry::update_topics(Topics& topics, const wire::ConsumerData& consumer) const {
    std::set<std::string_view> named;
    for (const wire::SubscriptionData& data : consumer.subscriptiondataset()) {
        named.insert(data.topic());
        auto& held = topics[data.topic()];
        if (!held || data.subversion() > held->data.subversion()) {
            held = make_subscription(data, filters_);
        }
    }
    std::erase_if(topics, [&named](const auto& each) { return !named.contains(each.first); });
}

bool GroupRegistry::gather_topics(Group& group) {
    Topics all;
    for (const auto& [peer, member] : group.members) {
        for (const auto& [topic, subscription] : member.topics) {
            auto& newest = all[topic];
            if (!newest || subscription->data.subversion() > newest->data.subversion()) {
                newest = subscription;
            }
        }
    }
    const bool is_same =
        std::equal(all.begin(),
                   all.end(),
                   group.topics.begin(),
                   group.topics.end(),
                   [](const auto& a, const auto& b) { return a.first == b.first; });
    group.topics = std::move(all);
    return !is_same;
}

GroupRegistry::Change GroupRegistry::change_of(const std::string& name, const Group& group) {
    Change change{name, {}, group.message_model == "BROADCASTING"};
    change.receivers.reserve(group.members.size());
    for (const auto& [peer, member] : group.members) {
        change.receivers.push_back({peer, member.client.codec});
    }
    return change;
}

std::optional<GroupRegistry::Change> GroupRegistry::join(const ClientInfo& client,
                                                         const wire::ConsumerData& consumer) {
    const MutexLock lock(mutex_);
    Group& group = consumers_[consumer.groupname()];
    group.consume_type = consumer.consumetype();
    group.message_model = consumer.messagemodel();
    group.consume_from = consumer.consumefromwhere();
    const auto [at, is_new] = group.members.try_emplace(client.peer);
    Member& member = at->second;
    member.client = client;
    member.seen = clock_.steady();
    member.is_by_broker = consumer.sharedbybroker();
    update_topics(member.topics, consumer);
    if (is_new) {
        memberships(client).consumers.insert(consumer.groupname());
    }
    const bool is_changed = gather_topics(group);
    if (!is_new && !is_changed) {
        return std::nullopt;
    }
    return change_of(consumer.groupname(), group);
}

GroupRegistry::Memberships& GroupRegistry::memberships(const ClientInfo& client) {
    const auto [at, is_new] = by_peer_.try_emplace(client.peer);
    if (is_new) {
        at->second.client_id = client.client_id;
        by_client_[client.client_id].push_back({client.peer, client.codec});
    }
    return at->second;
}

void GroupRegistry::forget_client(PeerId peer, const std::string& client_id) {
    const auto at = by_client_.find(client_id);
    if (at == by_client_.end()) {
        return;
    }
    std::erase_if(at->second, [peer](const Receiver& each) { return each.peer == peer; });
    if (at->second.empty()) {
        by_client_.erase(at);
    }
}

std::optional<GroupRegistry::Receiver> GroupRegistry::client(std::string_view client_id) const {
    const MutexLock lock(mutex_);
    const auto at = by_client_.find(client_id);
    return at == by_client_.end() ? std::nullopt : std::optional(at->second.back());
}

bool GroupRegistry::join_producer(const ClientInfo& client, const std::string& group) {
    const MutexLock lock(mutex_);
    const auto [member, is_new] = producers_[group].try_emplace(client.peer);
    member->second.client = client;
    member->second.seen = clock_.steady();
    if (is_new) {
        memberships(client).producers.insert(group);
    }
    return is_new;
}

std::optional<GroupRegistry::Change> GroupRegistry::remove_consumer(PeerId peer,
                                                                    std::string_view name) {
    const auto at = consumers_.find(name);
    if (at == consumers_.end() || at->second.members.erase(peer) == 0) {
        return std::nullopt;
    }
    gather_topics(at->second);
    Change change = change_of(at->first, at->second);
    if (at->second.members.empty()) {
        consumers_.erase(at);
    }
    return change;
}

void GroupRegistry::remove_producer(PeerId peer, std::string_view name) {
    const auto at = producers_.find(name);
    if (at != producers_.end() && at->second.erase(peer) > 0 && at->second.empty()) {
        producers_.erase(at);
    }
}

void GroupRegistry::forget(PeerId peer, Names Memberships::*kind, std::string_view group) {
    const auto at = by_peer_.find(peer);
    if (at == by_peer_.end()) {
        return;
    }
    Names& names = at->second.*kind;
    if (const auto name = names.find(group); name != names.end()) {
        names.erase(name);
    }
    if (at->second.consumers.empty() && at->second.producers.empty()) {
        forget_client(peer, at->second.client_id);
        by_peer_.erase(at);
    }
}

std::vector<GroupRegistry::Change> GroupRegistry::leave(PeerId peer,
                                                        std::string_view consumer_group,
                                                        std::string_view producer_group) {
    const MutexLock lock(mutex_);
    std::vector<Change> changes;
    remove_producer(peer, producer_group);
    if (auto change = remove_consumer(peer, consumer_group)) {
        changes.push_back(std::move(*change));
    }
    forget(peer, &Memberships::producers, producer_group);
    forget(peer, &Memberships::consumers, consumer_group);
    return changes;
}

std::vector<GroupRegistry::Change> GroupRegistry::remove_peer(PeerId peer) {
    const MutexLock lock(mutex_);
    std::vector<Change> changes;
    const auto at = by_peer_.find(peer);
    if (at == by_peer_.end()) {
        return changes;
    }
    for (const std::string& group : at->second.producers) {
        remove_producer(peer, group);
    }
    for (const std::string& group : at->second.consumers) {
        if (auto change = remove_consumer(peer, group)) {
            changes.push_back(std::move(*change));
        }
    }
    forget_client(peer, at->second.client_id);
    by_peer_.erase(at);
    return changes;
}

bool GroupRegistry::remove_silent(Members& members,
                                  Names Memberships::*kind,
                                  const std::string& group) {
    const SteadyTime now = clock_.steady();
    const std::size_t before = members.size();
    for (auto at = members.begin(); at != members.end();) {
        if (now - at->second.seen < kExpiry) {
            ++at;
            continue;
        }
        forget(at->first, kind, group);
        at = members.erase(at);
    }
    return members.size() < before;
}

std::vector<GroupRegistry::Change> GroupRegistry::expire() {
    const MutexLock lock(mutex_);
    std::vector<Change> changes;
    for (auto at = consumers_.begin(); at != consumers_.end();) {
        if (remove_silent(at->second.members, &Memberships::consumers, at->first)) {
            gather_topics(at->second);
            changes.push_back(change_of(at->first, at->second));
        }
        at = at->second.members.empty() ? consumers_.erase(at) : std::next(at);
    }
    for (auto at = producers_.begin(); at != producers_.end();) {
        remove_silent(at->second, &Memberships::producers, at->first);
        at = at->second.empty() ? producers_.erase(at) : std::next(at);
    }
    return changes;
}

GroupRegistry::Found GroupRegistry::subscription(std::string_view group,
                                                 std::string_view topic,
                                                 PeerId peer) const {
    const MutexLock lock(mutex_);
    const auto at = consumers_.find(group);
    if (at == consumers_.end()) {
        return {};
    }
    Found found;
    found.is_broadcast = at->second.message_model == "BROADCASTING";
    if (const auto member = at->second.members.find(peer); member != at->second.members.end()) {
        const auto own = member->second.topics.find(topic);
        if (own != member->second.topics.end()) {
            found.status = Lookup::kFound;
            found.subscription = own->second;
            return found;
        }
    }
    const auto held = at->second.topics.find(topic);
    found.status = held == at->second.topics.end() ? Lookup::kNoTopic : Lookup::kFound;
    if (found.status == Lookup::kFound) {
        found.subscription = held->second;
    }
    return found;
}

ShareCoordinator::GroupView GroupRegistry::view(std::string_view group) const {
    const MutexLock lock(mutex_);
    ShareCoordinator::GroupView view;
    const auto at = consumers_.find(group);
    if (at != consumers_.end()) {
        for (const auto& [peer, member] : at->second.members) {
            view.has_client_side = view.has_client_side || !member.is_by_broker;
            view.members.insert(member.client.client_id);
        }
    }
    return view;
}

std::vector<std::string> GroupRegistry::client_ids(std::string_view group) const {
    const MutexLock lock(mutex_);
    std::vector<std::string> ids;
    const auto at = consumers_.find(group);
    if (at != consumers_.end()) {
        for (const auto& [peer, member] : at->second.members) {
            ids.push_back(member.client.client_id);
        }
    }
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return ids;
}

std::optional<wire::ConsumerConnection> GroupRegistry::consumer_connections(
    std::string_view group) const {
    const MutexLock lock(mutex_);
    const auto at = consumers_.find(group);
    if (at == consumers_.end()) {
        return std::nullopt;
    }
    wire::ConsumerConnection connections;
    connections.set_consumefromwhere(at->second.consume_from);
    connections.set_consumetype(at->second.consume_type);
    connections.set_messagemodel(at->second.message_model);
    for (const auto& [peer, member] : at->second.members) {
        describe(member.client, *connections.add_connectionset());
    }
    for (const auto& [topic, subscription] : at->second.topics) {
        (*connections.mutable_subscriptiontable())[topic] = subscription->data;
    }
    return connections;
}

std::optional<wire::ProducerConnection> GroupRegistry::producer_connections(
    std::string_view group) const {
    const MutexLock lock(mutex_);
    const auto at = producers_.find(group);
    if (at == producers_.end()) {
        return std::nullopt;
    }
    wire::ProducerConnection connections;
    for (const auto& [peer, member] : at->second) {
        describe(member.client, *connections.add_connectionset());
    }
    return connections;
}

std::optional<GroupRegistry::Receiver> GroupRegistry::producer(std::string_view group,
                                                               std::size_t turn) const {
    const MutexLock lock(mutex_);
    const auto at = producers_.find(group);
    if (at == producers_.end() || at->second.empty()) {
        return std::nullopt;
    }
    const auto member =
        std::next(at->second.begin(), static_cast<std::ptrdiff_t>(turn % at->second.size()));
    return Receiver{member->first, member->second.client.codec};
}

std::vector<std::string> GroupRegistry::topics_of(std::string_view group) const {
    const MutexLock lock(mutex_);
    std::vector<std::string> topics;
    const auto at = consumers_.find(group);
    if (at != consumers_.end()) {
        for (const auto& [topic, subscription] : at->second.topics) {
            topics.push_back(topic);
        }
    }
    return topics;
}

std::vector<std::string> GroupRegistry::groups(std::string_view topic) const {
    const MutexLock lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [name, group] : consumers_) {
        if (topic.empty() || group.topics.contains(topic)) {
            names.push_back(name);
        }
    }
    return names;
}

std::uint64_t GroupRegistry::member_count() const {
    const MutexLock lock(mutex_);
    std::uint64_t count = 0;
    for (const auto& [name, group] : consumers_) {
        count += group.members.size();
    }
    return count;
}

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "common/log.h"
#include "nameserver/route_table.h"

#include <algorithm>
#include <utility>

namespace gantry::nameserver {
namespace {

constexpr Logger kLog("nameserver");

/// Longer than this between two expiry checks: the process itself was stopped.
constexpr std::chrono::seconds kGap{5};

}  // namespace

RouteTable::Member* RouteTable::find_member(const std::string& name,
                                            const std::string& address,
                                            std::int64_t* id) {
    const auto found = groups_.find(name);
    if (found == groups_.end()) {
        return nullptr;
    }
    for (auto& [member_id, member] : found->second.members) {
        if (member.address == address) {
            *id = member_id;
            return &member;
        }
    }
    return nullptr;
}

void RouteTable::heard(const std::string& name,
                       std::int64_t id,
                       Member& member,
                       net::ConnectionId connection) {
    member.last_heard = clock_.steady();
    const MemberKey key{name, id};
    if (member.connection != connection) {
        forget(member.connection, key);
        member.connection = connection;
    }
    std::vector<MemberKey>& keys = heard_on_[connection];
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        keys.push_back(key);
    }
}

void RouteTable::forget(net::ConnectionId connection, const MemberKey& key) {
    const auto entry = heard_on_.find(connection);
    if (entry == heard_on_.end()) {
        return;
    }
    std::vector<MemberKey>& keys = entry->second;
    keys.erase(std::remove(keys.begin(), keys.end(), key), keys.end());
    if (keys.empty()) {
        heard_on_.erase(entry);
    }
}

Status RouteTable::heartbeat(const wire::BrokerIdentity& broker, net::ConnectionId connection) {
    std::int64_t id = 0;
    Member* const member = find_member(broker.brokername(), broker.brokeraddr(), &id);
    if (member == nullptr || (broker.has_brokerid() && broker.brokerid() != id)) {
        return Error{
            Errc::kNotFound,
            "broker " + broker.brokername() + " at " + broker.brokeraddr() + " is not registered"};
    }
    heard(broker.brokername(), id, *member, connection);
    return ok();
}

std::optional<wire::DataVersion> RouteTable::data_version(const wire::BrokerIdentity& broker,
                                                          net::ConnectionId connection) {
    std::int64_t id = 0;
    Member* const member = find_member(broker.brokername(), broker.brokeraddr(), &id);
    if (member == nullptr) {
        return std::nullopt;
    }
    heard(broker.brokername(), id, *member, connection);
    return member->version;
}

void RouteTable::unregister_broker(const wire::BrokerIdentity& broker) {
    std::int64_t id = 0;
    const bool is_there = find_member(broker.brokername(), broker.brokeraddr(), &id) != nullptr;
    // A broker that has changed its role registers anew before the old one's farewell comes.
    if (is_there && (!broker.has_brokerid() || broker.brokerid() == id)) {
        remove_member(broker.brokername(), id, "unregistered");
    }
}

void RouteTable::connection_lost(net::ConnectionId connection) {
    const auto entry = heard_on_.find(connection);
    if (entry == heard_on_.end()) {
        return;
    }
    const std::vector<MemberKey> keys = std::move(entry->second);
    heard_on_.erase(entry);
    for (const MemberKey& key : keys) {
        const auto group = groups_.find(key.name);
        if (group == groups_.end()) {
            continue;
        }
        const auto member = group->second.members.find(key.id);
        if (member != group->second.members.end() && member->second.connection == connection) {
            remove_member(key.name, key.id, "connection_lost");
        }
    }
}

void RouteTable::remove_member(const std::string& name, std::int64_t id, std::string_view why) {
    const auto found = groups_.find(name);
    Group& group = found->second;
    const auto place = group.members.find(id);
    kLog.info("broker_removed",
              {{"cluster", group.cluster},
               {"broker", name},
               {"id", id},
               {"address", place->second.address},
               {"why", why}});
    const std::chrono::milliseconds expiry = place->second.expiry;
    forget(place->second.connection, {name, id});
    group.members.erase(place);
    --member_count_;
    if (!group.members.empty()) {
        if (group.topics_from == id) {
            group.topics_from.reset();
        }
        touch_all(group);
        return;
    }
    while (!group.topics.empty()) {
        remove_topic(group, group.topics.begin()->first);
    }
    if (group.epoch > 0 && fences_.size() < options_.brokers_max) {
        fences_[name] = {group.epoch, group.master, clock_.steady() + expiry};
    }
    groups_.erase(found);
}

std::size_t RouteTable::expire() {
    const SteadyTime now = clock_.steady();
    const SteadyTime::duration since = now - std::exchange(last_expire_, now);
    const SteadyTime::duration unheard = since > kGap ? since : SteadyTime::duration::zero();
    std::vector<MemberKey> gone;
    for (auto& [name, group] : groups_) {
        for (auto& [id, member] : group.members) {
            member.last_heard = std::min(member.last_heard + unheard, now);
            if (now - member.last_heard > member.expiry) {
                gone.push_back({name, id});
            }
        }
    }
    for (const MemberKey& key : gone) {
        remove_member(key.name, key.id, "silent");
    }
    for (auto fence = fences_.begin(); fence != fences_.end();) {
        fence = fence->second.until <= now ? fences_.erase(fence) : std::next(fence);
    }
    return gone.size();
}

}  // namespace gantry::nameserver

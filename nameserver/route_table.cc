// SPDX-License-Identifier: Apache-2.0
#include "nameserver/route_table.h"

#include "common/log.h"
#include "protocol/wire/names.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace gantry::nameserver {
namespace {

constexpr Logger kLog("nameserver");

constexpr std::size_t kLabelBytesMax = 255;
/// A holder of an id heard from within this time is alive: another address does not replace it.
constexpr std::chrono::seconds kAlive{10};
constexpr std::chrono::hours kExpiryMax{24};

std::string version_text(const wire::DataVersion& version) {
    return std::to_string(version.counter()) + "/" + std::to_string(version.timestamp());
}

Error refused(std::string_view field, std::string_view value, std::string_view rule) {
    std::string detail(field);
    detail += " \"";
    detail += value.substr(0, kLabelBytesMax);
    detail += "\": ";
    detail += rule;
    return Error{Errc::kRefused, std::move(detail)};
}

Status check_label(std::string_view field, std::string_view value) {
    if (value.empty() || value.size() > kLabelBytesMax) {
        return refused(field, value, "allowed are 1 to 255 bytes");
    }
    for (const char c : value) {
        if (c <= ' ' || c >= 0x7F) {
            return refused(field, value, "allowed are printable ASCII characters without blanks");
        }
    }
    return ok();
}

Status check_address(std::string_view field, std::string_view value) {
    GANTRY_TRY(check_label(field, value));
    const std::size_t colon = value.rfind(':');
    std::uint32_t port = 0;
    if (colon != std::string_view::npos && colon > 0) {
        const char* const end = value.data() + value.size();
        const auto parsed = std::from_chars(value.data() + colon + 1, end, port);
        if (parsed.ec == std::errc{} && parsed.ptr == end && port > 0 && port <= 65'535) {
            return ok();
        }
    }
    return refused(field, value, "expected host:port");
}

}  // namespace

bool same_version(const wire::DataVersion& a, const wire::DataVersion& b) {
    return a.counter() == b.counter() && a.timestamp() == b.timestamp() &&
           a.stateversion() == b.stateversion();
}

bool RouteTable::Queues::same_route(const Queues& other) const noexcept {
    return read == other.read && write == other.write && permission == other.permission &&
           sys_flag == other.sys_flag;
}

RouteTable::RouteTable(Clock& clock, const Options& options, OnChange on_change)
    : clock_(clock),
      options_(options),
      on_change_(std::move(on_change)),
      absent_version_(static_cast<std::uint64_t>(clock.wall_ms()) << 20U),
      last_version_(absent_version_),
      last_expire_(clock.steady()) {}

RouteTable::~RouteTable() = default;

Status RouteTable::check_registration(const Registration& registration) const {
    const wire::RegisterBrokerRequest& request = registration.request;
    GANTRY_TRY(check_label("brokerName", request.brokername()));
    GANTRY_TRY(check_label("clusterName", request.clustername()));
    GANTRY_TRY(check_address("brokerAddr", request.brokeraddr()));
    if (!request.haserveraddr().empty()) {
        GANTRY_TRY(check_label("haServerAddr", request.haserveraddr()));
    }
    if (request.brokerid() < 0) {
        return refused("brokerId", std::to_string(request.brokerid()), "allowed is at least 0");
    }
    if (request.epoch() < 0) {
        return refused("epoch", std::to_string(request.epoch()), "allowed is at least 0");
    }
    if (registration.topics != nullptr) {
        const auto count = static_cast<std::uint64_t>(registration.topics->topicconfigtable_size());
        if (count > options_.topics_per_broker_max) {
            return refused("topics",
                           std::to_string(count),
                           "more than limits.topics_per_broker_max " +
                               std::to_string(options_.topics_per_broker_max));
        }
    }
    return ok();
}

Status RouteTable::check_epoch(const wire::RegisterBrokerRequest& request) const {
    std::int64_t highest = 0;
    std::string master;
    if (const auto group = groups_.find(request.brokername()); group != groups_.end()) {
        highest = group->second.epoch;
        master = group->second.master;
    } else if (const auto fence = fences_.find(request.brokername());
               fence != fences_.end() && clock_.steady() < fence->second.until) {
        highest = fence->second.epoch;
        master = fence->second.master;
    }
    if (request.epoch() < highest) {
        return Error{Errc::kConflict,
                     "epoch " + std::to_string(request.epoch()) + " of broker " +
                         request.brokername() + " is below " + std::to_string(highest) +
                         ", the highest registered"};
    }
    const bool is_other = !master.empty() && master != request.brokeraddr();
    if (request.epoch() > 0 && request.epoch() == highest && request.brokerid() == 0 && is_other) {
        return Error{Errc::kConflict,
                     "the master of broker " + request.brokername() + " in epoch " +
                         std::to_string(highest) + " is " + master};
    }
    return ok();
}

Status RouteTable::check_against_group(const wire::RegisterBrokerRequest& request,
                                       net::ConnectionId connection) const {
    GANTRY_TRY(check_epoch(request));
    const auto found = groups_.find(request.brokername());
    const bool is_new =
        found == groups_.end() || found->second.members.count(request.brokerid()) == 0;
    if (is_new && member_count_ >= options_.brokers_max) {
        return refused("brokerName",
                       request.brokername(),
                       "limits.brokers_max " + std::to_string(options_.brokers_max) +
                           " brokers are registered");
    }
    if (found == groups_.end()) {
        return ok();
    }
    const Group& group = found->second;
    const auto holder = group.members.find(request.brokerid());
    const bool alone = group.members.size() == 1 && holder != group.members.end();
    if (group.cluster != request.clustername() && !alone) {
        return Error{Errc::kConflict,
                     "broker name " + group.name + " belongs to cluster " + group.cluster +
                         ", not " + request.clustername()};
    }
    if (holder != group.members.end() && holder->second.address != request.brokeraddr() &&
        request.epoch() == group.epoch && holder->second.connection != connection &&
        clock_.steady() - holder->second.last_heard < kAlive) {
        return Error{Errc::kConflict,
                     "id " + std::to_string(request.brokerid()) + " of broker " + group.name +
                         " is held by " + holder->second.address + ", which is alive"};
    }
    return ok();
}

Result<wire::RegisterBrokerResponse> RouteTable::register_broker(const Registration& registration) {
    const wire::RegisterBrokerRequest& request = registration.request;
    GANTRY_TRY(check_registration(registration));
    GANTRY_TRY(check_against_group(request, registration.connection));
    Group& group = groups_[request.brokername()];
    group.name = request.brokername();
    take_epoch(group, request);
    fences_.erase(group.name);
    bool moved = place_member(group, registration);
    moved = drop_deposed(group) || moved;
    if (registration.topics != nullptr) {
        take_topics(group, request.brokerid(), registration);
    }
    if (moved) {
        touch_all(group);
    }
    wire::RegisterBrokerResponse response;
    const auto master = group.members.find(0);
    if (request.brokerid() != 0 && master != group.members.end()) {
        response.set_masteraddr(master->second.address);
        response.set_haserveraddr(master->second.ha_address);
    }
    return response;
}

void RouteTable::take_epoch(Group& group, const wire::RegisterBrokerRequest& request) const {
    if (const auto fence = fences_.find(group.name); fence != fences_.end() &&
                                                     clock_.steady() < fence->second.until &&
                                                     fence->second.epoch > group.epoch) {
        group.epoch = fence->second.epoch;
        group.master = fence->second.master;
    }
    if (request.epoch() > group.epoch) {
        group.epoch = request.epoch();
        group.master.clear();
    }
    if (group.epoch > 0 && request.brokerid() == 0) {
        group.master = request.brokeraddr();
    }
}

/// Takes a master of a lower epoch than the group's out; true when there was one.
bool RouteTable::drop_deposed(Group& group) {
    const auto master = group.members.find(0);
    if (master == group.members.end() || master->second.epoch >= group.epoch) {
        return false;
    }
    kLog.info("broker_deposed",
              {{"broker", group.name},
               {"address", master->second.address},
               {"epoch", master->second.epoch},
               {"highest", group.epoch}});
    forget(master->second.connection, {group.name, 0});
    if (group.topics_from == 0) {
        group.topics_from.reset();
    }
    group.members.erase(master);
    --member_count_;
    return true;
}

/// Puts the broker at its id; true when the addresses of the name changed.
bool RouteTable::place_member(Group& group, const Registration& registration) {
    const wire::RegisterBrokerRequest& request = registration.request;
    bool moved = group.cluster != request.clustername();
    group.cluster = request.clustername();
    // A slave that became master keeps its address but not its old id.
    for (auto other = group.members.begin(); other != group.members.end();) {
        if (other->second.address == request.brokeraddr() && other->first != request.brokerid()) {
            forget(other->second.connection, {group.name, other->first});
            if (group.topics_from == other->first) {
                group.topics_from.reset();
            }
            other = group.members.erase(other);
            --member_count_;
            moved = true;
        } else {
            ++other;
        }
    }
    const auto [place, is_new] = group.members.try_emplace(request.brokerid());
    Member& member = place->second;
    member_count_ += is_new ? 1 : 0;
    if (is_new || member.address != request.brokeraddr()) {
        kLog.info("broker_registered",
                  {{"cluster", group.cluster},
                   {"broker", group.name},
                   {"id", request.brokerid()},
                   {"address", request.brokeraddr()},
                   {"epoch", request.epoch()},
                   {"instead_of", member.address}});
        moved = true;
        member.address = request.brokeraddr();
        member.version.Clear();
        if (group.topics_from == request.brokerid()) {
            group.topics_from.reset();
        }
    }
    member.epoch = request.epoch();
    member.ha_address = request.haserveraddr();
    const std::chrono::milliseconds announced{request.heartbeattimeoutmillis()};
    member.expiry = announced.count() > 0
                        ? std::min<std::chrono::milliseconds>(announced, kExpiryMax)
                        : options_.expiry;
    heard(group.name, request.brokerid(), member, registration.connection);
    return moved;
}

void RouteTable::take_topics(Group& group, std::int64_t id, const Registration& registration) {
    const wire::TopicConfigTable& topics = *registration.topics;
    group.members.at(id).version = topics.dataversion();
    if (group.members.begin()->first != id) {
        return;
    }
    const bool is_known =
        group.topics_from == id && same_version(group.topics_version, topics.dataversion());
    if (is_known && !registration.is_whole) {
        for (const auto& [name, config] : topics.topicconfigtable()) {
            if (group.topics.count(name) == 0) {
                put_topic(group, name, config);
            }
        }
        return;
    }
    replace_topics(group, topics, registration.is_whole);
    group.topics_from = id;
    group.topics_version = topics.dataversion();
}

void RouteTable::replace_topics(Group& group, const wire::TopicConfigTable& topics, bool is_whole) {
    ++mark_;
    for (const auto& [name, config] : topics.topicconfigtable()) {
        put_topic(group, name, config);
    }
    if (!is_whole) {
        return;
    }
    std::vector<std::string> gone;
    for (const auto& [name, queues] : group.topics) {
        if (queues.mark != mark_) {
            gone.push_back(name);
        }
    }
    for (const std::string& name : gone) {
        remove_topic(group, name);
    }
}

void RouteTable::put_topic(Group& group, const std::string& name, const wire::TopicConfig& config) {
    if (wire::is_internal_topic(name)) {
        return;
    }
    // What a stock broker leaves out of its JSON has these defaults.
    Queues queues;
    queues.read = config.has_readqueuenums() ? config.readqueuenums() : 16;
    queues.write = config.has_writequeuenums() ? config.writequeuenums() : 16;
    queues.permission = config.has_perm() ? config.perm() : 6;
    queues.registered_permission = queues.permission;
    queues.sys_flag = config.topicsysflag();
    queues.mark = mark_;
    const Status legal = wire::check_topic_name(name);
    if (!legal || queues.read < 0 || queues.write < 0) {
        if (++rejected_topics_ == 1) {
            kLog.warn("topic_left_out",
                      {{"broker", group.name},
                       {"topic", std::string_view(name).substr(0, kLabelBytesMax)},
                       {"reason", legal ? "negative queue number" : legal.error().detail}});
        }
        return;
    }
    const auto [place, is_new] = group.topics.try_emplace(name, queues);
    if (!is_new) {
        const bool same = place->second.same_route(queues);
        place->second = queues;
        if (same) {
            return;
        }
    } else {
        std::vector<Group*>& groups = topics_[name].groups;
        groups.insert(
            std::lower_bound(groups.begin(),
                             groups.end(),
                             &group,
                             [](const Group* a, const Group* b) { return a->name < b->name; }),
            &group);
    }
    touch(name);
}

void RouteTable::remove_topic(Group& group, const std::string& topic) {
    // The caller's may be the key erased here.
    const std::string name(topic);  // NOLINT(performance-unnecessary-copy-initialization)
    if (group.topics.erase(name) == 0) {
        return;
    }
    const auto entry = topics_.find(name);
    std::vector<Group*>& groups = entry->second.groups;
    groups.erase(std::find(groups.begin(), groups.end(), &group));
    if (groups.empty()) {
        topics_.erase(entry);
        changed(name);
    } else {
        touch(name);
    }
}

Status RouteTable::apply_delta(const wire::RegisterBrokerRequest& broker,
                               const wire::RegisterBrokerDelta& delta,
                               net::ConnectionId connection) {
    GANTRY_TRY(check_registration({broker, nullptr, false, connection}));
    const auto found = groups_.find(broker.brokername());
    const auto conflict = [&broker](const std::string& why) {
        return Error{Errc::kConflict,
                     "broker " + broker.brokername() + " at " + broker.brokeraddr() + ": " + why};
    };
    if (found == groups_.end()) {
        return conflict("not registered");
    }
    Group& group = found->second;
    const auto place = group.members.find(broker.brokerid());
    if (place == group.members.end() || place->second.address != broker.brokeraddr()) {
        return conflict("not registered with id " + std::to_string(broker.brokerid()));
    }
    if (broker.epoch() < group.epoch) {
        return conflict("epoch " + std::to_string(broker.epoch()) + " is below " +
                        std::to_string(group.epoch));
    }
    Member& member = place->second;
    if (!same_version(member.version, delta.base())) {
        return conflict("base version " + version_text(delta.base()) + " is not the registered " +
                        version_text(member.version));
    }
    const bool tells = group.members.begin()->first == place->first;
    if (tells && group.topics_from != place->first) {
        return conflict("its topics were told by another id");
    }
    if (tells && group.topics.size() + static_cast<std::size_t>(delta.changed_size()) >
                     options_.topics_per_broker_max) {
        return refused(
            "topics",
            std::to_string(group.topics.size()) + " + " + std::to_string(delta.changed_size()),
            "more than limits.topics_per_broker_max " +
                std::to_string(options_.topics_per_broker_max));
    }
    group.epoch = std::max(group.epoch, broker.epoch());
    member.epoch = broker.epoch();
    heard(group.name, place->first, member, connection);
    member.version = delta.next();
    if (!tells) {
        return ok();
    }
    for (const std::string& topic : delta.removed()) {
        remove_topic(group, topic);
    }
    for (const wire::TopicConfig& config : delta.changed()) {
        put_topic(group, config.topicname(), config);
    }
    group.topics_version = delta.next();
    return ok();
}

}  // namespace gantry::nameserver

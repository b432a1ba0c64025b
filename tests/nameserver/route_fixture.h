// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "nameserver/route_table.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace gantry::nameserver {

/// A clock that moves when told to.
class TurnedClock final : public Clock {
public:
    WallMs wall_ms() const noexcept override { return wall_ms_; }

    SteadyTime steady() const noexcept override { return steady_; }

    void advance(std::chrono::milliseconds by) {
        wall_ms_ += by.count();
        steady_ += by;
    }

private:
    WallMs wall_ms_ = 1'700'000'000'000;
    SteadyTime steady_{std::chrono::hours(1)};
};

/// A broker as the tests register it.
struct TestBroker {
    std::string name = "broker-a";
    std::string address = "10.0.0.1:10911";
    std::string cluster = "east";
    std::int64_t id = 0;
    std::int64_t epoch = 0;
    std::int64_t timeout_ms = 0;
    std::uint64_t connection = 1;

    wire::RegisterBrokerRequest request() const {
        wire::RegisterBrokerRequest request;
        request.set_brokername(name);
        request.set_brokeraddr(address);
        request.set_clustername(cluster);
        request.set_brokerid(id);
        request.set_epoch(epoch);
        request.set_heartbeattimeoutmillis(timeout_ms);
        request.set_haserveraddr(address + "2");
        return request;
    }

    wire::BrokerIdentity identity() const {
        wire::BrokerIdentity identity;
        identity.set_brokername(name);
        identity.set_brokeraddr(address);
        identity.set_clustername(cluster);
        identity.set_brokerid(id);
        return identity;
    }
};

inline wire::DataVersion version_of(std::int64_t counter) {
    wire::DataVersion version;
    version.set_counter(counter);
    version.set_timestamp(1'700'000'000'000);
    return version;
}

inline wire::TopicConfig topic_of(const std::string& name,
                                  std::int32_t queues = 4,
                                  std::int32_t perm = 6) {
    wire::TopicConfig config;
    config.set_topicname(name);
    config.set_readqueuenums(queues);
    config.set_writequeuenums(queues);
    config.set_perm(perm);
    return config;
}

inline wire::TopicConfigTable table_of(std::int64_t version,
                                       const std::vector<wire::TopicConfig>& topics) {
    wire::TopicConfigTable table;
    *table.mutable_dataversion() = version_of(version);
    for (const wire::TopicConfig& topic : topics) {
        (*table.mutable_topicconfigtable())[topic.topicname()] = topic;
    }
    return table;
}

/// A table under test, with the topics whose change it announced.
class RouteFixture {
public:
    RouteFixture() : RouteFixture(RouteTable::Options{}) {}

    explicit RouteFixture(const RouteTable::Options& options)
        : table(clock, options, [this](const std::string& topic) { changed.insert(topic); }) {}

    /// Registers with these topics; "" or the error's text.
    std::string add(const TestBroker& broker,
                    std::int64_t version,
                    const std::vector<wire::TopicConfig>& topics,
                    bool is_whole = true) {
        const wire::TopicConfigTable table_sent = table_of(version, topics);
        const auto response = table.register_broker(
            {broker.request(), &table_sent, is_whole, net::ConnectionId(broker.connection)});
        return response ? "" : to_string(response.error());
    }

    std::string delta(const TestBroker& broker,
                      std::int64_t base,
                      std::int64_t next,
                      const std::vector<wire::TopicConfig>& topics,
                      const std::vector<std::string>& removed = {}) {
        wire::RegisterBrokerDelta sent;
        *sent.mutable_base() = version_of(base);
        *sent.mutable_next() = version_of(next);
        for (const wire::TopicConfig& topic : topics) {
            *sent.add_changed() = topic;
        }
        for (const std::string& topic : removed) {
            sent.add_removed(topic);
        }
        const Status applied =
            table.apply_delta(broker.request(), sent, net::ConnectionId(broker.connection));
        return applied ? "" : to_string(applied.error());
    }

    bool heartbeat(const TestBroker& broker) {
        return static_cast<bool>(
            table.heartbeat(broker.identity(), net::ConnectionId(broker.connection)));
    }

    /// "broker-a{0=10.0.0.1:10911} 4/4 perm 6; ...", "" when the topic has no route.
    std::string route(const std::string& topic) const {
        wire::TopicRouteData data;
        if (!table.route(topic, data)) {
            return "";
        }
        std::string text;
        for (int i = 0; i < data.queuedatas_size(); ++i) {
            const wire::QueueData& queues = data.queuedatas(i);
            const wire::BrokerData& broker = data.brokerdatas(i);
            text += text.empty() ? "" : "; ";
            text += broker.brokername() + "{";
            const std::map<std::int64_t, std::string> sorted(broker.brokeraddrs().begin(),
                                                             broker.brokeraddrs().end());
            for (const auto& [id, address] : sorted) {
                text += (text.back() == '{' ? "" : " ") + std::to_string(id) + "=" + address;
            }
            text += "} " + std::to_string(queues.readqueuenums()) + "/" +
                    std::to_string(queues.writequeuenums()) + " perm " +
                    std::to_string(queues.perm());
        }
        return text;
    }

    std::set<std::string> take_changed() { return std::exchange(changed, {}); }

    TurnedClock clock;
    std::set<std::string> changed;
    RouteTable table;
};

}  // namespace gantry::nameserver

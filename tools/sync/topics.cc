// SPDX-License-Identifier: Apache-2.0
#include "sync/topics.h"

#include "client/client.h"
#include "common/log.h"

#include <algorithm>
#include <utility>

namespace gantry::sync {
namespace {

constexpr Logger kLog("sync");

Result<std::unique_ptr<client::AdminClient>> admin_of(const std::vector<std::string>& nameservers) {
    client::Client::Options options;
    options.nameservers = nameservers;
    GANTRY_ASSIGN_OR_RETURN(auto client, client::Client::start(options));
    return client::AdminClient::create(std::move(client), {});
}

/// Over all brokers.
std::int32_t queues_of(const std::vector<client::TopicOnBroker>& topic, bool written) {
    std::int32_t queues = 0;
    for (const client::TopicOnBroker& on : topic) {
        queues += written ? on.spec.write_queues : on.spec.read_queues;
    }
    return queues;
}

}  // namespace

Result<Ends> Ends::connect(const SyncConfig& config, const RouteConfig& route) {
    Ends ends;
    GANTRY_ASSIGN_OR_RETURN(ends.source, admin_of(config.clusters.at(route.from)));
    GANTRY_ASSIGN_OR_RETURN(ends.target, admin_of(config.clusters.at(route.to)));
    return ends;
}

Result<std::vector<std::string>> topics_of(Ends& ends, const RouteConfig& route) {
    GANTRY_ASSIGN_OR_RETURN(std::vector<std::string> topics, ends.source->list_topics());
    std::erase_if(topics, [&route](const std::string& topic) { return !route.takes(topic); });
    return topics;
}

Result<RouteTopic> look_up(Ends& ends, const RouteConfig& route, const std::string& topic) {
    RouteTopic found;
    found.source = topic;
    found.target = route.target_of(topic);
    GANTRY_ASSIGN_OR_RETURN(const auto at_source, ends.source->describe_topic(topic));
    found.source_queues = queues_of(at_source, false);
    const auto at_target = ends.target->describe_topic(found.target);
    if (at_target) {
        found.target_queues = queues_of(*at_target, true);
    } else if (at_target.error().code != Errc::kNotFound) {
        return at_target.error();
    }
    return found;
}

Status create_target(Ends& ends, const RouteTopic& topic) {
    GANTRY_ASSIGN_OR_RETURN(const auto at_source, ends.source->describe_topic(topic.source));
    GANTRY_ASSIGN_OR_RETURN(const auto brokers, ends.target->cluster());
    const auto masters = static_cast<std::int32_t>(
        std::count_if(brokers.begin(), brokers.end(), [](const client::BrokerAddress& broker) {
            return broker.broker_id == 0;
        }));
    if (masters == 0 || at_source.empty()) {
        return Error{Errc::kGone, "no broker to make topic " + topic.target + " on"};
    }
    client::TopicSpec spec = at_source.front().spec;
    spec.topic = topic.target;
    spec.write_queues = (topic.source_queues + masters - 1) / masters;
    spec.read_queues = spec.write_queues;
    const Status created = ends.target->create_topic(spec);
    if (!created && created.error().code != Errc::kConflict) {
        return created;
    }
    kLog.info("topic_created",
              {{"topic", topic.target}, {"brokers", masters}, {"queues", spec.write_queues}});
    return ok();
}

}  // namespace gantry::sync

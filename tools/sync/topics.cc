// SPDX-License-Identifier: Apache-2.0
#include "sync/topics.h"

#include "client/client.h"
#include "client/group_status.h"
#include "common/log.h"
#include "sync/cluster.h"

#include <algorithm>
#include <utility>

namespace gantry::sync {
namespace {

constexpr Logger kLog("sync");

/// RocketMQ's stores of several messages in one record, which nobody else reads.
Status check_kind(const std::vector<client::TopicOnBroker>& topic) {
    for (const client::TopicOnBroker& on : topic) {
        const auto kind = on.spec.attributes.find("queue.type");
        if (kind != on.spec.attributes.end() && kind->second == "BatchCQ") {
            return Error{Errc::kUnsupported,
                         "topic " + on.spec.topic +
                             " has queue.type BatchCQ: its records hold several messages each"};
        }
    }
    return ok();
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
    GANTRY_ASSIGN_OR_RETURN(const auto source, sync::connect(config.clusters.at(route.from)));
    GANTRY_ASSIGN_OR_RETURN(const auto target, sync::connect(config.clusters.at(route.to)));
    ends.source_is_rocketmq = is_rocketmq(*source);
    ends.target_is_rocketmq = is_rocketmq(*target);
    GANTRY_ASSIGN_OR_RETURN(ends.source, client::AdminClient::create(source, {}));
    GANTRY_ASSIGN_OR_RETURN(ends.target, client::AdminClient::create(target, {}));
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
    if (ends.source_is_rocketmq) {
        GANTRY_TRY(check_kind(at_source));
    }
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
    if (ends.source_is_rocketmq || ends.target_is_rocketmq) {
        spec.attributes.clear();  // each has its own
    }
    spec.write_queues = (topic.source_queues + masters - 1) / masters;
    spec.read_queues = spec.write_queues;
    Status created = ends.target->create_topic(spec);
    if (!created && created.error().code != Errc::kConflict) {
        return created;
    }
    kLog.info("topic_created",
              {{"topic", topic.target}, {"brokers", masters}, {"queues", spec.write_queues}});
    return ok();
}

Status make_group(client::AdminClient& cluster, const std::string& group) {
    const Result<client::GroupSettings> found = cluster.group_settings(group);
    if (found || found.error().code != Errc::kNotFound) {
        return found ? ok() : Status(found.error());
    }
    client::GroupSettings settings;
    settings.group = group;
    GANTRY_TRY(cluster.set_group(settings));
    kLog.info("group_created", {{"group", group}});
    return ok();
}

}  // namespace gantry::sync

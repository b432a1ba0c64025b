// SPDX-License-Identifier: Apache-2.0
#include "client/admin_client.h"

#include "client/admin/admin_calls.h"
#include "client/admin/admin_state.h"
#include "protocol/wire/group.pb.h"
#include "protocol/wire/names.h"
#include "protocol/wire/topic.pb.h"

#include <algorithm>
#include <condition_variable>
#include <set>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::int32_t kQueuesMax = 65'536;
constexpr std::chrono::milliseconds kRoutePause{10};

Status check_spec(const TopicSpec& spec) {
    GANTRY_TRY(wire::check_topic_name(spec.topic));
    for (const auto& [name, count] : {std::pair{"read_queues", spec.read_queues},
                                      std::pair{"write_queues", spec.write_queues}}) {
        if (count < 1 || count > kQueuesMax) {
            return Error{Errc::kRefused,
                         std::string(name) + ' ' + std::to_string(count) + " is not in 1.." +
                             std::to_string(kQueuesMax)};
        }
    }
    if (spec.perm < 0 || spec.perm > 7) {
        return Error{Errc::kRefused, "perm " + std::to_string(spec.perm) + " is not in 0..7"};
    }
    return ok();
}

wire::CreateTopicRequest create_request(const TopicSpec& spec) {
    wire::CreateTopicRequest fields;
    fields.set_topic(spec.topic);
    fields.set_defaulttopic("TBW102");  // RocketMQ wants one
    fields.set_readqueuenums(spec.read_queues);
    fields.set_writequeuenums(spec.write_queues);
    fields.set_perm(spec.perm);
    fields.set_topicfiltertype("SINGLE_TAG");
    fields.set_topicsysflag(0);
    fields.set_order(false);
    std::string changes;
    for (const auto& [name, value] : spec.attributes) {
        changes += changes.empty() ? "" : ",";
        changes += value.empty() ? '-' : '+';
        changes += name;
        if (!value.empty()) {
            changes += '=';
            changes += value;
        }
    }
    fields.set_attributes(changes);
    return fields;
}

void pause_thread(std::chrono::milliseconds time) {
    Mutex mutex;
    std::condition_variable never;
    MutexLock lock(mutex);
    const SteadyTime end = std::chrono::steady_clock::now() + time;
    while (lock.wait_until(never, end)) {
    }
}

/// Waits until a nameserver routes the topic to all of `brokers`, so that who comes next finds it.
void wait_for_route(AdminCalls& calls,
                    const std::string& topic,
                    const std::vector<BrokerAddress>& brokers) {
    const SteadyTime end = std::chrono::steady_clock::now() + calls.timeout();
    while (std::chrono::steady_clock::now() < end) {
        const Result<TopicRoute> route = calls.route(topic);
        const bool is_complete =
            route && std::all_of(brokers.begin(), brokers.end(), [&](const BrokerAddress& broker) {
                return route->find_broker(broker.broker) != nullptr;
            });
        if (is_complete) {
            return;
        }
        pause_thread(kRoutePause);
    }
}

/// RocketMQ has other attributes, and before 5.0 none; it passes over what it does not know.
Status check_attributes(AdminCalls& calls, const TopicSpec& spec) {
    return spec.attributes.empty()
               ? ok()
               : calls.runtime().need_gantry("attribute " + spec.attributes.begin()->first +
                                             " of topic " + spec.topic);
}

/// RocketMQ's brokers change a topic that exists when they are asked to create it.
Status check_is_new(AdminCalls& calls, const std::string& topic) {
    if (!calls.runtime().is_rocketmq()) {
        return ok();  // the brokers look
    }
    const Result<TopicRoute> route = calls.route(topic);
    if (route) {
        return Error{Errc::kConflict, "topic " + topic + " exists"};
    }
    return route.error().code == Errc::kNotFound ? ok() : Status(route.error());
}

/// Takes out what RocketMQ's nameservers list besides applications' topics: each broker and cluster
/// has one of its name.
void drop_rocketmq_topics(std::vector<std::string>& topics,
                          const std::vector<BrokerAddress>& brokers) {
    std::set<std::string> names;
    for (const BrokerAddress& broker : brokers) {
        names.insert(broker.broker);
        names.insert(broker.cluster);
        names.insert(broker.cluster + "_REPLY_TOPIC");
    }
    std::erase_if(topics, [&names](const std::string& topic) {
        return wire::is_system_topic(topic) || names.contains(topic);
    });
}

}  // namespace

AdminClient::AdminClient(std::unique_ptr<State> state) : state_(std::move(state)) {}

AdminClient::~AdminClient() = default;

Result<std::unique_ptr<AdminClient>> AdminClient::create(std::shared_ptr<Client> client,
                                                         const Options& options) {
    if (options.timeout.count() <= 0) {
        return Error{Errc::kRefused,
                     "timeout " + std::to_string(options.timeout.count()) + " ms is not above 0"};
    }
    auto state = std::make_unique<State>(std::move(client), options);
    return std::unique_ptr<AdminClient>(new AdminClient(std::move(state)));
}

Status AdminClient::create_topic(const TopicSpec& spec, std::string_view cluster) {
    GANTRY_TRY(check_spec(spec));
    GANTRY_TRY(check_attributes(state_->calls, spec));
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> masters,
                            state_->calls.masters(cluster));
    GANTRY_TRY(check_is_new(state_->calls, spec.topic));
    wire::CreateTopicRequest fields = create_request(spec);
    fields.set_createonly(true);
    Status first = ok();
    for (const BrokerAddress& broker : masters) {
        const Status status = state_->calls.ask_status(
            broker.address, wire::RequestCode::kUpdateAndCreateTopic, &fields);
        if (first && !status) {
            first = status;
        }
    }
    if (first) {
        wait_for_route(state_->calls, spec.topic, masters);
    }
    return first;
}

Status AdminClient::update_topic(const TopicSpec& spec) {
    GANTRY_TRY(check_spec(spec));
    GANTRY_TRY(check_attributes(state_->calls, spec));
    GANTRY_ASSIGN_OR_RETURN(const TopicRoute route, state_->calls.route(spec.topic));
    wire::CreateTopicRequest fields = create_request(spec);
    fields.set_updateonly(true);
    for (const BrokerRoute& broker : route.brokers) {
        if (!broker.master().empty()) {
            GANTRY_TRY(state_->calls.ask_status(
                broker.master(), wire::RequestCode::kUpdateAndCreateTopic, &fields));
        }
    }
    return ok();
}

Status AdminClient::delete_topic(std::string_view topic) {
    GANTRY_TRY(wire::check_topic_name(topic));
    GANTRY_ASSIGN_OR_RETURN(const TopicRoute route, state_->calls.route(topic));
    wire::TopicRequest fields;
    fields.set_topic(std::string(topic));
    for (const BrokerRoute& broker : route.brokers) {
        if (!broker.master().empty()) {
            GANTRY_TRY(state_->calls.ask_status(
                broker.master(), wire::RequestCode::kDeleteTopicInBroker, &fields));
        }
    }
    for (const std::string& address : state_->calls.runtime().nameservers().addresses()) {
        Status status =
            state_->calls.ask_status(address, wire::RequestCode::kDeleteTopicInNamesrv, &fields);
        if (!status && status.error().code != Errc::kNotFound) {
            return status;
        }
    }
    return ok();
}

Result<std::vector<std::string>> AdminClient::list_topics() {
    GANTRY_ASSIGN_OR_RETURN(const wire::TopicList list,
                            state_->calls.ask_nameserver<wire::TopicList>(
                                wire::RequestCode::kGetAllTopicListFromNameserver, nullptr));
    std::vector<std::string> topics(list.topiclist().begin(), list.topiclist().end());
    std::erase_if(topics, [](const std::string& topic) { return wire::is_internal_topic(topic); });
    if (state_->calls.runtime().is_rocketmq()) {
        GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, state_->calls.brokers());
        drop_rocketmq_topics(topics, brokers);
    }
    std::sort(topics.begin(), topics.end());
    topics.erase(std::unique(topics.begin(), topics.end()), topics.end());
    return topics;
}

Result<std::vector<TopicOnBroker>> AdminClient::describe_topic(std::string_view topic) {
    GANTRY_TRY(wire::check_topic_name(topic));
    GANTRY_ASSIGN_OR_RETURN(const TopicRoute route, state_->calls.route(topic));
    std::vector<TopicOnBroker> found;
    for (const BrokerRoute& broker : route.brokers) {
        GANTRY_ASSIGN_OR_RETURN(const wire::TopicConfigTable table,
                                state_->calls.ask_body<wire::TopicConfigTable>(
                                    broker.any(), wire::RequestCode::kGetAllTopicConfig));
        const auto config = table.topicconfigtable().find(std::string(topic));
        if (config == table.topicconfigtable().end()) {
            continue;
        }
        TopicOnBroker& added = found.emplace_back();
        added.broker = broker.name;
        added.spec.topic = topic;
        added.spec.read_queues = config->second.readqueuenums();
        added.spec.write_queues = config->second.writequeuenums();
        added.spec.perm = config->second.perm();
        added.spec.attributes.insert(config->second.attributes().begin(),
                                     config->second.attributes().end());
    }
    if (found.empty()) {
        return Error{Errc::kNotFound,
                     "topic " + std::string(topic) + " is on none of the brokers routed for it"};
    }
    return found;
}

Result<std::vector<QueueStatus>> AdminClient::topic_status(std::string_view topic) {
    GANTRY_TRY(wire::check_topic_name(topic));
    GANTRY_ASSIGN_OR_RETURN(const TopicRoute route, state_->calls.route(topic));
    wire::TopicRequest fields;
    fields.set_topic(std::string(topic));
    std::vector<QueueStatus> all;
    for (const BrokerRoute& broker : route.brokers) {
        GANTRY_ASSIGN_OR_RETURN(const wire::TopicStatsTable table,
                                state_->calls.ask_body<wire::TopicStatsTable>(
                                    broker.any(), wire::RequestCode::kGetTopicStatsInfo, &fields));
        for (const wire::TopicStatsTable::Entry& entry : table.offsettable()) {
            QueueStatus& status = all.emplace_back();
            status.queue = QueueId{std::string(topic), broker.name, entry.key().queueid()};
            status.min_offset = entry.value().minoffset();
            status.max_offset = entry.value().maxoffset();
            status.last_update_ms = entry.value().lastupdatetimestamp();
        }
    }
    std::sort(all.begin(), all.end(), [](const QueueStatus& a, const QueueStatus& b) {
        return a.queue < b.queue;
    });
    return all;
}

Result<std::vector<BrokerAddress>> AdminClient::cluster() {
    return state_->calls.brokers();
}

}  // namespace gantry::client

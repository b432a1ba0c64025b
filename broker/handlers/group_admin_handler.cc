// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/group_admin_handler.h"

#include "broker/delivery/delay_service.h"
#include "broker/delivery/out_of_range.h"
#include "broker/delivery/retry_policy.h"
#include "broker/dispatcher.h"
#include "broker/topic_creator.h"
#include "protocol/wire/header.h"
#include "protocol/wire/names.h"
#include "storage/state_machine.h"

#include <algorithm>
#include <set>
#include <utility>

namespace gantry::broker {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

constexpr std::int32_t kRetryQueuesMax = 1'024;
constexpr std::int32_t kRetryTimesMax = 1'000'000;

Status check_group(const wire::SubscriptionGroupConfig& config) {
    GANTRY_TRY(wire::check_group_name(config.groupname()));
    if (config.retryqueuenums() < 0 || config.retryqueuenums() > kRetryQueuesMax) {
        return Error{Errc::kRefused,
                     "retryQueueNums " + std::to_string(config.retryqueuenums()) +
                         " is outside 0.." + std::to_string(kRetryQueuesMax)};
    }
    if (config.retrymaxtimes() < -1 || config.retrymaxtimes() > kRetryTimesMax) {
        return Error{Errc::kRefused,
                     "retryMaxTimes " + std::to_string(config.retrymaxtimes()) +
                         " is outside -1.." + std::to_string(kRetryTimesMax)};
    }
    GANTRY_TRY(check_out_of_range(config));
    return check_retry_policy(config.groupretrypolicy());
}

}  // namespace

void GroupAdminHandler::add_to(Dispatcher& dispatcher) {
    using Self = GroupAdminHandler;
    dispatcher.add(RequestCode::kUpdateAndCreateSubscriptionGroup, *this, &Self::put);
    dispatcher.add(RequestCode::kGetAllSubscriptionGroupConfig, *this, &Self::list_configs);
    dispatcher.add(RequestCode::kDeleteSubscriptionGroup, *this, &Self::remove);
    dispatcher.add(RequestCode::kGetConsumerConnectionList, *this, &Self::consumer_connections);
    dispatcher.add(RequestCode::kGetProducerConnectionList, *this, &Self::producer_connections);
    dispatcher.add(RequestCode::kGetConsumeStats, *this, &Self::progress);
    dispatcher.add(RequestCode::kListGroups, *this, &Self::list);
}

void GroupAdminHandler::put(Call& call) {
    wire::SubscriptionGroupConfig sent;
    Status checked = wire::decode_body(call.to.codec, call.body(), sent);
    wire::SubscriptionGroupConfig config = make_group_config(sent.groupname());
    if (checked) {
        config.MergeFrom(sent);
        checked = check_group(config);
    }
    if (!checked) {
        call.fail(checked.error(), ResponseCode::kSystemError);
        return;
    }
    wire::StateRecord record;
    *record.add_changes()->mutable_groupput() = config;
    const Result<storage::Appended> logged = creator_.commit(call.loop, record);
    if (!logged) {
        call.fail(logged.error());
        return;
    }
    call.reply_when_durable(logged->end);
}

void GroupAdminHandler::list_configs(Call& call) {
    wire::SubscriptionGroupTable table;
    *table.mutable_dataversion() = context_.store->state().topic_version();
    for (wire::SubscriptionGroupConfig& config : context_.store->state().groups()) {
        (*table.mutable_subscriptiongrouptable())[config.groupname()] = std::move(config);
    }
    call.reply_body(table);
}

void GroupAdminHandler::remove(Call& call, const wire::DeleteSubscriptionGroupRequest& request) {
    if (!context_.store->state().group(request.groupname())) {
        if (call.is_native()) {
            call.fail(ResponseCode::kSubscriptionGroupNotExist,
                      "group [" + request.groupname() + "] does not exist");
        } else {
            call.reply();
        }
        return;
    }
    wire::StateRecord record;
    record.add_changes()->set_groupdelete(request.groupname());
    const Result<storage::Appended> logged = creator_.commit(call.loop, record);
    if (!logged) {
        call.fail(logged.error());
        return;
    }
    call.reply_when_durable(logged->end);
}

void GroupAdminHandler::consumer_connections(Call& call,
                                             const wire::ConsumerGroupRequest& request) {
    const auto connections = context_.groups.consumer_connections(request.consumergroup());
    if (!connections) {
        call.fail(ResponseCode::kConsumerNotOnline,
                  "the consumer group[" + request.consumergroup() + "] not online");
        return;
    }
    call.reply_body(*connections);
}

void GroupAdminHandler::producer_connections(Call& call,
                                             const wire::ProducerGroupRequest& request) {
    const auto connections = context_.groups.producer_connections(request.producergroup());
    if (!connections) {
        call.fail(ResponseCode::kSystemError,
                  "the producer group[" + request.producergroup() + "] not exist");
        return;
    }
    call.reply_body(*connections);
}

std::vector<std::string> GroupAdminHandler::topics_of(const std::string& group) const {
    std::set<std::string> topics;
    for (std::string& topic : context_.groups.topics_of(group)) {
        topics.insert(std::move(topic));
    }
    for (const wire::OffsetPut& put : context_.store->state().offsets_of_group(group)) {
        topics.insert(put.topic());
    }
    return {topics.begin(), topics.end()};
}

wire::ConsumeStats GroupAdminHandler::progress_of(const std::string& group,
                                                  const std::vector<std::string>& topics) const {
    wire::ConsumeStats stats;
    stats.set_consumetps(0);
    for (const std::string& name : topics) {
        storage::Topic* const topic = context_.store->find_topic(name);
        const std::int32_t queues = topic == nullptr ? 0 : topic->read_queues();
        for (std::int32_t i = 0; i < queues; ++i) {
            storage::Queue* const queue = topic->queue(i);
            if (queue == nullptr) {
                break;
            }
            const auto committed = context_.store->state().offset(group, name, i);
            const QueueOffset max = context_.store->confirmed_max(*queue);
            const QueueOffset done(std::clamp<std::int64_t>(
                committed.value_or(0), 0, std::max<std::int64_t>(max.value, 0)));
            const WallMs last =
                done > queue->min() ? context_.store->store_time_at(*queue, done - 1) : 0;
            auto& entry = *stats.add_offsettable();
            entry.mutable_key()->set_brokername(context_.options.name);
            entry.mutable_key()->set_queueid(i);
            entry.mutable_key()->set_topic(name);
            entry.mutable_value()->set_brokeroffset(max.value);
            entry.mutable_value()->set_consumeroffset(committed.value_or(0));
            entry.mutable_value()->set_lasttimestamp(std::max<WallMs>(last, 0));
        }
    }
    return stats;
}

void GroupAdminHandler::progress(Call& call, const wire::ConsumeStatsRequest& request) {
    std::vector<std::string> topics;
    if (request.topic().empty()) {
        topics = topics_of(request.consumergroup());
    } else {
        topics.push_back(request.topic());
    }
    answer_from_pool(
        call,
        [this, group = request.consumergroup(), topics = std::move(topics), codec = call.to.codec] {
            Answer answer;
            wire::append_body(answer.body, codec, progress_of(group, topics));
            return answer;
        });
}

void GroupAdminHandler::describe(const std::string& group, wire::GroupList::Group& into) const {
    into.set_group(group);
    into.set_members(static_cast<std::uint32_t>(context_.groups.client_ids(group).size()));
    for (std::string& topic : topics_of(group)) {
        into.add_topics(std::move(topic));
    }
    std::int64_t lag = 0;
    for (const wire::OffsetPut& put : context_.store->state().offsets_of_group(group)) {
        storage::Topic* const topic = context_.store->find_topic(put.topic());
        storage::Queue* const queue = topic == nullptr ? nullptr : topic->queue(put.queueid());
        if (queue != nullptr) {
            lag += std::max<std::int64_t>(
                context_.store->confirmed_max(*queue).value - put.offset(), 0);
        }
    }
    into.set_lag(lag);
}

void GroupAdminHandler::list(Call& call) {
    answer_from_pool(call, [this, codec = call.to.codec] {
        std::set<std::string> names;
        for (const wire::SubscriptionGroupConfig& config : context_.store->state().groups()) {
            names.insert(config.groupname());
        }
        for (std::string& name : context_.groups.groups()) {
            names.insert(std::move(name));
        }
        names.erase(std::string(DelayService::kGroup));
        wire::GroupList list;
        for (const std::string& name : names) {
            describe(name, *list.add_groups());
        }
        Answer answer;
        wire::append_body(answer.body, codec, list);
        return answer;
    });
}

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
// The part of AdminClient that looks at groups, brokers and messages.
#include "client/admin/admin_state.h"
#include "client/admin_client.h"
#include "client/consume/record_reader.h"
#include "protocol/wire/group.pb.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/names.h"
#include "protocol/wire/share.pb.h"
#include "protocol/wire/topic.pb.h"

#include <algorithm>
#include <set>
#include <utility>

namespace gantry::client {
namespace {

/// The messages of an answer's body.
Result<std::vector<MessageView>> read_messages(Result<net::Received>& result,
                                               const std::string& broker,
                                               const std::string& address) {
    if (!result) {
        return result.error();
    }
    std::vector<MessageView> messages;
    const wire::ResponseCode code = result->header.response();
    if (code == wire::ResponseCode::kQueryNotFound) {
        return messages;
    }
    GANTRY_TRY(check_response(*result, address));
    RecordReader reader(result->body,
                        std::make_shared<const ReceivedBody>(ReceivedBody{result->pin(), broker}));
    reader.read(messages, result->body.size(), TagFilter{});
    GANTRY_TRY(reader.status());
    return messages;
}

bool has_key(const MessageView& message, std::string_view key) {
    std::string_view keys = message.keys();
    while (!keys.empty()) {
        const std::size_t end = keys.find(' ');
        if (keys.substr(0, end) == key) {
            return true;
        }
        keys.remove_prefix(end == std::string_view::npos ? keys.size() : end + 1);
    }
    return message.message_id() == key;
}

void add_members(const wire::ConsumerConnection& connection, GroupStatus& status) {
    for (const wire::Connection& one : connection.connectionset()) {
        status.members.push_back(
            GroupMember{one.clientid(), one.clientaddr(), one.language(), one.version()});
    }
    for (const auto& [topic, subscription] : connection.subscriptiontable()) {
        status.subscriptions[topic] = subscription.substring();
    }
}

void add_progress(const wire::ConsumeStats& stats, const std::string& broker, GroupStatus& status) {
    for (const wire::ConsumeStats::Entry& entry : stats.offsettable()) {
        GroupQueueProgress& progress = status.queues.emplace_back();
        progress.queue = QueueId{entry.key().topic(), broker, entry.key().queueid()};
        progress.broker_offset = entry.value().brokeroffset();
        progress.consumer_offset = entry.value().consumeroffset();
        progress.last_ms = entry.value().lasttimestamp();
    }
}

void add_owners(const wire::ShareList& owners, const std::string& broker, GroupStatus& status) {
    std::map<QueueId, const wire::ShareList::Share*> known;
    for (const wire::ShareList::Share& share : owners.shares()) {
        known[{share.topic(), broker, share.queueid()}] = &share;
    }
    for (GroupQueueProgress& progress : status.queues) {
        if (const auto found = known.find(progress.queue); found != known.end()) {
            progress.owner = found->second->clientid();
            progress.token = found->second->token();
            progress.is_moving = found->second->revoked();
        }
    }
}

void sort_and_dedupe(GroupStatus& status) {
    std::sort(status.members.begin(), status.members.end(), [](const auto& a, const auto& b) {
        return a.client_id < b.client_id;
    });
    status.members.erase(
        std::unique(status.members.begin(),
                    status.members.end(),
                    [](const auto& a, const auto& b) { return a.client_id == b.client_id; }),
        status.members.end());
    std::sort(status.queues.begin(), status.queues.end(), [](const auto& a, const auto& b) {
        return a.queue < b.queue;
    });
}

}  // namespace

Result<std::vector<GroupSummary>> AdminClient::list_groups() {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, state_->calls.brokers());
    std::map<std::string, GroupSummary> groups;
    std::map<std::string, std::set<std::string>> topics;
    for (const BrokerAddress& broker : brokers) {
        if (broker.broker_id != 0) {
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const wire::GroupList list,
                                state_->calls.ask_body<wire::GroupList>(
                                    broker.address, wire::RequestCode::kListGroups));
        for (const wire::GroupList::Group& group : list.groups()) {
            GroupSummary& summary = groups[group.group()];
            summary.group = group.group();
            summary.members = std::max(summary.members, group.members());
            summary.lag += group.lag();
            topics[group.group()].insert(group.topics().begin(), group.topics().end());
        }
    }
    std::vector<GroupSummary> all;
    for (auto& [name, summary] : groups) {
        summary.topics.assign(topics[name].begin(), topics[name].end());
        all.push_back(std::move(summary));
    }
    return all;
}

Result<GroupStatus> AdminClient::describe_group(std::string_view group) {
    GANTRY_TRY(wire::check_group_name(group));
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, state_->calls.brokers());
    wire::ConsumerGroupRequest who;
    who.set_consumergroup(std::string(group));
    wire::ConsumeStatsRequest what;
    what.set_consumergroup(std::string(group));
    GroupStatus status;
    for (const BrokerAddress& broker : brokers) {
        if (broker.broker_id != 0) {
            continue;
        }
        const Result<wire::ConsumerConnection> connection =
            state_->calls.ask_body<wire::ConsumerConnection>(
                broker.address, wire::RequestCode::kGetConsumerConnectionList, &who);
        if (connection) {
            add_members(*connection, status);
        } else if (connection.error().code != Errc::kNotFound) {
            return connection.error();
        }
        const Result<wire::ConsumeStats> stats = state_->calls.ask_body<wire::ConsumeStats>(
            broker.address, wire::RequestCode::kGetConsumeStats, &what);
        if (stats) {
            add_progress(*stats, broker.broker, status);
        } else if (stats.error().code != Errc::kNotFound) {
            return stats.error();
        }
        wire::ListSharesRequest shares;
        shares.set_consumergroup(std::string(group));
        const Result<wire::ShareList> owners = state_->calls.ask_body<wire::ShareList>(
            broker.address, wire::RequestCode::kListShares, &shares);
        if (owners) {
            add_owners(*owners, broker.broker, status);
        } else if (owners.error().code != Errc::kUnsupported) {
            return owners.error();
        }
    }
    if (status.members.empty() && status.queues.empty()) {
        if (state_->calls.runtime().is_rocketmq()) {
            return Error{Errc::kNotFound,
                         "group " + std::string(group) + " has neither members nor offsets"};
        }
        GANTRY_ASSIGN_OR_RETURN(const std::vector<GroupSummary> known, list_groups());
        const bool exists = std::any_of(known.begin(), known.end(), [group](const auto& summary) {
            return summary.group == group;
        });
        if (!exists) {
            return Error{Errc::kNotFound, "group " + std::string(group) + " does not exist"};
        }
    }
    sort_and_dedupe(status);
    return status;
}

Result<std::vector<OpenTransaction>> AdminClient::list_transactions(std::uint32_t count_max) {
    constexpr std::uint32_t kPage = 500;
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, state_->calls.brokers());
    std::vector<OpenTransaction> all;
    for (const BrokerAddress& broker : brokers) {
        wire::ListTransactionsRequest request;
        std::uint32_t left = broker.broker_id == 0 ? count_max : 0;
        while (left > 0) {
            request.set_count(std::min(left, kPage));
            GANTRY_ASSIGN_OR_RETURN(
                const wire::TransactionList list,
                state_->calls.ask_body<wire::TransactionList>(
                    broker.address, wire::RequestCode::kListTransactions, &request));
            for (const wire::TransactionList::Transaction& one : list.transactions()) {
                all.push_back({broker.broker,
                               one.messageid(),
                               one.producergroup(),
                               one.topic(),
                               one.storetime(),
                               one.askedtime(),
                               one.asked()});
                request.set_from(one.logoffset() + 1);
            }
            const auto got = static_cast<std::uint32_t>(list.transactions_size());
            left = got < request.count() ? 0 : left - got;
        }
    }
    return all;
}

Status AdminClient::resume_transaction(std::string_view id) {
    GANTRY_ASSIGN_OR_RETURN(const wire::MessageLocation location, wire::parse_message_id(id));
    wire::ResumeCheckHalfMessageRequest fields;
    fields.set_msgid(std::string(id));
    return state_->calls.ask_status(
        wire::to_string(location.store_host), wire::RequestCode::kResumeCheckHalfMessage, &fields);
}

Result<BrokerStatus> AdminClient::describe_broker(std::string_view broker) {
    std::string address(broker);
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, state_->calls.brokers());
    const auto found = std::find_if(
        brokers.begin(), brokers.end(), [broker](const auto& b) { return b.broker == broker; });
    if (found != brokers.end()) {
        address = found->address;
    } else if (address.find(':') == std::string::npos) {
        return Error{Errc::kNotFound, "broker " + address + " is not registered"};
    }
    GANTRY_ASSIGN_OR_RETURN(const wire::BrokerDescription body,
                            state_->calls.ask_body<wire::BrokerDescription>(
                                address, wire::RequestCode::kDescribeBroker));
    BrokerStatus status;
    status.address =
        BrokerAddress{body.clustername(), body.brokername(), body.brokerid(), body.address()};
    status.version = body.version();
    status.flush_mode = body.flushmode();
    status.state = body.state();
    status.state_reason = body.statereason();
    status.store_directory = body.storedirectory();
    status.start_ms = body.startms();
    status.min_log_offset = body.minlogoffset();
    status.appended_log_offset = body.appendedlogoffset();
    status.flushed_log_offset = body.flushedlogoffset();
    status.confirmed_log_offset = body.confirmedlogoffset();
    status.topics = body.topics();
    status.queues = body.queues();
    status.groups = body.groups();
    status.connections = body.connections();
    status.free_bytes = body.freebytes();
    status.room_taken_percent = body.roomtakenpercent();
    status.room_alarm = body.roomalarm();
    status.retention_hours = body.retentionhours();
    status.retention_bytes = body.retentionbytes();
    status.deleted_unconsumed.insert(body.deletedunconsumed().begin(),
                                     body.deletedunconsumed().end());
    status.counters = {body.counters().begin(), body.counters().end()};
    return status;
}

Result<MessageView> AdminClient::message_by_id(std::string_view id) {
    GANTRY_ASSIGN_OR_RETURN(const wire::MessageLocation location, wire::parse_message_id(id));
    const std::string address = wire::to_string(location.store_host);
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, state_->calls.brokers());
    const auto known = std::find_if(
        brokers.begin(), brokers.end(), [&address](const auto& b) { return b.address == address; });
    const std::string broker = known == brokers.end() ? address : known->broker;
    wire::ViewMessageRequest fields;
    fields.set_offset(location.log_offset.value);
    const Result<std::vector<MessageView>> messages = state_->calls.ask<std::vector<MessageView>>(
        address,
        wire::RequestCode::kViewMessageById,
        &fields,
        [broker, address](Result<net::Received>& result) {
            return read_messages(result, broker, address);
        });
    const Error missing{Errc::kNotFound,
                        "broker " + address + " has no message " + std::string(id)};
    if (!messages) {
        // RocketMQ's code for it is the general one.
        return messages.error().code == Errc::kIo ? missing : messages.error();
    }
    if (messages->empty()) {
        return missing;
    }
    return messages->front();
}

Result<std::vector<MessageView>> AdminClient::messages_by_key(std::string_view topic,
                                                              std::string_view key,
                                                              WallMs begin,
                                                              WallMs end,
                                                              std::uint32_t count_max) {
    GANTRY_TRY(wire::check_topic_name(topic));
    GANTRY_ASSIGN_OR_RETURN(const TopicRoute route, state_->calls.route(topic));
    wire::QueryMessageRequest fields;
    fields.set_topic(std::string(topic));
    fields.set_key(std::string(key));
    fields.set_maxnum(static_cast<std::int32_t>(count_max));
    fields.set_begintimestamp(begin);
    fields.set_endtimestamp(end);
    std::vector<MessageView> all;
    for (const BrokerRoute& broker : route.brokers) {
        const std::string address = broker.any();
        GANTRY_ASSIGN_OR_RETURN(std::vector<MessageView> found,
                                state_->calls.ask<std::vector<MessageView>>(
                                    address,
                                    wire::RequestCode::kQueryMessage,
                                    &fields,
                                    [name = broker.name, address](Result<net::Received>& result) {
                                        return read_messages(result, name, address);
                                    }));
        std::move(found.begin(), found.end(), std::back_inserter(all));
    }
    std::erase_if(all, [key](const MessageView& message) { return !has_key(message, key); });
    std::stable_sort(all.begin(), all.end(), [](const MessageView& a, const MessageView& b) {
        return a.store_ms() < b.store_ms();
    });
    all.resize(std::min<std::size_t>(all.size(), count_max));
    return all;
}

}  // namespace gantry::client

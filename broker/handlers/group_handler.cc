// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/group_handler.h"

#include "broker/assignment/share_service.h"
#include "broker/dispatcher.h"
#include "broker/registrar.h"
#include "broker/topic_creator.h"
#include "broker/transaction/transaction_checker.h"
#include "common/log.h"
#include "protocol/wire/header.h"
#include "protocol/wire/names.h"
#include "storage/state_machine.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

constexpr Logger kLog("broker");
constexpr std::int32_t kReadWrite = storage::perm::kRead | storage::perm::kWrite;

Status check_heartbeat(const wire::HeartbeatData& data) {
    if (data.clientid().empty()) {
        return Error{Errc::kRefused, "the heartbeat has no clientID"};
    }
    for (const wire::ConsumerData& consumer : data.consumerdataset()) {
        GANTRY_TRY(wire::check_group_name(consumer.groupname()));
    }
    for (const wire::ProducerData& producer : data.producerdataset()) {
        GANTRY_TRY(wire::check_group_name(producer.groupname()));
    }
    return ok();
}

void notify(LoopState& loop, const GroupRegistry::Receiver& receiver, const std::string& group) {
    if (Peer* const peer = loop.find_peer(receiver.peer)) {
        wire::ConsumerGroupRequest fields;
        fields.set_consumergroup(group);
        // Stock clients take callbacks in JSON only.
        const wire::Codec codec =
            receiver.codec == wire::Codec::kNative ? wire::Codec::kNative : wire::Codec::kJson;
        peer->connection->send_oneway(codec, RequestCode::kNotifyConsumerIdsChanged, &fields);
    }
}

}  // namespace

void GroupHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kHeartBeat, *this, &GroupHandler::heartbeat);
    dispatcher.add(RequestCode::kUnregisterClient, *this, &GroupHandler::leave);
    dispatcher.add(RequestCode::kGetConsumerListByGroup, *this, &GroupHandler::members);
    dispatcher.add(RequestCode::kCheckClientConfig, *this, &GroupHandler::check_client);
}

ClientInfo GroupHandler::client_of(const Call& call, const std::string& client_id) const {
    ClientInfo client;
    client.peer = call.peer.id;
    client.client_id = client_id;
    client.address = call.frame.connection.peer();
    client.language = wire::name_of(call.header().language);
    client.version = call.header().version;
    client.codec = call.to.codec;
    return client;
}

bool GroupHandler::create_missing(Call& call, const wire::HeartbeatData& data) {
    storage::StateMachine& state = context_.store->state();
    wire::StateRecord record;
    for (const wire::ConsumerData& consumer : data.consumerdataset()) {
        const std::string& name = consumer.groupname();
        auto config = state.group(name);
        if (!config && !context_.options.group_auto_create) {
            continue;
        }
        if (!config) {
            config = make_group_config(name);
            *record.add_changes()->mutable_groupput() = *config;
        }
        const std::string retry = wire::retry_topic(name);
        if (config->retryqueuenums() > 0 && context_.store->find_topic(retry) == nullptr) {
            *record.add_changes()->mutable_topicput() =
                make_topic_config(retry, config->retryqueuenums(), kReadWrite);
        }
    }
    if (record.changes_size() == 0) {
        return false;
    }
    const Result<storage::Appended> logged = creator_.commit(call.loop, record);
    if (!logged) {
        // Consuming goes on while the store takes no writes.
        kLog.warn("group_not_created", {{"error", logged.error()}});
        return false;
    }
    call.loop.want_flush();
    return true;
}

void GroupHandler::heartbeat(Call& call) {
    wire::HeartbeatData data;
    Status checked = wire::decode_body(call.to.codec, call.body(), data);
    if (checked) {
        checked = check_heartbeat(data);
    }
    if (!checked) {
        call.fail(checked.error(), ResponseCode::kSystemError);
        return;
    }
    if (call.peer.client_id != data.clientid()) {
        call.peer.client_id = data.clientid();
        call.peer.flow_version = 0;  // limited as that client from now on
    }
    // A slave's consumers are members of their groups at the master too, which makes what lacks.
    const bool takes_writes = context_.replica->takes_writes();
    const bool is_created = takes_writes && create_missing(call, data);
    const ClientInfo client = client_of(call, data.clientid());
    for (const wire::ConsumerData& consumer : data.consumerdataset()) {
        if (!context_.options.group_auto_create &&
            !context_.store->state().group(consumer.groupname())) {
            continue;
        }
        if (const auto change = context_.groups.join(client, consumer)) {
            announce(call.loop, *change);
        }
    }
    for (const wire::ProducerData& producer : data.producerdataset()) {
        if (context_.groups.join_producer(client, producer.groupname()) && takes_writes) {
            context_.transaction_checker->producer_joined(producer.groupname());
        }
    }
    if (!is_created) {
        call.reply();
        return;
    }
    // The member asks for the route of its retry topic next.
    context_.registrar->when_announced([&loop = call.loop, to = call.addressee()] {
        loop.post([&loop, to] { loop.reply(to, ResponseCode::kSuccess, {}); });
    });
}

void GroupHandler::leave(Call& call, const wire::UnregisterClientRequest& request) {
    announce(call.loop,
             context_.groups.leave(call.peer.id, request.consumergroup(), request.producergroup()));
    const wire::EmptyFields fields;
    call.reply(&fields);
}

void GroupHandler::members(Call& call, const wire::ConsumerGroupRequest& request) {
    wire::ConsumerIdList list;
    for (std::string& id : context_.groups.client_ids(request.consumergroup())) {
        list.add_consumeridlist(std::move(id));
    }
    if (list.consumeridlist_size() == 0) {
        call.fail(ResponseCode::kSystemError,
                  "no consumer for this group, " + request.consumergroup());
        return;
    }
    std::string body;
    wire::append_body(body, call.to.codec, list);
    const wire::EmptyFields fields;
    call.reply(&fields, body);
}

void GroupHandler::check_client(Call& call) {
    wire::CheckClientRequestBody body;
    if (const Status decoded = wire::decode_body(call.to.codec, call.body(), body); !decoded) {
        call.fail(decoded.error(), ResponseCode::kSystemError);
        return;
    }
    const wire::SubscriptionData& data = body.subscriptiondata();
    const Result<MessageFilter> filter =
        parse_expression({data.expressiontype(), data.substring()}, context_.sql_filters);
    if (filter) {
        call.reply();
    } else if (filter.error().code == Errc::kUnsupported) {
        call.fail(filter.error(), ResponseCode::kSystemError);
    } else {
        call.fail(ResponseCode::kSubscriptionParseFailed, filter.error().detail);
    }
}

void GroupHandler::connection_closed(LoopState& loop, PeerId peer) {
    announce(loop, context_.groups.remove_peer(peer));
}

void GroupHandler::expire(LoopState& loop) {
    if (context_.replica->role() == ReplicaRole::kSlave) {
        creator_.reload_limits();  // they come by replication, unnoticed
    }
    const std::vector<GroupRegistry::Change> changes = context_.groups.expire();
    for (const GroupRegistry::Change& change : changes) {
        kLog.warn("members_expired", {{"group", change.group}});
    }
    announce(loop, changes);
}

void GroupHandler::drop_stalled(LoopState& loop) {
    for (const QueueLocks::Stalled& stalled : context_.locks.stalled()) {
        if (const auto member = context_.groups.client(stalled.client_id)) {
            kLog.warn("member_stalled", {{"group", stalled.group}, {"client", stalled.client_id}});
            announce(loop, context_.groups.leave(member->peer, stalled.group, {}));
        }
    }
}

void GroupHandler::announce(LoopState& loop, const std::vector<GroupRegistry::Change>& changes) {
    for (const GroupRegistry::Change& change : changes) {
        announce(loop, change);
    }
}

void GroupHandler::announce(LoopState& loop, const GroupRegistry::Change& change) {
    context_.counters.member_changes.add();
    context_.shares->group_changed(change.group);
    const auto config = context_.store->state().group(change.group);
    if (change.is_broadcast || (config && !config->notifyconsumeridschangedenable())) {
        return;
    }
    for (const GroupRegistry::Receiver& receiver : change.receivers) {
        LoopState& home = *context_.loops[static_cast<std::size_t>(receiver.peer & kPeerLoopMask)];
        if (&home == &loop) {
            notify(home, receiver, change.group);
        } else {
            home.post([&home, receiver, group = change.group] { notify(home, receiver, group); });
        }
    }
}

}  // namespace gantry::broker

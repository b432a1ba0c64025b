// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/calls/transaction_calls.h"

#include "protocol/wire/group.pb.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/properties.h"
#include "tests/harness/broker_calls.h"

namespace gantry::harness {

Half send_half(RpcClient& client, const HalfMessage& message) {
    Half half;
    half.key = "KEY" + message.body;
    std::string properties;
    (void)wire::append_property(properties, wire::property::kUniqueKey, half.key);
    (void)wire::append_property(properties, wire::property::kHalf, "true");
    (void)wire::append_property(properties, wire::property::kProducerGroup, half.group);
    if (!message.immunity_seconds.empty()) {
        (void)wire::append_property(
            properties, wire::property::kCheckImmunity, message.immunity_seconds);
    }
    if (!message.delay.empty()) {
        (void)wire::append_property(properties, wire::property::kDelay, message.delay);
    }
    wire::SendMessageRequest request = stock_send(message.topic, message.queue_id);
    request.set_sysflag(wire::sys_flag::kTransactionPrepared);
    request.set_properties(properties);
    half.answer = client.call(wire::RequestCode::kSendMessageV2, &request, message.body);
    const auto fields = half.answer.fields<wire::SendMessageResponse>();
    if (const auto at = wire::parse_message_id(fields.msgid())) {
        half.log_offset = at->log_offset.value;
        half.queue_offset = fields.queueoffset();
    }
    return half;
}

wire::EndTransactionRequest end_request(const Half& half,
                                        std::int32_t commit_or_rollback,
                                        bool is_from_check) {
    wire::EndTransactionRequest request;
    request.set_producergroup(half.group);
    request.set_transtatetableoffset(half.queue_offset);
    request.set_commitlogoffset(half.log_offset);
    request.set_commitorrollback(commit_or_rollback);
    request.set_fromtransactioncheck(is_from_check);
    request.set_msgid(half.key);
    return request;
}

Answer end_transaction(RpcClient& client,
                       const Half& half,
                       std::int32_t commit_or_rollback,
                       bool is_from_check) {
    const auto request = end_request(half, commit_or_rollback, is_from_check);
    return client.call(wire::RequestCode::kEndTransaction, &request);
}

Answer join_producers(RpcClient& client, const std::string& client_id) {
    wire::HeartbeatData data;
    data.set_clientid(client_id);
    data.add_producerdataset()->set_groupname("PG");
    return client.call_with_body(wire::RequestCode::kHeartBeat, nullptr, data);
}

Half next_question(RpcClient& client, std::chrono::milliseconds limit) {
    Half half;
    half.answer = client.next_request(limit);
    const auto fields = half.answer.fields<wire::CheckTransactionStateRequest>();
    half.key = fields.msgid();
    if (fields.has_commitlogoffset()) {
        half.log_offset = fields.commitlogoffset();
        half.queue_offset = fields.transtatetableoffset();
    }
    return half;
}

}  // namespace gantry::harness

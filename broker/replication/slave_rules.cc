// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/slave_rules.h"

#include "broker/counters.h"
#include "protocol/wire/replication.pb.h"
#include "protocol/wire/status.h"

#include <string>

namespace gantry::broker {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

ResponseCode stock_code(RequestCode code) {
    switch (code) {
        case RequestCode::kSendMessage:
        case RequestCode::kSendMessageV2:
        case RequestCode::kSendBatchMessage:
            return ResponseCode::kServiceNotAvailable;
        case RequestCode::kEndTransaction:
        case RequestCode::kRecallMessage:
            return ResponseCode::kSlaveNotAvailable;
        default:
            return ResponseCode::kSystemError;
    }
}

}  // namespace

bool is_served_by_slaves(std::int32_t code) noexcept {
    switch (static_cast<RequestCode>(code)) {
        case RequestCode::kPullMessage:
        case RequestCode::kLitePullMessage:
        case RequestCode::kQueryMessage:
        case RequestCode::kViewMessageById:
        case RequestCode::kQueryConsumerOffset:
        case RequestCode::kGetAllConsumerOffset:
        case RequestCode::kSearchOffsetByTimestamp:
        case RequestCode::kGetMaxOffset:
        case RequestCode::kGetMinOffset:
        case RequestCode::kGetEarliestMsgStoreTime:
        case RequestCode::kGetAllTopicConfig:
        case RequestCode::kGetTopicConfig:
        case RequestCode::kGetTopicStatsInfo:
        case RequestCode::kGetSystemTopicListFromBroker:
        case RequestCode::kQueryTopicConsumeByWho:
        case RequestCode::kHeartBeat:
        case RequestCode::kUnregisterClient:
        case RequestCode::kCheckClientConfig:
        case RequestCode::kGetConsumerListByGroup:
        case RequestCode::kGetAllSubscriptionGroupConfig:
        case RequestCode::kGetSubscriptionGroupConfig:
        case RequestCode::kGetConsumerConnectionList:
        case RequestCode::kGetProducerConnectionList:
        case RequestCode::kGetConsumeStats:
        case RequestCode::kGetBrokerRuntimeInfo:
        case RequestCode::kDescribeBroker:
        case RequestCode::kListGroups:
        case RequestCode::kListFlowLimits:
        case RequestCode::kReplicaStatus:
        case RequestCode::kPromote:
            return true;
        default:
            return false;
    }
}

void refuse_not_master(const Call& call) {
    Context& context = call.context;
    const std::string master = context.replica->master_address();
    const std::string remark =
        "broker " + context.options.name + " at " + context.address + " is not the master; " +
        (master.empty() ? std::string("nobody knows the master now") : "the master is " + master);
    if (!call.is_native()) {
        call.fail(stock_code(call.header().request()), remark);
        return;
    }
    context.counters.requests_failed.add();
    const Errc failure = wire::errc_of(ResponseCode::kNotMaster);
    context.counters.failed_by_class[static_cast<std::size_t>(failure)]->add();
    wire::NotMasterResponse fields;
    fields.set_masteraddress(master);
    fields.set_epoch(context.replica->epoch());
    call.frame.connection.reply(call.to, ResponseCode::kNotMaster, remark, &fields);
}

}  // namespace gantry::broker

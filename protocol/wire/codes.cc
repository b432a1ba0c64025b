// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codes.h"

#include <algorithm>
#include <array>

namespace gantry::wire {
namespace {

template <class Code>
struct Named {
    Code code;
    std::string_view name;
};

// Ascending by number.
constexpr std::array<Named<RequestCode>, 91> kRequests = {{
    {RequestCode::kSendMessage, "SEND_MESSAGE"},
    {RequestCode::kPullMessage, "PULL_MESSAGE"},
    {RequestCode::kQueryMessage, "QUERY_MESSAGE"},
    {RequestCode::kQueryConsumerOffset, "QUERY_CONSUMER_OFFSET"},
    {RequestCode::kUpdateConsumerOffset, "UPDATE_CONSUMER_OFFSET"},
    {RequestCode::kUpdateAndCreateTopic, "UPDATE_AND_CREATE_TOPIC"},
    {RequestCode::kGetAllTopicConfig, "GET_ALL_TOPIC_CONFIG"},
    {RequestCode::kGetBrokerRuntimeInfo, "GET_BROKER_RUNTIME_INFO"},
    {RequestCode::kSearchOffsetByTimestamp, "SEARCH_OFFSET_BY_TIMESTAMP"},
    {RequestCode::kGetMaxOffset, "GET_MAX_OFFSET"},
    {RequestCode::kGetMinOffset, "GET_MIN_OFFSET"},
    {RequestCode::kGetEarliestMsgStoreTime, "GET_EARLIEST_MSG_STORETIME"},
    {RequestCode::kViewMessageById, "VIEW_MESSAGE_BY_ID"},
    {RequestCode::kHeartBeat, "HEART_BEAT"},
    {RequestCode::kUnregisterClient, "UNREGISTER_CLIENT"},
    {RequestCode::kConsumerSendMsgBack, "CONSUMER_SEND_MSG_BACK"},
    {RequestCode::kEndTransaction, "END_TRANSACTION"},
    {RequestCode::kGetConsumerListByGroup, "GET_CONSUMER_LIST_BY_GROUP"},
    {RequestCode::kCheckTransactionState, "CHECK_TRANSACTION_STATE"},
    {RequestCode::kNotifyConsumerIdsChanged, "NOTIFY_CONSUMER_IDS_CHANGED"},
    {RequestCode::kLockBatchMq, "LOCK_BATCH_MQ"},
    {RequestCode::kUnlockBatchMq, "UNLOCK_BATCH_MQ"},
    {RequestCode::kGetAllConsumerOffset, "GET_ALL_CONSUMER_OFFSET"},
    {RequestCode::kCheckClientConfig, "CHECK_CLIENT_CONFIG"},
    {RequestCode::kPutKvConfig, "PUT_KV_CONFIG"},
    {RequestCode::kGetKvConfig, "GET_KV_CONFIG"},
    {RequestCode::kDeleteKvConfig, "DELETE_KV_CONFIG"},
    {RequestCode::kRegisterBroker, "REGISTER_BROKER"},
    {RequestCode::kUnregisterBroker, "UNREGISTER_BROKER"},
    {RequestCode::kGetRouteInfoByTopic, "GET_ROUTEINFO_BY_TOPIC"},
    {RequestCode::kGetBrokerClusterInfo, "GET_BROKER_CLUSTER_INFO"},
    {RequestCode::kUpdateAndCreateSubscriptionGroup, "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP"},
    {RequestCode::kGetAllSubscriptionGroupConfig, "GET_ALL_SUBSCRIPTIONGROUP_CONFIG"},
    {RequestCode::kGetTopicStatsInfo, "GET_TOPIC_STATS_INFO"},
    {RequestCode::kGetConsumerConnectionList, "GET_CONSUMER_CONNECTION_LIST"},
    {RequestCode::kGetProducerConnectionList, "GET_PRODUCER_CONNECTION_LIST"},
    {RequestCode::kWipeWritePermOfBroker, "WIPE_WRITE_PERM_OF_BROKER"},
    {RequestCode::kGetAllTopicListFromNameserver, "GET_ALL_TOPIC_LIST_FROM_NAMESERVER"},
    {RequestCode::kDeleteSubscriptionGroup, "DELETE_SUBSCRIPTIONGROUP"},
    {RequestCode::kGetConsumeStats, "GET_CONSUME_STATS"},
    {RequestCode::kDeleteTopicInBroker, "DELETE_TOPIC_IN_BROKER"},
    {RequestCode::kDeleteTopicInNamesrv, "DELETE_TOPIC_IN_NAMESRV"},
    {RequestCode::kGetKvListByNamespace, "GET_KVLIST_BY_NAMESPACE"},
    {RequestCode::kGetTopicsByCluster, "GET_TOPICS_BY_CLUSTER"},
    {RequestCode::kQueryTopicConsumeByWho, "QUERY_TOPIC_CONSUME_BY_WHO"},
    {RequestCode::kGetSystemTopicListFromNs, "GET_SYSTEM_TOPIC_LIST_FROM_NS"},
    {RequestCode::kGetSystemTopicListFromBroker, "GET_SYSTEM_TOPIC_LIST_FROM_BROKER"},
    {RequestCode::kSendMessageV2, "SEND_MESSAGE_V2"},
    {RequestCode::kSendBatchMessage, "SEND_BATCH_MESSAGE"},
    {RequestCode::kQueryDataVersion, "QUERY_DATA_VERSION"},
    {RequestCode::kResumeCheckHalfMessage, "RESUME_CHECK_HALF_MESSAGE"},
    {RequestCode::kSendReplyMessage, "SEND_REPLY_MESSAGE"},
    {RequestCode::kSendReplyMessageV2, "SEND_REPLY_MESSAGE_V2"},
    {RequestCode::kPushReplyMessageToClient, "PUSH_REPLY_MESSAGE_TO_CLIENT"},
    {RequestCode::kAddWritePermOfBroker, "ADD_WRITE_PERM_OF_BROKER"},
    {RequestCode::kGetTopicConfig, "GET_TOPIC_CONFIG"},
    {RequestCode::kGetSubscriptionGroupConfig, "GET_SUBSCRIPTIONGROUP_CONFIG"},
    {RequestCode::kLitePullMessage, "LITE_PULL_MESSAGE"},
    {RequestCode::kRecallMessage, "RECALL_MESSAGE"},
    {RequestCode::kBrokerHeartbeat, "BROKER_HEARTBEAT"},
    {RequestCode::kGetBrokerHaStatus, "GET_BROKER_HA_STATUS"},
    {RequestCode::kSendRecords, "SEND_RECORDS"},
    {RequestCode::kCommitOffsets, "COMMIT_OFFSETS"},
    {RequestCode::kRegisterBrokerDelta, "REGISTER_BROKER_DELTA"},
    {RequestCode::kWatchRoutes, "WATCH_ROUTES"},
    {RequestCode::kDescribeBroker, "DESCRIBE_BROKER"},
    {RequestCode::kListGroups, "LIST_GROUPS"},
    {RequestCode::kListTransactions, "LIST_TRANSACTIONS"},
    {RequestCode::kListDelayed, "LIST_DELAYED"},
    {RequestCode::kSettlePops, "SETTLE_POPS"},
    {RequestCode::kShareQueues, "SHARE_QUEUES"},
    {RequestCode::kListShares, "LIST_SHARES"},
    {RequestCode::kLockQueues, "LOCK_QUEUES"},
    {RequestCode::kUnlockQueues, "UNLOCK_QUEUES"},
    {RequestCode::kListParkedKeys, "LIST_PARKED_KEYS"},
    {RequestCode::kChangeParkedKey, "CHANGE_PARKED_KEY"},
    {RequestCode::kSetFlowLimit, "SET_FLOW_LIMIT"},
    {RequestCode::kListFlowLimits, "LIST_FLOW_LIMITS"},
    {RequestCode::kListSendNumbers, "LIST_SEND_NUMBERS"},
    {RequestCode::kReplicaHello, "REPLICA_HELLO"},
    {RequestCode::kReplicaFrame, "REPLICA_FRAME"},
    {RequestCode::kReplicaAck, "REPLICA_ACK"},
    {RequestCode::kReplicaSeed, "REPLICA_SEED"},
    {RequestCode::kReplicaStatus, "REPLICA_STATUS"},
    {RequestCode::kReplicaRange, "REPLICA_RANGE"},
    {RequestCode::kPromote, "PROMOTE"},
    {RequestCode::kReplicaChallenge, "REPLICA_CHALLENGE"},
    {RequestCode::kPopMessage, "POP_MESSAGE"},
    {RequestCode::kAckMessage, "ACK_MESSAGE"},
    {RequestCode::kChangeMessageInvisibleTime, "CHANGE_MESSAGE_INVISIBLETIME"},
    {RequestCode::kBatchAckMessage, "BATCH_ACK_MESSAGE"},
}};

constexpr std::array<Named<ResponseCode>, 41> kResponses = {{
    {ResponseCode::kSuccess, "SUCCESS"},
    {ResponseCode::kSystemError, "SYSTEM_ERROR"},
    {ResponseCode::kSystemBusy, "SYSTEM_BUSY"},
    {ResponseCode::kRequestCodeNotSupported, "REQUEST_CODE_NOT_SUPPORTED"},
    {ResponseCode::kFlushDiskTimeout, "FLUSH_DISK_TIMEOUT"},
    {ResponseCode::kSlaveNotAvailable, "SLAVE_NOT_AVAILABLE"},
    {ResponseCode::kFlushSlaveTimeout, "FLUSH_SLAVE_TIMEOUT"},
    {ResponseCode::kMessageIllegal, "MESSAGE_ILLEGAL"},
    {ResponseCode::kServiceNotAvailable, "SERVICE_NOT_AVAILABLE"},
    {ResponseCode::kNoPermission, "NO_PERMISSION"},
    {ResponseCode::kTopicNotExist, "TOPIC_NOT_EXIST"},
    {ResponseCode::kPullNotFound, "PULL_NOT_FOUND"},
    {ResponseCode::kPullRetryImmediately, "PULL_RETRY_IMMEDIATELY"},
    {ResponseCode::kPullOffsetMoved, "PULL_OFFSET_MOVED"},
    {ResponseCode::kQueryNotFound, "QUERY_NOT_FOUND"},
    {ResponseCode::kSubscriptionParseFailed, "SUBSCRIPTION_PARSE_FAILED"},
    {ResponseCode::kSubscriptionNotExist, "SUBSCRIPTION_NOT_EXIST"},
    {ResponseCode::kSubscriptionNotLatest, "SUBSCRIPTION_NOT_LATEST"},
    {ResponseCode::kSubscriptionGroupNotExist, "SUBSCRIPTION_GROUP_NOT_EXIST"},
    {ResponseCode::kInvalidParameter, "INVALID_PARAMETER"},
    {ResponseCode::kConsumerNotOnline, "CONSUMER_NOT_ONLINE"},
    {ResponseCode::kNoMessage, "NO_MESSAGE"},
    {ResponseCode::kPollingFull, "POLLING_FULL"},
    {ResponseCode::kPollingTimeout, "POLLING_TIMEOUT"},
    {ResponseCode::kFlowControl, "FLOW_CONTROL"},
    {ResponseCode::kIllegalOperation, "ILLEGAL_OPERATION"},
    {ResponseCode::kMalformed, "MALFORMED"},
    {ResponseCode::kDiskFull, "DISK_FULL"},
    {ResponseCode::kReadOnly, "READ_ONLY"},
    {ResponseCode::kConflict, "CONFLICT"},
    {ResponseCode::kUnknownOutcome, "UNKNOWN_OUTCOME"},
    {ResponseCode::kDataLost, "DATA_LOST"},
    {ResponseCode::kIoError, "IO_ERROR"},
    {ResponseCode::kSequenceGap, "SEQUENCE_GAP"},
    {ResponseCode::kNumbersUnknown, "NUMBERS_UNKNOWN"},
    {ResponseCode::kDelayedUnknown, "DELAYED_UNKNOWN"},
    {ResponseCode::kDelayedOver, "DELAYED_OVER"},
    {ResponseCode::kFenced, "FENCED"},
    {ResponseCode::kOffsetOutOfRange, "OFFSET_OUT_OF_RANGE"},
    {ResponseCode::kNotMaster, "NOT_MASTER"},
    {ResponseCode::kInSyncTooFew, "IN_SYNC_TOO_FEW"},
}};

template <class Code, std::size_t N>
constexpr bool is_ascending(const std::array<Named<Code>, N>& table) noexcept {
    for (std::size_t i = 1; i < N; ++i) {
        if (table[i - 1].code >= table[i].code) {
            return false;
        }
    }
    return true;
}

static_assert(is_ascending(kRequests));
static_assert(is_ascending(kResponses));

template <class Code, std::size_t N>
std::string_view find(const std::array<Named<Code>, N>& table, Code code) noexcept {
    const auto* const at = std::lower_bound(
        table.begin(), table.end(), code, [](const Named<Code>& each, Code wanted) {
            return each.code < wanted;
        });
    return at != table.end() && at->code == code ? at->name : std::string_view();
}

}  // namespace

std::string_view name_of(RequestCode code) noexcept {
    return find(kRequests, code);
}

std::string_view name_of(ResponseCode code) noexcept {
    return find(kResponses, code);
}

}  // namespace gantry::wire

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace gantry::wire {

/// What a request asks for. Numbers below 10000 are RocketMQ's; Gantry's own start there and are
/// spoken in the native codec only. docs/formats/wire.md lists fields and bodies.
enum class RequestCode : std::int32_t {
    kSendMessage = 10,
    kPullMessage = 11,
    kQueryMessage = 12,
    kQueryConsumerOffset = 14,
    kUpdateConsumerOffset = 15,
    kUpdateAndCreateTopic = 17,
    kGetAllTopicConfig = 21,
    kGetBrokerRuntimeInfo = 28,
    kSearchOffsetByTimestamp = 29,
    kGetMaxOffset = 30,
    kGetMinOffset = 31,
    kGetEarliestMsgStoreTime = 32,
    kViewMessageById = 33,
    kHeartBeat = 34,
    kUnregisterClient = 35,
    kConsumerSendMsgBack = 36,
    kEndTransaction = 37,
    kGetConsumerListByGroup = 38,
    kCheckTransactionState = 39,
    kNotifyConsumerIdsChanged = 40,
    kLockBatchMq = 41,
    kUnlockBatchMq = 42,
    kGetAllConsumerOffset = 43,
    kCheckClientConfig = 46,
    kPutKvConfig = 100,
    kGetKvConfig = 101,
    kDeleteKvConfig = 102,
    kRegisterBroker = 103,
    kUnregisterBroker = 104,
    kGetRouteInfoByTopic = 105,
    kGetBrokerClusterInfo = 106,
    kUpdateAndCreateSubscriptionGroup = 200,
    kGetAllSubscriptionGroupConfig = 201,
    kGetTopicStatsInfo = 202,
    kGetConsumerConnectionList = 203,
    kGetProducerConnectionList = 204,
    kWipeWritePermOfBroker = 205,
    kGetAllTopicListFromNameserver = 206,
    kDeleteSubscriptionGroup = 207,
    kGetConsumeStats = 208,
    kDeleteTopicInBroker = 215,
    kDeleteTopicInNamesrv = 216,
    kGetKvListByNamespace = 219,
    kGetTopicsByCluster = 224,
    kQueryTopicConsumeByWho = 300,
    kGetSystemTopicListFromNs = 304,
    kGetSystemTopicListFromBroker = 305,
    kSendMessageV2 = 310,
    kSendBatchMessage = 320,
    kQueryDataVersion = 322,
    kResumeCheckHalfMessage = 323,
    kSendReplyMessage = 324,
    kSendReplyMessageV2 = 325,
    kPushReplyMessageToClient = 326,
    kAddWritePermOfBroker = 327,
    kGetTopicConfig = 351,
    kGetSubscriptionGroupConfig = 352,
    kLitePullMessage = 361,
    kRecallMessage = 370,
    kBrokerHeartbeat = 904,
    kGetBrokerHaStatus = 907,
    kPopMessage = 200050,
    kAckMessage = 200051,
    kChangeMessageInvisibleTime = 200053,
    kBatchAckMessage = 200151,

    kSendRecords = 10001,          ///< body: stored records of one queue; all or nothing
    kCommitOffsets = 10002,        ///< many queues of one group in one record of the log
    kRegisterBrokerDelta = 10010,  ///< changed and removed topics since the last registration
    kWatchRoutes = 10011,          ///< parked until a route of the given topics changes
    kDescribeBroker = 10020,       ///< build, store watermarks, counters
    kListGroups = 10021,           ///< groups with members and lag
    kListTransactions = 10030,     ///< transactions without an outcome
    kListDelayed = 10040,          ///< delayed messages that wait
    kSettlePops = 10050,           ///< acknowledges and re-times popped messages, many at once
    kShareQueues = 10060,          ///< a member's queues of this broker; parked until they change
    kListShares = 10061,           ///< who has which queues of a group
    kLockQueues = 10070,           ///< takes or renews queues to consume in order
    kUnlockQueues = 10071,
    kListParkedKeys = 10072,    ///< keys whose messages a group has put aside
    kChangeParkedKey = 10073,   ///< puts messages of a key aside, releases or drops them
    kSetFlowLimit = 10080,      ///< sets or takes away limits of rates
    kListFlowLimits = 10081,    ///< those that were set, and the defaults
    kListSendNumbers = 10090,   ///< of a topic: whose sends are numbered, which number comes next
    kReplicaHello = 10100,      ///< replication port: a slave begins
    kReplicaFrame = 10101,      ///< one way: log bytes, or a heartbeat
    kReplicaAck = 10102,        ///< one way: how far the slave has them
    kReplicaSeed = 10103,       ///< the state an empty slave begins with
    kReplicaStatus = 10104,     ///< who is master, and how far everybody is
    kReplicaRange = 10105,      ///< log bytes for repair
    kPromote = 10106,           ///< makes this broker the master, or says what that would lose
    kReplicaChallenge = 10107,  ///< replication port: what a hello has to prove
};

/// How a request ended; RocketMQ's numbers, Gantry's own from 10000.
enum class ResponseCode : std::int32_t {
    kSuccess = 0,
    kSystemError = 1,
    kSystemBusy = 2,
    kRequestCodeNotSupported = 3,
    kFlushDiskTimeout = 10,
    kSlaveNotAvailable = 11,
    kFlushSlaveTimeout = 12,
    kMessageIllegal = 13,
    kServiceNotAvailable = 14,
    kNoPermission = 16,
    kTopicNotExist = 17,
    kPullNotFound = 19,
    kPullRetryImmediately = 20,
    kPullOffsetMoved = 21,
    kQueryNotFound = 22,
    kSubscriptionParseFailed = 23,
    kSubscriptionNotExist = 24,
    kSubscriptionNotLatest = 25,
    kSubscriptionGroupNotExist = 26,
    kInvalidParameter = 29,
    kConsumerNotOnline = 206,
    kNoMessage = 208,       ///< no message at that offset
    kPollingFull = 209,     ///< too many pops wait
    kPollingTimeout = 210,  ///< a pop waited, and nothing came
    kFlowControl = 215,
    kIllegalOperation = 604,  ///< a recall handle that is none, or of something else
    kMalformed = 10000,  ///< the request's bytes do not parse; the connection is closed after it
    kDiskFull = 10001,   ///< not stored; resumes by itself when space returns
    kReadOnly = 10002,   ///< not stored; reason in the remark
    kConflict = 10003,   ///< an existing object or a newer epoch or version is in the way
    kUnknownOutcome = 10004,  ///< the write may or may not be stored
    kDataLost = 10005,  ///< lost to damage; a pull's fields say which messages, go on behind them
    kIoError = 10006,  ///< the disk failed this request, and maybe not the next; nothing is skipped
    kSequenceGap = 10007,       ///< not stored: messages of this producer before it are missing
    kNumbersUnknown = 10008,    ///< the producer's numbers in this queue are not known, or are over
    kDelayedUnknown = 10040,    ///< no delayed message of that handle is known
    kDelayedOver = 10041,       ///< it waits no longer: it was delivered, or cancelled before
    kFenced = 10060,            ///< the queue has been locked by or granted to another client since
    kOffsetOutOfRange = 10061,  ///< the group's policy is not to move; fields say the range
    kNotMaster = 10100,     ///< not done: another broker of the group is master; fields say which
    kInSyncTooFew = 10101,  ///< not stored: fewer copies in sync than the topic asks for
};

/// RocketMQ's or our name of a code, "" when unknown; for logs, metrics and tools.
std::string_view name_of(RequestCode code) noexcept;
std::string_view name_of(ResponseCode code) noexcept;

}  // namespace gantry::wire

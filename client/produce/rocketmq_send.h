// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "client/produce/send_frame.h"
#include "common/result.h"
#include "protocol/net/channel.h"
#include "protocol/wire/codes.h"
#include "protocol/wire/message.pb.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gantry::client {

/// A frame of a producer as a request that RocketMQ's brokers know: one message by itself
/// (SEND_MESSAGE_V2), or a batch that is stored all or none (SEND_BATCH_MESSAGE).
struct RocketMqSend {
    wire::RequestCode code = wire::RequestCode::kSendMessageV2;
    wire::SendMessageRequest fields;
    std::string body;
};

/// Whether a batch cannot hold the message: it is compressed (`body_flags` of sysFlag), delayed,
/// half of a transaction, or for a retry topic.
bool travels_alone(const Message& message, std::int32_t body_flags);

/// The delay level, 1 to 18 of RocketMQ's defaults, that is exactly the message's deliver_after;
/// 0: none is.
std::int32_t delay_level_of(const Message& message) noexcept;

/// Whether a broker that answers so knows delays by level only: RocketMQ before 5.0.
bool delays_by_level(const wire::Header& answer) noexcept;

/// The fields of a request to `queue`, but for what a single message has.
wire::SendMessageRequest rocketmq_fields(const QueueId& queue,
                                         const std::string& group,
                                         WallMs born_ms,
                                         bool is_batch);

/// The frame's request. `by_level`: its one message is delayed, and its delay is told as a level.
RocketMqSend rocketmq_send(const Frame& frame, const std::string& group, bool by_level);

/// Where the messages of a frame are.
struct RocketMqStored {
    std::int64_t queue_offset = 0;         ///< of the first; the others follow
    std::vector<std::string> message_ids;  ///< offset message ids; fewer if the broker told fewer
    std::string recall_handle;             ///< of a delayed one, by RocketMQ 5
};

/// Reads the answer to a send of `peer`. As in stock clients a message counts as stored that is in
/// the master's log but not on its disk or its slave in time (10, 11, 12).
///
/// Errors    of the call and of the peer, whose SYSTEM_ERROR says little: kBusy when its text says
///           so, kDenied by its access control, else kUnknown.
Result<RocketMqStored> read_rocketmq_stored(const Result<net::Received>& result,
                                            const std::string& peer);

}  // namespace gantry::client

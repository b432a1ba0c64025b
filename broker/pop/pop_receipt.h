// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/pop/pop_queue.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::broker {

/// What a stock client shows for a popped message, the property POP_CK or extraInfo:
///
///   startOffset popTime invisibleTime reviveQid retry brokerName queueId [queueOffset]
///
/// separated by single blanks. Only the pop time and the queue matter here.
struct PopReceipt {
    WallMs pop_ms = 0;
    std::int32_t queue_id = 0;
};

/// kRefused: it has fewer than 7 fields, or one that matters is no number.
Result<PopReceipt> parse_receipt(std::string_view extra_info);

/// The startOffsetInfo of messages of one queue: "retry queueId offset".
std::string start_offset_info(bool is_retry, std::int32_t queue_id, QueueOffset first);
/// Their msgOffsetInfo: "retry queueId offset,offset,...".
std::string message_offset_info(bool is_retry,
                                std::int32_t queue_id,
                                const std::vector<storage::OffsetSpan>& spans);

/// The offsets that a batch of acknowledgements names: bit i of the bit set, lowest bit of each
/// byte first, in base64, is `start` + i. kRefused: no base64, or more than kAckBitsMax bits.
Result<std::vector<storage::OffsetSpan>> parse_ack_bits(std::string_view base64, QueueOffset start);

inline constexpr std::size_t kAckBitsMax = 1U << 20U;

}  // namespace gantry::broker

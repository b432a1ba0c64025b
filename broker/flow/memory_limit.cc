// SPDX-License-Identifier: Apache-2.0
#include "broker/flow/memory_limit.h"

#include "broker/context.h"
#include "broker/loop_state.h"

#include <string>

namespace gantry::broker {

namespace {

using wire::RequestCode;

constexpr std::chrono::milliseconds kRetryAfter{50};
constexpr std::int64_t kParkedBytes = 1'024;  ///< of a pull or pop, filter and indexes included
constexpr std::int64_t kPendingBytes = 128;   ///< of a send that waits for the disk

bool takes_memory(RequestCode code) noexcept {
    switch (code) {
        case RequestCode::kSendMessage:
        case RequestCode::kSendMessageV2:
        case RequestCode::kSendBatchMessage:
        case RequestCode::kSendReplyMessage:
        case RequestCode::kSendReplyMessageV2:
        case RequestCode::kSendRecords:
        case RequestCode::kPullMessage:
        case RequestCode::kLitePullMessage:
        case RequestCode::kPopMessage:
        case RequestCode::kQueryMessage:
        case RequestCode::kViewMessageById:
            return true;
        default:
            return false;
    }
}

/// More than parked_bytes can be: without looking at what other loops have.
std::int64_t parked_bytes_bound(const Context& context) {
    return static_cast<std::int64_t>(context.loops.size()) *
           (2 * context.options.parked_pulls_max * kParkedBytes +
            context.options.pending_acks_max * kPendingBytes);
}

}  // namespace

std::int64_t parked_bytes(const Context& context) {
    std::size_t parked = 0;
    for (LoopState* const loop : context.loops) {
        parked += loop->long_poll().count() + loop->pop_parking().count();
    }
    return static_cast<std::int64_t>(parked) * kParkedBytes +
           context.counters.pending_acks.load(std::memory_order_relaxed) * kPendingBytes;
}

std::optional<FlowRefusal> refuses_for_memory(const Context& context, RequestCode code) {
    if (!context.memory.is_full(parked_bytes_bound(context)) || !takes_memory(code)) {
        return std::nullopt;
    }
    const std::int64_t parked = parked_bytes(context);
    if (!context.memory.is_full(parked)) {
        return std::nullopt;
    }
    return FlowRefusal{kRetryAfter,
                       "limits.memory_bytes_max " + std::to_string(context.memory.bytes_max()) +
                           " B: " + std::to_string(context.memory.used() + parked) + " B are held"};
}

wire::ResponseCode stock_memory_code(RequestCode code) noexcept {
    return code == RequestCode::kPullMessage || code == RequestCode::kLitePullMessage
               ? wire::ResponseCode::kFlowControl
               : wire::ResponseCode::kSystemBusy;
}

}  // namespace gantry::broker

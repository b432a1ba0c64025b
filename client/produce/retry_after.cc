// SPDX-License-Identifier: Apache-2.0
// What a producer does about a broker that takes no more for the moment, and says how long.
#include "client/produce/retry_after.h"

#include "client/produce/sender.h"
#include "protocol/wire/flow.pb.h"

#include <algorithm>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kWaitMsMax = 60'000;  // whatever it says

}  // namespace

std::optional<milliseconds> retry_after_of(const Result<net::Received>& result) {
    if (!result || result->header.response() != wire::ResponseCode::kFlowControl) {
        return std::nullopt;
    }
    wire::FlowControlResponse fields;
    if (!wire::decode_fields(result->header, fields)) {
        return milliseconds{1};
    }
    return milliseconds{std::clamp<std::int64_t>(fields.retryaftermillis(), 1, kWaitMsMax)};
}

/// Nothing is wrong with the broker: the frame stays on its queue, before what waits there, and
/// costs none of its attempts.
void Sender::limited_in_loop(FramePtr frame, const Error& error, milliseconds wait) {
    Lane& lane = *frame->lane;
    lane.broker->succeeded();
    limited_count_.add();
    frame->has_left = true;
    frame->is_sealed = true;
    frame->not_before = std::chrono::steady_clock::now() + wait;
    if (frame->deadline <= frame->not_before || is_shut_) {
        fail_all_in_loop(*frame, error);
        pool_.give(std::move(frame));
        return;
    }
    put_back_in_loop(lane, std::move(frame));
}

}  // namespace gantry::client

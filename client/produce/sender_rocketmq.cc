// SPDX-License-Identifier: Apache-2.0
// The part of a producer's engine that sends to RocketMQ's brokers.
#include "client/core/runtime.h"
#include "client/produce/rocketmq_send.h"
#include "client/produce/sender.h"

#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAskLimit{3'000};
constexpr milliseconds kAskPause{100};

}  // namespace

/// How a delay is told depends on the broker's release, which only its answers say: before the
/// first delayed message it is asked something that does no harm.
bool Sender::knows_release_in_loop(const Lane& lane) {
    SendBroker& broker = *lane.broker;
    if (broker.release != 0 || std::exchange(broker.is_asked_release, true)) {
        return broker.release != 0;
    }
    wire::QueueRequest fields;
    fields.set_topic(*lane.topic);
    fields.set_queueid(lane.queue);
    broker.channel->call({wire::RequestCode::kGetMaxOffset, &fields, {}},
                         kAskLimit,
                         [self = shared_from_this(), &broker](const Result<net::Received>& result) {
                             broker.is_asked_release = false;
                             if (self->is_shut_) {
                                 return;
                             }
                             if (!result) {
                                 self->arm_in_loop(std::chrono::steady_clock::now() + kAskPause);
                                 return;
                             }
                             broker.release = result->header.version;
                             broker.delays_by_level = delays_by_level(result->header);
                             self->tick_in_loop();  // looks at every lane
                         });
    return false;
}

void Sender::dispatch_rocketmq_in_loop(FramePtr frame) {
    const SendBroker& broker = *frame->lane->broker;
    const bool by_level = frame->is_delayed && broker.delays_by_level;
    if (by_level && delay_level_of(frame->sends.front().message) == 0) {
        const Message& message = frame->sends.front().message;
        fail_all_in_loop(
            *frame,
            {Errc::kUnsupported,
             "deliver_after " + std::to_string(message.deliver_after.count()) + " ms, deliver_at " +
                 std::to_string(message.deliver_at) + ": broker " + broker.name +
                 " is RocketMQ before 5.0 and knows 1, 5, 10, 30 s, 1 to 10, 20, 30 "
                 "min, 1 and 2 h only"});
        pool_.give(std::move(frame));
        return;
    }
    RocketMqSend send = rocketmq_send(*frame, options_.group, by_level);
    launch_in_loop(std::move(frame), {send.code, &send.fields, std::move(send.body), true});
}

Status Sender::take_rocketmq_in_loop(Frame& frame, const Result<net::Received>& result) {
    Lane& lane = *frame.lane;
    GANTRY_ASSIGN_OR_RETURN(RocketMqStored stored,
                            read_rocketmq_stored(result, lane.broker->address));
    lane.broker->succeeded();
    stored_count_.add(frame.sends.size());
    stored.message_ids.resize(frame.sends.size());
    for (std::size_t i = 0; i < frame.sends.size(); ++i) {
        SendReceipt receipt;
        receipt.queue = {*lane.topic, lane.broker->name, lane.queue};
        receipt.queue_offset = stored.queue_offset + static_cast<std::int64_t>(i);
        receipt.message_id = std::move(stored.message_ids[i]);
        receipt.recall_handle = stored.recall_handle;
        complete_in_loop(frame.sends[i], std::move(receipt));
    }
    return ok();
}

}  // namespace gantry::client

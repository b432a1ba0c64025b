// SPDX-License-Identifier: Apache-2.0
// The part of a producer's engine that numbers what an idempotent one sends, so that a broker
// stores it once, and that sees to it that numbers stay right whatever becomes of a frame.
#include "client/core/runtime.h"
#include "client/produce/sender.h"

#include <utility>
#include <vector>

namespace gantry::client {

void Sender::number_in_loop(Lane& lane, Frame& frame) const {
    frame.is_early = false;
    frame.is_sealed = true;
    if (frame.is_numbered) {
        return;
    }
    if (lane.numbers == nullptr) {
        lane.numbers = std::make_unique<LaneNumbers>();
    }
    frame.is_numbered = true;
    frame.epoch = lane.numbers->epoch;
    frame.first = lane.numbers->next;
    lane.numbers->next += static_cast<std::int64_t>(frame.sends.size());
}

/// Whether the lane's next frame may be sent, as far as numbers are concerned.
bool Sender::may_leave_in_loop(Lane& lane) {
    LaneNumbers& numbers = *lane.numbers;
    if (!numbers.is_stalled) {
        return true;
    }
    if (lane.in_flight > 0) {
        return false;
    }
    numbers.is_stalled = false;
    // The first one that waits has nobody before it whom the broker could still be given.
    if (numbers.is_over || (!lane.waiting.empty() && lane.waiting.front().is_early)) {
        begin_epoch_in_loop(lane);
    }
    return true;
}

/// Numbers begin anew, and what waits gets new ones: it is not stored under its old ones, and never
/// will be. Where that is not sure its senders are told so.
void Sender::begin_epoch_in_loop(Lane& lane) {
    LaneNumbers& numbers = *lane.numbers;
    const bool is_doubtful = numbers.is_over || numbers.has_ghost;
    LaneNumbers fresh;
    fresh.epoch = numbers.epoch + 1;
    numbers = fresh;
    FrameQueue staying;
    std::vector<FramePtr> doubtful;
    FrameQueue waiting = std::move(lane.waiting);
    while (!waiting.empty()) {
        FramePtr frame = waiting.pop_front();
        const bool is_unknown = frame->is_numbered && frame->is_unknown;
        frame->is_numbered = false;
        frame->is_early = false;
        if (is_unknown && is_doubtful) {
            doubtful.push_back(std::move(frame));
            continue;
        }
        frame->is_unknown = false;
        staying.push_back(std::move(frame));
    }
    lane.waiting = std::move(staying);
    for (FramePtr& frame : doubtful) {  // last: their callbacks may send
        fail_all_in_loop(
            *frame, {Errc::kUnknown, "the broker does not know any more whether it stored it"});
        pool_.give(std::move(frame));
    }
}

/// `is_early`: the broker lacks one before it, else it does not know these numbers. Not stored.
void Sender::misnumbered_in_loop(FramePtr frame, const Error& error, bool is_early) {
    Lane& lane = *frame->lane;
    lane.broker->succeeded();
    frame->has_left = true;
    frame->is_early = is_early;
    lane.numbers->is_stalled = true;
    lane.numbers->is_over = lane.numbers->is_over || !is_early;
    repeat_in_loop(std::move(frame), {Errc::kGone, "not stored in time: " + error.detail});
}

/// A frame that never left is free to go elsewhere, if no other one has got a number behind it.
void Sender::take_back_number_in_loop(Frame& frame) {
    if (!frame.is_numbered || frame.has_left) {
        return;
    }
    LaneNumbers& numbers = *frame.lane->numbers;
    const auto behind = frame.first + static_cast<std::int64_t>(frame.sends.size());
    if (frame.epoch == numbers.epoch && numbers.next == behind) {
        numbers.next = frame.first;
        frame.is_numbered = false;
    }
}

/// Once more, as it is: the same messages, number and queue.
void Sender::repeat_in_loop(FramePtr frame, const Error& error) {
    frame->not_before = std::chrono::steady_clock::now() + pause_in_loop(*frame);
    frame->attempts += frame->is_misdirected ? 0 : 1;
    if (frame->deadline <= frame->not_before || is_shut_) {
        fail_all_in_loop(*frame, error);
        pool_.give(std::move(frame));
        return;
    }
    retry_count_.add();
    Lane& lane = *frame->lane;
    put_back_in_loop(lane, std::move(frame));
    move_unnumbered_in_loop(lane);
}

/// What waits behind a frame that must stay goes to a broker that answers, where there is one.
void Sender::move_unnumbered_in_loop(Lane& lane) {
    const SteadyTime now = std::chrono::steady_clock::now();
    TopicSender& topic = topic_in_loop(*lane.topic);
    if (topic.lanes().empty() || lane.broker->is_available(now)) {
        return;
    }
    Lane& other = topic.choose_other(lane, now);
    if (other.broker == lane.broker || !other.broker->is_available(now)) {
        return;
    }
    FrameQueue staying;
    FrameQueue waiting = std::move(lane.waiting);
    while (!waiting.empty()) {
        FramePtr frame = waiting.pop_front();
        if (frame->is_numbered || frame->kind != SendKind::kFree) {
            staying.push_back(std::move(frame));
        } else {
            frame->is_sealed = true;
            put_back_in_loop(other, std::move(frame));
        }
    }
    lane.waiting = std::move(staying);
}

}  // namespace gantry::client

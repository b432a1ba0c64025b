// SPDX-License-Identifier: Apache-2.0
// The part of a producer's engine that deals with frames in flight: encoding, answers, retries and
// deadlines.
#include "client/core/runtime.h"
#include "client/produce/retry_after.h"
#include "client/produce/sender.h"
#include "client/trace/tracer.h"
#include "common/log.h"
#include "protocol/wire/message.pb.h"

#include <algorithm>
#include <array>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");
constexpr milliseconds kBackoffFirst{10};
constexpr milliseconds kBackoffMax{1'000};
constexpr milliseconds kMisdirectedPause{50};
constexpr std::uint32_t kBackoffDoublingsMax = 7;
constexpr milliseconds kDialLimit{300};     // at a broker not connected, while there are others
constexpr milliseconds kAttemptMin{1'000};  // before an unknown outcome is repeated
constexpr milliseconds kAttemptMax{5'000};  // the same, where it does no harm
constexpr int kIdempotentPart = 4;
constexpr int kDialPart = 3;

milliseconds ms_until(SteadyTime due, SteadyTime now) {
    const auto left = std::chrono::ceil<milliseconds>(due - now);
    return std::max(left, milliseconds{0});
}

std::string message_id_of(const std::string& prefix, std::int64_t log_offset) {
    constexpr std::size_t kDigits = 16;
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::array<char, kDigits> digits{};
    auto rest = static_cast<std::uint64_t>(log_offset);
    for (std::size_t i = kDigits; i > 0; --i) {
        digits[i - 1] = kHex[rest & 0xFU];
        rest >>= 4U;
    }
    std::string id;
    id.reserve(prefix.size() + kDigits);
    id.append(prefix).append(digits.data(), digits.size());
    return id;
}

}  // namespace

bool Sender::is_due_in_loop(Lane& lane, const Frame& frame) {
    const SteadyTime now = slot_.loop().pass_time();
    if (frame.not_before > now) {
        arm_in_loop(frame.not_before);
        return false;
    }
    if (!frame.is_sealed && options_.batch_bytes_max > 0 &&
        lane.broker->in_flight >= options_.max_batches_in_flight) {
        if (!std::exchange(lane.is_held, true)) {
            lane.broker->held.push_back(&lane);
        }
        return false;
    }
    const bool may_gather = options_.linger.count() > 0 && &frame == &lane.waiting.back() &&
                            !frame.is_sealed && flushes_.load(std::memory_order_relaxed) == 0;
    if (may_gather && now < frame.opened + options_.linger) {
        arm_in_loop(frame.opened + options_.linger);
        return false;
    }
    return true;
}

void Sender::pump_in_loop(Lane& lane) {
    // Frames that wait for the link run out of time one by one: another one behind the first could
    // leave while that is on its way back here.
    // A link that is up is used: the nameserver may have lost sight of a master that lives.
    const net::Channel* const channel = lane.broker->channel;
    if (channel == nullptr || (lane.broker->is_headless && !channel->is_up())) {
        if (!lane.waiting.empty()) {
            arm_in_loop(lane.waiting.front().deadline);
        }
        return;
    }
    const std::uint32_t frames_max = channel->is_up() ? frames_in_flight_max_ : 1;
    if (lane.numbers != nullptr && !may_leave_in_loop(lane)) {
        if (!lane.waiting.empty()) {
            arm_in_loop(lane.waiting.front().deadline);
        }
        return;
    }
    while (!lane.waiting.empty() && lane.in_flight < frames_max &&
           is_due_in_loop(lane, lane.waiting.front())) {
        dispatch_in_loop(lane);
    }
    if (!lane.waiting.empty()) {
        arm_in_loop(lane.waiting.front().deadline);
    }
}

void Sender::wake_held_in_loop(SendBroker& broker) {
    for (Lane* lane : broker.held) {
        lane->is_held = false;
        mark_busy_in_loop(*lane);
    }
    broker.held.clear();
}

milliseconds Sender::attempt_limit_in_loop(const Frame& frame) const {
    const milliseconds left = ms_until(frame.deadline, slot_.loop().pass_time());
    const std::uint32_t attempts_left =
        options_.retries_max + 1 - std::min(frame.attempts, options_.retries_max);
    milliseconds limit = left;
    if (options_.idempotent) {
        limit = std::min(left, std::clamp(left / kIdempotentPart, kAttemptMin, kAttemptMax));
    } else if (options_.retry_unknown) {
        limit = std::min(left, std::max(kAttemptMin, left / static_cast<int>(attempts_left)));
    } else if (attempts_left > 1 && brokers_.size() > 1 && frame.kind == SendKind::kFree &&
               !frame.lane->broker->channel->is_up()) {
        limit = std::min(left, std::max(kDialLimit, left / kDialPart));
    }
    return std::max(limit, milliseconds{1});
}

void Sender::dispatch_in_loop(Lane& lane) {
    FramePtr frame = lane.waiting.pop_front();
    SendBroker& broker = *lane.broker;
    if (options_.idempotent && frame->kind != SendKind::kOneway) {
        number_in_loop(lane, *frame);
    }
    std::string body;
    encode_in_loop(*frame, body);
    wire::SendRecordsRequest fields;
    fields.set_topic(*lane.topic);
    fields.set_queueid(lane.queue);
    fields.set_count(static_cast<std::uint32_t>(frame->sends.size()));
    fields.set_haskeys(frame->has_keys);
    fields.set_hastags(frame->has_tags);
    fields.set_isdelayed(frame->is_delayed);
    net::Request request{wire::RequestCode::kSendRecords, &fields, std::move(body)};
    frame_count_.add();
    if (frame->kind == SendKind::kOneway) {
        const Status sent = broker.channel->send_oneway(std::move(request));
        for (Outgoing& outgoing : frame->sends) {
            complete_in_loop(outgoing, sent ? Result<SendReceipt>(SendReceipt{}) : sent.error());
        }
        pool_.give(std::move(frame));
        return;
    }
    const milliseconds limit = attempt_limit_in_loop(*frame);
    broker.is_probing = broker.failures > 0;
    ++lane.in_flight;
    ++broker.in_flight;
    frame->broker = &broker;
    frame->is_misdirected = false;
    frame->master_epoch = broker.epoch;
    frame->flying_index = flying_.size();
    flying_.push_back(frame.get());
    broker.channel->call(std::move(request),
                         limit,
                         [self = shared_from_this(),
                          flying = std::move(frame)](Result<net::Received>& result) mutable {
                             self->answered_in_loop(std::move(flying), result);
                         });
}

void Sender::answered_in_loop(FramePtr frame, Result<net::Received>& result) {
    if (is_shut_) {
        return;
    }
    const Completing completing(*this);
    Lane& lane = *frame->lane;
    flying_.back()->flying_index = frame->flying_index;
    flying_[frame->flying_index] = flying_.back();
    flying_.pop_back();
    --lane.in_flight;
    --frame->broker->in_flight;
    wake_held_in_loop(*frame->broker);
    Result<wire::SendRecordsResponse> answer =
        fields_of<wire::SendRecordsResponse>(result, lane.broker->address);
    const auto is_told = [&](wire::ResponseCode code) {
        return frame->is_numbered && result && result->header.response() == code;
    };
    if (answer) {
        lane.broker->succeeded();
        stored_in_loop(*frame, *answer);
        pool_.give(std::move(frame));
    } else if (is_told(wire::ResponseCode::kSequenceGap)) {
        misnumbered_in_loop(std::move(frame), answer.error(), true);
    } else if (is_told(wire::ResponseCode::kNumbersUnknown)) {
        misnumbered_in_loop(std::move(frame), answer.error(), false);
    } else if (const auto wait = retry_after_of(result)) {
        limited_in_loop(std::move(frame), answer.error(), *wait);
    } else {
        frame->is_misdirected = result ? result->header.response() == wire::ResponseCode::kNotMaster
                                       : answer.error().code == Errc::kGone && has_moved(*frame);
        failed_in_loop(std::move(frame), std::move(answer).error());
    }
    if (!is_shut_ && !lane.waiting.empty()) {
        mark_busy_in_loop(lane);
    }
}

void Sender::stored_in_loop(Frame& frame, const wire::SendRecordsResponse& answer) {
    std::int64_t queue_offset = answer.queueoffset();
    std::int64_t log_offset = answer.logoffset();
    int number = 0;
    const Lane& lane = *frame.lane;
    stored_count_.add(frame.sends.size());
    if (frame.is_numbered && frame.epoch == lane.numbers->epoch) {
        lane.numbers->has_ghost = false;  // what was given up before it is stored
    }
    const bool born_v6 = runtime_.local_host().is_v6;
    std::size_t number_bytes =
        frame.is_numbered ? number_bytes_of({producer_id_, frame.epoch, frame.first}) : 0;
    for (Outgoing& outgoing : frame.sends) {
        SendReceipt receipt;
        receipt.queue = {*lane.topic, lane.broker->name, lane.queue};
        receipt.queue_offset = queue_offset++;
        if (number < answer.recallhandles_size() && number < answer.logoffsets_size()) {
            receipt.recall_handle = answer.recallhandles(number);
            log_offset = answer.logoffsets(number);
            ++number;
        }
        receipt.message_id = message_id_of(lane.broker->id_prefix, log_offset);
        log_offset += static_cast<std::int64_t>(
            lane.broker->store_v6 ? record_bytes_of(outgoing.message, born_v6, true)
                                  : outgoing.record_bytes);
        log_offset += static_cast<std::int64_t>(std::exchange(number_bytes, 0));
        complete_in_loop(outgoing, std::move(receipt));
    }
}

void Sender::complete_in_loop(Outgoing& outgoing, Result<SendReceipt>&& result) {
    const Completing completing(*this);
    discharge(outgoing);
    if (outgoing.is_traced) {
        tracer_->sent(outgoing.message,
                      result,
                      std::chrono::steady_clock::now() - (outgoing.deadline - options_.deadline));
    }
    if (outgoing.done) {
        Producer::Done done = std::move(outgoing.done);
        done(std::move(result));
    }
}

void Sender::fail_all_in_loop(Frame& frame, const Error& error) {
    failed_count_.add(frame.sends.size());
    if (frame.is_numbered && frame.is_unknown) {
        frame.lane->numbers->has_ghost = true;
    }
    const Error told = frame.told(error);
    for (Outgoing& outgoing : frame.sends) {
        complete_in_loop(outgoing, Result<SendReceipt>(told));
    }
    frame.sends.clear();
}

bool Sender::may_retry(const Frame& frame, const Error& error) const noexcept {
    if (frame.attempts >= options_.retries_max && !options_.idempotent) {
        return false;
    }
    switch (error.code) {
        case Errc::kGone:
        case Errc::kBusy:
        case Errc::kDiskFull:
        case Errc::kReadOnly:
        case Errc::kNotFound:
            return true;
        case Errc::kTimeout:
        case Errc::kUnknown:
            return options_.retry_unknown || options_.idempotent;
        default:
            return false;
    }
}

void Sender::failed_in_loop(FramePtr frame, Error error) {
    const SteadyTime now = std::chrono::steady_clock::now();
    if (error.code == Errc::kNotFound || frame->is_misdirected) {
        runtime_.routes().refresh(*frame->lane->topic);
    } else if (error.code == Errc::kRefused) {
        frame->lane->broker->succeeded();
    } else {
        frame->lane->broker->failed(now);
    }
    if (error.code == Errc::kClosed) {  // the client shuts down under us
        error.code = Errc::kUnknown;
    }
    frame->has_left = frame->has_left || error.code != Errc::kGone;
    frame->is_unknown =
        frame->is_unknown || error.code == Errc::kTimeout || error.code == Errc::kUnknown;
    if (!frame->is_misdirected && !may_retry(*frame, error)) {
        kLog.debug("send_failed", {{"queue", frame->lane->queue}, {"error", error}});
        fail_all_in_loop(*frame, error);
        pool_.give(std::move(frame));
        return;
    }
    take_back_number_in_loop(*frame);
    if (frame->is_numbered) {
        repeat_in_loop(std::move(frame), error);
    } else {
        retry_in_loop(std::move(frame), error);
    }
}

/// Before the next attempt: longer from attempt to attempt.
milliseconds Sender::pause_in_loop(const Frame& frame) {
    const milliseconds longer =
        kBackoffFirst * (1 << std::min(frame.attempts, kBackoffDoublingsMax));
    const milliseconds ceiling =
        std::min(frame.is_misdirected ? kMisdirectedPause : kBackoffMax, longer);
    const auto spread = static_cast<std::uint64_t>(ceiling.count()) / 2;
    return milliseconds{static_cast<std::int64_t>(spread + random_.below(spread + 1))};
}

void Sender::put_back_in_loop(Lane& lane, FramePtr frame) {
    frame->lane = &lane;
    arm_in_loop(frame->not_before);
    lane.waiting.put_in_order(std::move(frame));
    mark_busy_in_loop(lane);
}

void Sender::retry_in_loop(FramePtr frame, const Error& error) {
    const SteadyTime now = std::chrono::steady_clock::now();
    frame->not_before = now + pause_in_loop(*frame);
    frame->attempts += frame->is_misdirected ? 0 : 1;
    frame->is_sealed = true;
    std::vector<Outgoing>& sends = frame->sends;
    const auto in_time =
        std::stable_partition(sends.begin(), sends.end(), [&frame](const Outgoing& outgoing) {
            return outgoing.deadline > frame->not_before;
        });
    std::vector<Outgoing> late(std::make_move_iterator(in_time),
                               std::make_move_iterator(sends.end()));
    sends.erase(in_time, sends.end());
    failed_count_.add(late.size());
    for (Outgoing& outgoing : late) {
        complete_in_loop(outgoing, Result<SendReceipt>(frame->told(error)));
    }
    if (frame->sends.empty() || is_shut_) {
        fail_all_in_loop(*frame, error);
        pool_.give(std::move(frame));
        return;
    }
    frame->deadline = frame->sends.front().deadline;
    retry_count_.add();
    Lane* lane = frame->lane;
    TopicSender& topic = topic_in_loop(*lane->topic);
    if (frame->kind == SendKind::kKeyed && !lane->is_routed && !topic.lanes().empty()) {
        for (Outgoing& outgoing : frame->sends) {
            Parked parked{std::move(outgoing), nullptr};
            place_in_loop(topic, parked);
        }
        pool_.give(std::move(frame));
        return;
    }
    if (frame->kind == SendKind::kFree && !topic.lanes().empty()) {
        lane = &topic.choose_other(*lane, now);
    }
    put_back_in_loop(*lane, std::move(frame));
}

void Sender::expire_in_loop(TopicSender& topic, SteadyTime now) {
    std::vector<Parked>& parked = topic.parked;
    const auto late = std::stable_partition(
        parked.begin(), parked.end(), [now](const Parked& p) { return p.outgoing.deadline > now; });
    std::vector<Parked> expired(std::make_move_iterator(late),
                                std::make_move_iterator(parked.end()));
    parked.erase(late, parked.end());
    for (Parked& p : expired) {
        complete_in_loop(p.outgoing, topic.route_error);
    }
    topic.for_each_lane([this, now](Lane& lane) {
        const Error error{Errc::kGone,
                          "not sent within " + std::to_string(options_.deadline.count()) +
                              " ms: broker " + lane.broker->name + " is unreachable or slow"};
        while (!lane.waiting.empty() && lane.waiting.front().deadline <= now) {
            FramePtr frame = lane.waiting.pop_front();
            fail_all_in_loop(*frame, error);
            pool_.give(std::move(frame));
        }
    });
}

void Sender::arm_in_loop(SteadyTime due) {
    if (is_shut_) {
        return;
    }
    if (timer_ == nullptr) {
        timer_ = std::make_unique<net::Timer>(slot_.loop(), [this] { tick_in_loop(); });
        timer_due_ = SteadyTime::max();
    }
    if (due < timer_due_) {
        timer_due_ = due;
        timer_->start_once(ms_until(due, std::chrono::steady_clock::now()));
    }
}

void Sender::tick_in_loop() {
    if (is_shut_) {
        return;
    }
    timer_due_ = SteadyTime::max();
    const SteadyTime now = std::chrono::steady_clock::now();
    std::vector<TopicSender*> topics;  // a callback may send to one more topic
    for (auto& [name, topic] : topics_) {
        topics.push_back(&topic);
    }
    for (TopicSender* topic : topics) {
        expire_in_loop(*topic, now);
        if (!topic->parked.empty()) {
            arm_in_loop(topic->parked.front().outgoing.deadline);
            ask_route_in_loop(*topic);
        }
        topic->for_each_lane([this](Lane& lane) {
            if (!lane.waiting.empty()) {
                mark_busy_in_loop(lane);
            }
        });
    }
}

}  // namespace gantry::client

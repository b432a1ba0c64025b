// SPDX-License-Identifier: Apache-2.0
#include "client/produce/sender.h"

#include "client/core/heartbeats.h"
#include "client/core/runtime.h"
#include "client/produce/compress.h"
#include "client/produce/rocketmq_send.h"
#include "client/trace/tracer.h"
#include "common/checksum.h"
#include "protocol/wire/names.h"

#include <algorithm>
#include <utility>

namespace gantry::client {
namespace {

constexpr int kSpreadPart = 8;  // a frame's messages are at most deadline / 8 apart in age

std::uint32_t frames_in_flight_max(const Producer::Options& options, bool is_rocketmq) {
    constexpr std::uint32_t kNumberedMax = 16;  // the broker remembers so many
    if (is_rocketmq) {
        return 1;  // its brokers store what comes together in any order
    }
    const std::uint32_t most =
        options.batch_bytes_max == 0 ? options.in_flight_max : options.max_batches_in_flight;
    return options.idempotent ? std::min(most, kNumberedMax) : most;
}

Error closed_error() {
    return Error{Errc::kClosed, "the producer is closed"};
}

}  // namespace

Sender::Sender(Runtime& runtime, LoopSlot& slot, const Producer::Options& options)
    : runtime_(runtime),
      slot_(slot),
      options_(options),
      frames_in_flight_max_(client::frames_in_flight_max(options, runtime.is_rocketmq())),
      channel_owner_(options.own_connection ? slot.new_owner() : 0),
      producer_id_(random_seed()),
      limits_{options.message_bytes_max,
              options.idempotent ? kNumberBytesMax : 0,
              !runtime.is_rocketmq()},
      is_rocketmq_(runtime.is_rocketmq()),
      random_(random_seed()),
      stored_count_(runtime.metrics().counter("gantry_client_stored_messages_total",
                                              "Messages a broker acknowledged")),
      failed_count_(runtime.metrics().counter("gantry_client_failed_messages_total",
                                              "Messages whose send ended with an error")),
      frame_count_(runtime.metrics().counter("gantry_client_send_requests_total",
                                             "Send requests, each with one message or more")),
      retry_count_(runtime.metrics().counter("gantry_client_send_retries_total",
                                             "Send requests that were repeated")),
      limited_count_(
          runtime.metrics().counter("gantry_client_send_limited_total",
                                    "Send requests that a broker's limit of rates has put off")) {}

Sender::~Sender() = default;

void Sender::start() {
    runtime_.heartbeats().add_producer(options_.group);
    subscription_ = runtime_.routes().subscribe(
        [self = weak_from_this(), slot = &slot_](const RoutePtr& route) {
            slot->post([self, route] {
                if (const std::shared_ptr<Sender> alive = self.lock(); alive != nullptr) {
                    alive->route_changed_in_loop(route);
                }
            });
        });
}

void Sender::trace_by(std::shared_ptr<Tracer> tracer) {
    tracer_ = std::move(tracer);
}

Status Sender::accept(Message message, const SendTarget& target, Producer::Done done) {
    if (is_closed_.load(std::memory_order_acquire)) {
        return closed_error();
    }
    GANTRY_TRY(wire::check_topic_name(message.topic));
    const bool is_traced = tracer_ != nullptr && tracer_->choose(message);
    GANTRY_TRY(check_message(message, limits_));
    GANTRY_TRY(take_slot());  // before the body is compressed for nothing
    Parked parked;
    Outgoing& outgoing = parked.outgoing;
    outgoing.body_flags = compress_body(message.body, options_.compression);
    outgoing.record_bytes =
        static_cast<std::uint32_t>(record_bytes_of(message, runtime_.local_host().is_v6, false));
    GANTRY_TRY(charge(outgoing.record_bytes));
    outgoing.message = std::move(message);
    outgoing.done = std::move(done);
    outgoing.is_traced = is_traced;
    outgoing.kind = target.kind;
    outgoing.key_hash = target.key_hash;
    if (target.queue != nullptr) {
        parked.queue = std::make_unique<QueueId>(*target.queue);
    }
    if (slot_.loop().in_loop() && !is_draining_) {
        if (has_inbox_.load(std::memory_order_acquire)) {
            drain_inbox_in_loop();  // what other threads sent before goes before
        }
        outgoing.deadline = slot_.loop().pass_time() + options_.deadline;
        enqueue_in_loop(parked);
        return ok();
    }
    outgoing.deadline = std::chrono::steady_clock::now() + options_.deadline;
    bool must_wake = false;
    {
        const MutexLock lock(mutex_);
        if (is_closed_.load(std::memory_order_relaxed)) {
            discharge(outgoing);
            notify_if_drained();
            return closed_error();
        }
        inbox_.items.push_back(std::move(parked));
        has_inbox_.store(true, std::memory_order_release);
        must_wake = !std::exchange(inbox_.is_woken, true);
    }
    if (must_wake) {
        wake_loop();
    }
    return ok();
}

void Sender::wake_loop() {
    if (!slot_.post([self = shared_from_this()] { self->drain_inbox_in_loop(); })) {
        const MutexLock lock(mutex_);
        inbox_.is_woken = false;  // the next message tries again
    }
}

Status Sender::take_slot() {
    const std::uint64_t before = in_flight_.fetch_add(1, std::memory_order_relaxed);
    if (before >= options_.in_flight_max) {
        in_flight_.fetch_sub(1, std::memory_order_relaxed);
        return Error{
            Errc::kBusy,
            "in_flight_max " + std::to_string(options_.in_flight_max) + " messages are unanswered"};
    }
    return ok();
}

Status Sender::charge(std::uint32_t bytes) {
    if (!runtime_.memory().try_take(bytes)) {
        in_flight_.fetch_sub(1);
        notify_if_drained();
        return Error{Errc::kBusy,
                     "memory_bytes_max " + std::to_string(runtime_.memory().bytes_max()) +
                         " B of the client is in use"};
    }
    return ok();
}

void Sender::discharge(const Outgoing& outgoing) {
    runtime_.memory().give(outgoing.record_bytes);
    in_flight_.fetch_sub(1, std::memory_order_acq_rel);
}

void Sender::notify_if_drained() {
    if (flushes_.load() > 0 && in_flight_.load() == 0) {
        const MutexLock lock(drained_mutex_);
        drained_.notify_all();
    }
}

Sender::Completing::Completing(Sender& sender) : sender_(sender) {
    if (sender_.completing_depth_++ == 0) {
        sender_.is_completing_.store(true);
    }
}

Sender::Completing::~Completing() {
    if (--sender_.completing_depth_ > 0) {
        return;
    }
    sender_.is_completing_.store(false);
    sender_.notify_if_drained();
}

void Sender::set_selector(Producer::Selector selector) {
    auto shared = std::make_shared<Producer::Selector>(std::move(selector));
    if (slot_.loop().in_loop()) {
        selector_ = std::move(*shared);
        return;
    }
    slot_.post([self = shared_from_this(), shared] { self->selector_ = std::move(*shared); });
}

void Sender::drain_inbox_in_loop() {
    if (std::exchange(is_draining_, true)) {
        return;  // a callback closes the producer: the rest is refused below
    }
    {
        const MutexLock lock(mutex_);
        std::swap(draining_, inbox_.items);
        inbox_.is_woken = false;
        has_inbox_.store(false, std::memory_order_relaxed);
    }
    for (Parked& parked : draining_) {
        enqueue_in_loop(parked);
    }
    draining_.clear();
    is_draining_ = false;
}

TopicSender& Sender::topic_in_loop(const std::string& topic) {
    if (last_topic_ != nullptr && last_topic_->topic() == topic) {
        return *last_topic_;
    }
    last_topic_ = &topics_.try_emplace(topic, topic, frames_in_flight_max_).first->second;
    return *last_topic_;
}

void Sender::enqueue_in_loop(Parked& parked) {
    if (is_shut_) {
        complete_in_loop(parked.outgoing, closed_error());
        return;
    }
    TopicSender& topic = topic_in_loop(parked.outgoing.message.topic);
    if (topic.has_route()) {
        place_in_loop(topic, parked);
        return;
    }
    arm_in_loop(parked.outgoing.deadline);
    topic.parked.push_back(std::move(parked));
    ask_route_in_loop(topic);
}

Result<Lane*> Sender::choose_in_loop(TopicSender& topic, Parked& parked) {
    Outgoing& outgoing = parked.outgoing;
    if (topic.lanes().empty()) {
        return Error{Errc::kDenied, "topic " + topic.topic() + " has no queue that takes writes"};
    }
    if (outgoing.kind == SendKind::kQueue) {
        Lane* lane = topic.find(*parked.queue);
        if (lane == nullptr) {
            return Error{Errc::kNotFound,
                         "queue " + std::to_string(parked.queue->queue) + " of topic " +
                             topic.topic() + " on broker " + parked.queue->broker +
                             " is not among the writable queues"};
        }
        return lane;
    }
    if (outgoing.kind == SendKind::kKeyed) {
        return &topic.choose_keyed(outgoing.key_hash);
    }
    if (selector_) {
        const std::size_t at = selector_(topic.route()->write_queues, outgoing.message);
        if (at >= topic.lanes().size()) {
            return Error{Errc::kRefused,
                         "the selector chose queue " + std::to_string(at) + " of " +
                             std::to_string(topic.lanes().size())};
        }
        outgoing.kind = SendKind::kQueue;
        return topic.lanes()[at];
    }
    return &topic.choose_free(outgoing.kind, slot_.loop().pass_time());
}

void Sender::place_in_loop(TopicSender& topic, Parked& parked) {
    const Result<Lane*> lane = choose_in_loop(topic, parked);
    if (lane) {
        add_in_loop(**lane, parked.outgoing);
    } else {
        complete_in_loop(parked.outgoing, lane.error());
    }
}

void Sender::add_in_loop(Lane& lane, Outgoing& outgoing) {
    Frame* frame = lane.gathering(outgoing.kind);
    const bool is_delayed = outgoing.message.is_delayed();
    const bool is_alone = is_rocketmq_ && travels_alone(outgoing.message, outgoing.body_flags);
    const bool fits = frame != nullptr && options_.batch_bytes_max > 0 && !is_alone &&
                      frame->is_delayed == is_delayed &&
                      frame->bytes + outgoing.record_bytes <= options_.batch_bytes_max &&
                      outgoing.deadline - frame->deadline <= options_.deadline / kSpreadPart;
    if (!fits) {
        if (frame != nullptr) {
            frame->is_sealed = true;
        }
        FramePtr opened = pool_.take();
        frame = opened.get();
        frame->lane = &lane;
        frame->kind = outgoing.kind;
        frame->is_delayed = is_delayed;
        frame->deadline = outgoing.deadline;
        frame->opened = outgoing.deadline - options_.deadline;
        frame->born_ms = runtime_.clock().wall_ms();
        lane.waiting.push_back(std::move(opened));
    }
    frame->bytes += outgoing.record_bytes;
    frame->has_keys = frame->has_keys || !outgoing.message.keys.empty();
    frame->has_tags = frame->has_tags || !outgoing.message.tag.empty();
    frame->sends.push_back(std::move(outgoing));
    if (frame->bytes >= options_.batch_bytes_max || is_alone) {
        frame->is_sealed = true;
        pump_in_loop(lane);
    }
    if (!lane.waiting.empty()) {
        mark_busy_in_loop(lane);
    }
}

void Sender::encode_in_loop(const Frame& frame, std::string& body) {
    RecordOrigin origin;
    origin.queue_id = frame.lane->queue;
    origin.born_ms = frame.born_ms;
    origin.born_host = runtime_.local_host();
    origin.store_v6 = frame.lane->broker->store_v6;
    writer_.set_origin(origin);
    body.reserve(frame.bytes);
    auto next = frame.sends.begin();
    if (frame.is_numbered) {
        writer_.append_first(
            body, next->message, next->body_flags, {producer_id_, frame.epoch, frame.first});
        ++next;
    }
    for (; next != frame.sends.end(); ++next) {
        writer_.append(body, next->message, next->body_flags);
    }
}

void Sender::mark_busy_in_loop(Lane& lane) {
    slot_.loop().role().assert_held();
    if (!std::exchange(lane.is_busy, true)) {
        busy_.push_back(&lane);
    }
    slot_.loop().at_pass_end(*this);
}

void Sender::on_pass_end() {
    slot_.loop().role().assert_held();
    pumping_.swap(busy_);
    for (Lane* lane : pumping_) {
        lane->is_busy = false;
    }
    for (Lane* lane : pumping_) {
        pump_in_loop(*lane);
    }
    pumping_.clear();
}

Status Sender::flush(std::chrono::milliseconds limit) {
    const SteadyTime deadline = std::chrono::steady_clock::now() + limit;
    flushes_.fetch_add(1);
    slot_.post([self = shared_from_this()] { self->tick_in_loop(); });
    bool is_drained = true;
    {
        MutexLock lock(drained_mutex_);
        while (!is_idle() && is_drained) {
            is_drained = lock.wait_until(drained_, deadline);
        }
        is_drained = is_idle();
    }
    flushes_.fetch_sub(1);
    if (!is_drained) {
        return Error{Errc::kTimeout,
                     std::to_string(in_flight_.load()) + " messages unanswered after " +
                         std::to_string(limit.count()) + " ms"};
    }
    return ok();
}

Status Sender::close(std::chrono::milliseconds drain_limit) {
    Status drained = ok();
    {
        const MutexLock lock(mutex_);
        if (is_closed_.exchange(true)) {
            return drained;
        }
    }
    if (slot_.loop().in_loop()) {
        shut_in_loop();
    } else {
        drained = flush(drain_limit);
        slot_.run_and_wait([this] { shut_in_loop(); });
    }
    runtime_.routes().unsubscribe(subscription_);
    runtime_.heartbeats().remove_producer(options_.group);
    return drained;
}

void Sender::shut_in_loop() {
    slot_.loop().role().assert_held();
    drain_inbox_in_loop();
    is_shut_ = true;
    const Error unsent{Errc::kGone, "the producer was closed before the message was sent"};
    const Error unanswered{Errc::kTimeout, "the producer was closed before the broker answered"};
    for (Frame* frame : flying_) {
        fail_all_in_loop(*frame, unanswered);
    }
    for (auto& [name, topic] : topics_) {  // sends are refused by now: no topic is added
        for (Parked& parked : std::exchange(topic.parked, {})) {
            complete_in_loop(parked.outgoing, unsent);
        }
        topic.for_each_lane([this, &unsent](Lane& lane) {
            FrameQueue waiting = std::move(lane.waiting);
            while (!waiting.empty()) {
                fail_all_in_loop(*waiting.pop_front(), unsent);
            }
        });
    }
    timer_.reset();
    slot_.loop().forget(*this);
    selector_.reset();
    if (channel_owner_ != 0) {  // later: this may be a callback of one of them
        slot_.post([self = shared_from_this()] { self->slot_.drop(self->channel_owner_); });
    }
}

}  // namespace gantry::client

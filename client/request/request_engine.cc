// SPDX-License-Identifier: Apache-2.0
#include "client/request/request_engine.h"

#include "client/core/heartbeats.h"
#include "client/core/loop_slot.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "client/produce/record_writer.h"
#include "client/produce/retry_after.h"
#include "client/produce/sender.h"
#include "client/request/pushed_reply.h"
#include "protocol/wire/names.h"
#include "protocol/wire/properties.h"

#include <algorithm>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kIdDigits = 32;
constexpr milliseconds kTimeoutMax{86'400'000};
constexpr milliseconds kPauseFirst{20};
constexpr milliseconds kPauseMax{500};
constexpr std::uint32_t kDoublingsMax = 5;

Error closed() {
    return Error{Errc::kClosed, "the producer is closed"};
}

milliseconds left_until(SteadyTime deadline) {
    return std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
}

/// Whether the one who replies may come through later.
bool may_repeat(Errc code) noexcept {
    return code != Errc::kRefused && code != Errc::kDenied && code != Errc::kUnsupported &&
           code != Errc::kClosed;
}

}  // namespace

RequestEngine::RequestEngine(Runtime& runtime,
                             std::shared_ptr<Sender> sender,
                             const Producer::Options& options)
    : runtime_(runtime),
      slot_(runtime.control()),
      sender_(std::move(sender)),
      options_(options),
      answered_(runtime.metrics().counter("gantry_client_requests_answered_total",
                                          "Requests that got a reply.")),
      timed_out_(runtime.metrics().counter("gantry_client_requests_timed_out_total",
                                           "Requests without a reply in their time.")),
      random_(random_seed()) {}

RequestEngine::~RequestEngine() = default;

void RequestEngine::start() {
    listener_ = runtime_.heartbeats().receive_replies(
        [weak = weak_from_this()](const net::Received& received) {
            if (const std::shared_ptr<RequestEngine> self = weak.lock()) {
                self->on_push(received);
            }
        });
}

Status RequestEngine::enter() {
    if (is_closed_.load(std::memory_order_acquire)) {
        return closed();
    }
    if (in_flight_.fetch_add(1, std::memory_order_relaxed) >= options_.in_flight_max) {
        in_flight_.fetch_sub(1, std::memory_order_relaxed);
        return Error{Errc::kBusy,
                     "in_flight_max " + std::to_string(options_.in_flight_max) +
                         " requests and replies are under way"};
    }
    return ok();
}

std::string RequestEngine::new_id() {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string id(kIdDigits, '0');
    const MutexLock lock(mutex_);
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < id.size(); ++i) {
        bits = i % 16 == 0 ? random_.next() : bits >> 4U;
        id[i] = kHex[bits & 0xFU];
    }
    return id;
}

Status RequestEngine::request(Message message, milliseconds timeout, Producer::OnReply done) {
    if (timeout.count() <= 0 || timeout > kTimeoutMax) {
        return Error{Errc::kRefused,
                     "timeout " + std::to_string(timeout.count()) + " ms is not within 1 to " +
                         std::to_string(kTimeoutMax.count())};
    }
    GANTRY_TRY(wire::check_topic_name(message.topic));
    const std::string id = new_id();
    message.properties.emplace_back(wire::property::kCorrelationId, id);
    message.properties.emplace_back(wire::property::kReplyTo, runtime_.client_id());
    message.properties.emplace_back(wire::property::kReplyTtl, std::to_string(timeout.count()));
    GANTRY_TRY(check_message(message, {options_.message_bytes_max}));
    GANTRY_TRY(enter());
    auto asked = std::make_shared<Asked>();
    asked->done = std::move(done);
    asked->deadline = std::chrono::steady_clock::now() + timeout;
    asked->timeout_ms = timeout.count();
    auto sent = std::make_shared<Message>(std::move(message));
    const bool posted = slot_.post([self = shared_from_this(), id, asked, sent] {
        self->deadlines_.emplace(asked->deadline, id);
        self->asked_.emplace(id, std::move(*asked));
        if (self->is_shut_) {
            self->fail_in_loop(id, closed());
            return;
        }
        self->arm_in_loop();
        self->ask_in_loop(id, std::move(*sent));
    });
    if (!posted) {
        in_flight_.fetch_sub(1, std::memory_order_relaxed);
        return closed();
    }
    return ok();
}

/// Who replies needs to know the cluster, which only the route says.
void RequestEngine::ask_in_loop(const std::string& id, Message message) {
    const std::string topic = message.topic;
    auto waiting = std::make_shared<Message>(std::move(message));
    runtime_.routes().get(
        topic, true, [self = shared_from_this(), id, waiting](Result<RoutePtr> route) {
            if (!route) {
                self->fail_in_loop(id, route.error());
                return;
            }
            if (!(*route)->brokers.empty()) {
                waiting->properties.emplace_back(wire::property::kCluster,
                                                 (*route)->brokers.front().cluster);
            }
            const Status accepted = self->sender_->accept(
                std::move(*waiting), SendTarget{}, [self, id](Result<SendReceipt> sent) {
                    // Of unknown outcome: the reply may come.
                    if (sent || sent.error().code == Errc::kUnknown ||
                        sent.error().code == Errc::kTimeout) {
                        return;
                    }
                    const Error error = sent.error();
                    if (!self->slot_.post([self, id, error] { self->fail_in_loop(id, error); })) {
                        return;  // stop() of the slot comes after close
                    }
                });
            if (!accepted) {
                self->fail_in_loop(id, accepted.error());
            }
        });
}

void RequestEngine::fail_in_loop(const std::string& id, const Error& error) {
    complete_in_loop(id, error);
}

void RequestEngine::complete_in_loop(const std::string& id, Result<MessageView> result) {
    const auto at = asked_.find(id);
    if (at == asked_.end()) {
        return;
    }
    Asked asked = std::move(at->second);
    asked_.erase(at);
    deadlines_.erase({asked.deadline, id});
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
    asked.done(std::move(result));
}

void RequestEngine::on_push(const net::Received& received) {
    Result<PushedReply> pushed = read_pushed_reply(received);
    if (!pushed) {
        return;
    }
    if (asked_.count(pushed->correlation_id) == 0) {
        return;  // another producer's, late, or here already
    }
    answered_.add();
    complete_in_loop(pushed->correlation_id, std::move(pushed->message));
}

void RequestEngine::arm_in_loop() {
    if (is_shut_ || deadlines_.empty()) {
        return;
    }
    if (timer_ == nullptr) {
        timer_ = std::make_unique<net::Timer>(slot_.loop(), [this] { tick_in_loop(); });
    }
    timer_->start_once(std::max(left_until(deadlines_.begin()->first), milliseconds{1}));
}

void RequestEngine::tick_in_loop() {
    const std::shared_ptr<RequestEngine> self = shared_from_this();  // a callback may let go
    const SteadyTime now = std::chrono::steady_clock::now();
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
        const std::string id = deadlines_.begin()->second;
        timed_out_.add();
        fail_in_loop(id,
                     {Errc::kTimeout,
                      "no reply within " + std::to_string(asked_.at(id).timeout_ms) + " ms"});
    }
    arm_in_loop();
}

Status RequestEngine::reply(const MessageView& request, Message message, Producer::ReplyDone done) {
    const std::string_view who = request.property(wire::property::kReplyTo);
    const std::string_view id = request.property(wire::property::kCorrelationId);
    const std::string_view cluster = request.property(wire::property::kCluster);
    if (who.empty() || id.empty() || cluster.empty()) {
        return Error{Errc::kRefused,
                     "the message asks for no reply: it lacks REPLY_TO_CLIENT, CORRELATION_ID or "
                     "CLUSTER"};
    }
    message.properties.emplace_back(wire::property::kMessageType, "reply");
    message.properties.emplace_back(wire::property::kCorrelationId, id);
    message.properties.emplace_back(wire::property::kReplyTo, who);
    const std::string_view ttl = request.property(wire::property::kReplyTtl);
    if (!ttl.empty()) {
        message.properties.emplace_back(wire::property::kReplyTtl, ttl);
    }
    GANTRY_TRY(check_message(message, {options_.message_bytes_max}));
    GANTRY_TRY(enter());
    auto reply = std::make_shared<Reply>();
    reply->broker = request.broker();
    wire::SendMessageRequest& fields = reply->fields;
    fields.set_producergroup(options_.group);
    fields.set_topic(std::string(cluster) + "_REPLY_TOPIC");
    fields.set_defaulttopic("TBW102");
    fields.set_defaulttopicqueuenums(4);
    fields.set_queueid(0);
    fields.set_sysflag(0);
    fields.set_borntimestamp(runtime_.clock().wall_ms());
    fields.set_flag(message.flag);
    fields.set_properties(stored_properties(message, fields.borntimestamp()));
    reply->body = std::move(message.body);
    reply->done = std::move(done);
    reply->deadline = std::chrono::steady_clock::now() + options_.deadline;
    const bool posted = slot_.post([self = shared_from_this(), reply] {
        self->replies_.insert(reply);
        self->send_in_loop(reply);
    });
    if (!posted) {
        in_flight_.fetch_sub(1, std::memory_order_relaxed);
        return closed();
    }
    return ok();
}

void RequestEngine::send_in_loop(const ReplyPtr& reply) {
    if (replies_.count(reply) == 0) {
        return;
    }
    if (is_shut_) {
        replied_in_loop(reply, closed());
        return;
    }
    const std::string address = runtime_.routes().master_of(reply->broker);
    if (address.empty() && !runtime_.routes().address_of(reply->broker).empty()) {
        Result<net::Received> away = Error{Errc::kGone, reply->broker + " has no master now"};
        answered_in_loop(reply, away);
        return;
    }
    if (address.empty()) {
        replied_in_loop(reply, Error{Errc::kGone, "broker " + reply->broker + " is in no route"});
        return;
    }
    slot_.channel(address).call(
        {wire::RequestCode::kSendReplyMessageV2, &reply->fields, reply->body},
        std::max(left_until(reply->deadline), milliseconds{1}),
        [self = shared_from_this(), reply](Result<net::Received>& result) {
            self->answered_in_loop(reply, result);
        });
}

void RequestEngine::answered_in_loop(const ReplyPtr& reply, Result<net::Received>& result) {
    if (replies_.count(reply) == 0) {
        return;
    }
    const Status taken = result ? check_response(*result, reply->broker) : Status(result.error());
    if (taken) {
        replied_in_loop(reply, ok());
        return;
    }
    const milliseconds pause = retry_after_of(result).value_or(
        std::min(kPauseMax, kPauseFirst * (1 << std::min(reply->attempts, kDoublingsMax))));
    ++reply->attempts;
    if (!may_repeat(taken.error().code) || left_until(reply->deadline) <= pause || is_shut_) {
        replied_in_loop(reply, taken.error());
        return;
    }
    slot_.post_after(pause, [self = shared_from_this(), reply] { self->send_in_loop(reply); });
}

void RequestEngine::replied_in_loop(const ReplyPtr& reply, Status result) {
    if (replies_.erase(reply) == 0) {
        return;
    }
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
    if (reply->done) {
        Producer::ReplyDone done = std::move(reply->done);
        done(std::move(result));
    }
}

void RequestEngine::close() {
    if (is_closed_.exchange(true)) {
        return;
    }
    runtime_.heartbeats().end_replies(listener_);
    if (slot_.loop().in_loop()) {
        shut_in_loop();
    } else {
        slot_.run_and_wait([this] { shut_in_loop(); });
    }
}

void RequestEngine::shut_in_loop() {
    is_shut_ = true;
    timer_.reset();
    while (!asked_.empty()) {
        const std::string id = asked_.begin()->first;
        fail_in_loop(id, closed());
    }
    while (!replies_.empty()) {
        const ReplyPtr reply = *replies_.begin();
        replied_in_loop(reply, closed());
    }
}

}  // namespace gantry::client

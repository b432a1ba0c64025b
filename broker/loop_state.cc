// SPDX-License-Identifier: Apache-2.0
#include "broker/loop_state.h"

#include "broker/context.h"
#include "common/failpoint/failpoint.h"
#include "common/log.h"
#include "protocol/wire/status.h"

#include <algorithm>

namespace gantry::broker {

namespace {

constexpr Logger kLog("broker");
constexpr unsigned kPeerLoopBits = 8;

}  // namespace

LoopState::LoopState(Context& context,
                     net::EventLoop& loop,
                     std::size_t index,
                     const Readers& readers)
    : context_(context),
      loop_(loop),
      index_(index),
      random_(random_seed()),
      offsets_(context, *this),
      flow_(context, *this),
      long_poll_(loop, context.clock, readers.pulls),
      pop_parking_(loop, context.clock, readers.pops),
      cold_replies_(context.clock, [this](net::Task task) { post(std::move(task)); }),
      flow_wakes_(loop, context.clock, [this](const storage::Queue* queue) { touch_own(queue); }) {}

LoopState::~LoopState() {
    loop_.role().assert_held();
    loop_.forget(*this);
}

void LoopState::post(net::Task task) {
    if (const Status posted = loop_.post(std::move(task)); !posted) {
        kLog.debug("task_dropped", {{"error", posted.error()}});
    }
}

Peer& LoopState::add_peer(net::Connection& connection) {
    const PeerId id = (next_peer_++ << kPeerLoopBits) | index_;
    auto& peer = peers_[id] = std::make_unique<Peer>();
    peer->id = id;
    peer->connection = &connection;
    peer->loop = this;
    return *peer;
}

void LoopState::remove_peer(PeerId id) {
    long_poll_.drop_peer(id);
    pop_parking_.drop_peer(id);
    peers_.erase(id);
}

Peer* LoopState::find_peer(PeerId id) {
    const auto at = peers_.find(id);
    return at == peers_.end() ? nullptr : at->second.get();
}

void LoopState::reply(const Addressee& to,
                      wire::ResponseCode code,
                      std::string_view remark,
                      const google::protobuf::Message* fields,
                      std::string_view body) {
    if (Peer* const peer = find_peer(to.peer)) {
        peer->connection->reply(to.to, code, remark, fields, body);
    }
}

void LoopState::fail(const Addressee& to, const Error& error) {
    fail(to, error, wire::response_code(error.code, to.to.codec), nullptr);
}

void LoopState::fail(const Addressee& to,
                     const Error& error,
                     wire::ResponseCode stock,
                     const google::protobuf::Message* fields) {
    context_.counters.requests_failed.add();
    context_.counters.failed_by_class[static_cast<std::size_t>(error.code)]->add();
    if (to.to.codec == wire::Codec::kNative) {
        reply(to, wire::response_code(error.code, to.to.codec), error.detail);
    } else {
        reply(to, stock, error.detail, fields);
    }
}

Status LoopState::room_for_message() const {
    const auto acks_max = static_cast<std::size_t>(context_.options.pending_acks_max);
    if (pending_acks() >= acks_max) {
        return Error{Errc::kBusy,
                     "the disk or a slave is slow: " + std::to_string(pending_acks()) +
                         " sends wait for it, limits.pending_acks_max " + std::to_string(acks_max)};
    }
    const storage::Watermarks marks = context_.store->watermarks();
    const std::int64_t bytes = marks.appended - marks.flushed;
    if (bytes > context_.options.unflushed_bytes_max) {
        return Error{Errc::kBusy,
                     "the disk is slow: " + std::to_string(bytes) +
                         " B are not on it > limits.unflushed_bytes_max " +
                         std::to_string(context_.options.unflushed_bytes_max) + " B"};
    }
    return ok();
}

std::optional<std::string> LoopState::lacks_copies() const {
    const std::int64_t there = context_.replica->in_sync();
    const std::int64_t needed = context_.options.replication.in_sync_min;
    if (there >= needed) {
        return std::nullopt;
    }
    return "copies in sync " + std::to_string(there) + " < replication.in_sync_min " +
           std::to_string(needed);
}

void LoopState::appended(const storage::Queue& queue, LogOffset end) {
    GANTRY_FAILPOINT("send.appended");
    if (is_acked_at_once(AckAt::kConfirmed)) {
        touch(&queue);
        return;
    }
    want_flush();
    const bool anybody = std::any_of(
        context_.loops.begin(), context_.loops.end(), [](LoopState* l) { return l->has_parked(); });
    if (anybody) {
        unconfirmed_.emplace_back(end, &queue);
    }
}

void LoopState::want_flush() {
    if (context_.store->flush_mode() == storage::FlushMode::kSync) {
        wants_flush_ = true;
        want_pass_end();
    }
}

void LoopState::touch_own(const storage::Queue* queue) {
    const bool has_pulls = long_poll_.touch(queue);
    const bool has_pops = pop_parking_.touch(queue->topic);
    if (has_pulls || has_pops) {
        want_pass_end();
    }
}

void LoopState::touch_pops(std::string_view topic) {
    if (pop_parking_.touch(topic)) {
        want_pass_end();
    }
}

void LoopState::touch(const storage::Queue* queue) {
    touch_own(queue);
    for (LoopState* const other : context_.loops) {
        if (other != this && other->has_parked()) {
            for_others_.resize(context_.loops.size());
            auto& list = for_others_[other->index_];
            if (list.empty() || list.back() != queue) {
                list.push_back(queue);
                want_pass_end();
            }
        }
    }
}

void LoopState::topic_changed(const storage::Topic& topic) {
    const storage::Topic* const changed = &topic;
    for (LoopState* const other : context_.loops) {
        other->post([other, changed] {
            if (other->long_poll_.touch_topic(changed)) {
                other->want_pass_end();
            }
            other->touch_pops(changed->name());
        });
    }
}

AckAt LoopState::ack_at(const storage::Topic& topic) const noexcept {
    switch (topic.acks()) {
        case storage::TopicAcks::kSync:
            return AckAt::kConfirmed;
        case storage::TopicAcks::kAsync:
            return AckAt::kLocal;
        case storage::TopicAcks::kDefault:
            break;
    }
    return ack_at();
}

AckAt LoopState::ack_at() const noexcept {
    return context_.acks_are_async ? AckAt::kLocal : AckAt::kConfirmed;
}

bool LoopState::is_acked_at_once(AckAt at) const noexcept {
    return context_.store->flush_mode() == storage::FlushMode::kAsync &&
           (at == AckAt::kLocal || context_.replica->role() == ReplicaRole::kAlone);
}

bool LoopState::is_acked(AckAt at, LogOffset end) const noexcept {
    if (is_acked_at_once(at)) {
        return true;
    }
    return reached(at) >= end;
}

LogOffset LoopState::reached(AckAt at) const noexcept {
    const storage::Watermarks marks = context_.store->watermarks();
    return at == AckAt::kLocal ? marks.local
                               : std::min(marks.confirmed, context_.replica->acknowledged());
}

void LoopState::when_acked(AckAt at, LogOffset end, PendingAcks::Done done) {
    if (!context_.replica->may_acknowledge()) {
        done(Error{Errc::kUnknown, "may or may not be stored: " + why_unknown()});
        return;
    }
    if (is_acked(at, end)) {
        done(ok());
        return;
    }
    if (!acks(at).empty()) {
        end = std::max(end, acks(at).last_end());
    }
    acks(at).add(end, std::move(done));
    count_pending();
    want_flush();
}

void LoopState::when_durable(LogOffset end, PendingAcks::Done done) {
    when_acked(ack_at(), end, std::move(done));
}

void LoopState::acknowledge_send(const Addressee& to, const storage::Appended& appended, AckAt at) {
    if (to.to.is_oneway) {
        return;
    }
    acks(at).add(to, appended);
    count_pending();
    want_flush();
}

void LoopState::reply_to_send(const PendingAcks::Send& send, const Status& status) {
    if (!status) {
        fail(send.to, status.error());
        return;
    }
    GANTRY_FAILPOINT("ack.durable");
    send_response.set_queueoffset(send.appended.queue_offset.value);
    send_response.set_logoffset(send.appended.first.value);
    send_response.set_storetimestamp(send.appended.store_ms);
    reply(send.to, wire::ResponseCode::kSuccess, {}, &send_response);
}

void LoopState::park(PullQuery query) {
    const storage::Queue* const queue = query.queue;
    const QueueOffset from = query.from;
    long_poll_.park(std::move(query));
    context_.counters.pulls_parked.add();
    // Something may have been appended, or confirmed, between the read and the parking.
    if (context_.store->confirmed_max(*queue) > from) {
        touch(queue);
    } else if (queue->max() > from) {
        unconfirmed_.emplace_back(context_.store->watermarks().appended, queue);
        if (is_acked_at_once(AckAt::kConfirmed)) {
            on_store_progress();
        }
    }
}

void LoopState::on_store_progress() {
    if (is_progress_posted_.exchange(true, std::memory_order_acq_rel)) {
        return;
    }
    post([this] {
        is_progress_posted_.store(false, std::memory_order_release);
        release_acks();
        release_readers();
    });
}

/// Why what waits is not acknowledged any more; empty while it may be.
std::string LoopState::why_unknown() const {
    std::string reason = context_.store->read_only_reason();
    if (reason.empty() && !context_.replica->may_acknowledge()) {
        reason = "this broker is no longer the master";
    }
    return reason;
}

void LoopState::release_acks() {
    if (!has_pending_acks()) {
        return;
    }
    if (context_.replica->may_acknowledge()) {
        release_acks_to(AckAt::kLocal, reached(AckAt::kLocal), ok());
        release_acks_to(AckAt::kConfirmed, reached(AckAt::kConfirmed), ok());
        GANTRY_FAILPOINT("ack.replied");
        if (!has_pending_acks()) {
            return;
        }
    }
    if (const std::string reason = why_unknown(); !reason.empty()) {
        fail_acks(reason);
    }
}

void LoopState::fail_acks(const std::string& reason) {
    kLog.error("acknowledgements_failed",
               {{"count", pending_acks()}, {"reason", std::string_view(reason)}});
    const Error unknown{Errc::kUnknown, "may or may not be stored: " + reason};
    for (const AckAt at : {AckAt::kLocal, AckAt::kConfirmed}) {
        if (!acks(at).empty()) {
            release_acks_to(at, acks(at).last_end(), unknown);
        }
    }
}

void LoopState::release_acks_to(AckAt at, LogOffset end, const Status& status) {
    acks(at).release(end, status, [this](const PendingAcks::Send& send, const Status& outcome) {
        reply_to_send(send, outcome);
    });
    count_pending();
}

void LoopState::count_pending() {
    const std::int64_t before =
        std::exchange(pending_counted_, static_cast<std::int64_t>(pending_acks()));
    context_.counters.pending_acks.fetch_add(pending_counted_ - before, std::memory_order_relaxed);
}

void LoopState::release_readers() {
    const LogOffset confirmed = context_.store->watermarks().confirmed;
    while (!unconfirmed_.empty() && unconfirmed_.front().first <= confirmed) {
        touch(unconfirmed_.front().second);
        unconfirmed_.pop_front();
    }
    // Another thread is between reserving and publishing, which takes microseconds.
    if (!unconfirmed_.empty() && is_acked_at_once(AckAt::kConfirmed)) {
        on_store_progress();
    }
    // What a slave takes in was appended by none of its loops.
    const bool is_slave = context_.replica->role() == ReplicaRole::kSlave;
    if (is_slave && long_poll_.touch_grown(*context_.store)) {
        want_pass_end();
    }
}

void LoopState::want_pass_end() {
    loop_.role().assert_held();
    loop_.at_pass_end(*this);
}

void LoopState::on_pass_end() {
    offsets_.flush();
    if (std::exchange(wants_flush_, false)) {
        context_.store->flush_soon();
    }
    for (std::size_t i = 0; i < for_others_.size(); ++i) {
        if (for_others_[i].empty()) {
            continue;
        }
        LoopState* const other = context_.loops[i];
        other->post([other, queues = std::exchange(for_others_[i], {})] {
            for (const storage::Queue* const queue : queues) {
                other->touch_own(queue);
            }
        });
    }
    context_.counters.pulls_woken.add(long_poll_.wake_touched());
    context_.counters.pops.woken.add(pop_parking_.wake_touched());
}

void LoopState::answer_all() {
    offsets_.flush();
    context_.store->flush_soon();
    long_poll_.answer_all();
    pop_parking_.answer_all();
    release_acks();
}

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/link/slave_link.h"

#include "broker/replication/link/link_proof.h"
#include "common/checksum.h"
#include "common/log.h"
#include "storage/store.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("replication");
constexpr int kFramesPerPass = 8;
constexpr std::size_t kCopiedBytes = 2'048;  // below: cheaper than a piece of its own
constexpr std::chrono::milliseconds kMarkGrain{5};
constexpr std::chrono::milliseconds kPaceMin{5};
constexpr std::uint64_t kPacedFrameBytes = std::uint64_t{128} << 10U;

std::int64_t micros(SteadyTime at) {
    return std::chrono::duration_cast<std::chrono::microseconds>(at.time_since_epoch()).count();
}

std::int64_t nanos(SteadyTime at) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count();
}

}  // namespace

SlaveLink::SlaveLink(LinkSource& source,
                     net::Connection& connection,
                     MemberId id,
                     std::string address)
    : source_(source),
      connection_(&connection),
      id_(id),
      address_(std::move(address)),
      heard_at_(source.clock.steady()),
      pace_timer_(source.loop, [this] { pump(); }) {
    pace_.set_rate(static_cast<std::int64_t>(source.options.seed_bytes_per_second));
}

/// Behind the end of the log so far: in memory, since it was written lately.
std::int64_t SlaveLink::hot_bytes() const noexcept {
    return static_cast<std::int64_t>(source_.options.hot_bytes);
}

void SlaveLink::start(LogOffset from) {
    sent_ = from;
    received_ = from;
    paced_end_ = source_.store->watermarks().appended;
    pump();
}

/// True when nothing can be sent now; else `end` is where the log ended at `now` at the earliest.
bool SlaveLink::must_wait(LogOffset& end, SteadyTime& now) {
    if (connection_ == nullptr || !connection_->is_open() || is_reading_) {
        return true;
    }
    now = source_.clock.steady();
    end = source_.store->watermarks().appended;
    if (sent_ >= end) {
        // Armed first, then looked again: what is appended in between is seen here or tells.
        source_.is_armed.exchange(true, std::memory_order_acq_rel);
        end = source_.store->watermarks().appended;
    }
    return sent_ >= end;
}

void SlaveLink::pump() {
    LogOffset end;
    SteadyTime now{};
    for (int frames = 0; frames < kFramesPerPass; ++frames) {
        if (must_wait(end, now)) {
            return;
        }
        const std::uint64_t bytes = room(end, now);
        if (bytes == 0) {
            return;
        }
        if (end - sent_ > hot_bytes()) {
            read(bytes);
            return;
        }
        if (!send(source_.store->replica().piece(sent_, bytes))) {
            return;
        }
        const bool is_new = marks_.empty() || now - marks_.back().at >= kMarkGrain;
        if (sent_ >= end && is_new) {
            marks_.push_back({sent_, now});
        }
    }
    pump_later();
}

/// How much may be sent now, by the window and by the pace of those who catch up.
std::uint64_t SlaveLink::room(LogOffset end, SteadyTime now) {
    const auto under_way = static_cast<std::uint64_t>(sent_ - received_);
    const std::uint64_t frame = source_.options.frame_bytes_max;
    const std::uint64_t window = source_.options.window_bytes;
    const std::uint64_t left = window > under_way ? window - under_way : 0;
    const auto wanted = std::min(static_cast<std::uint64_t>(end - sent_), frame);
    // A window that opens by a little is no reason for little frames.
    if (left < wanted && under_way > 0 && left < frame / 2) {
        if (!std::exchange(is_stalled_, true)) {
            source_.metrics.window_stalls.add();
        }
        return 0;
    }
    is_stalled_ = false;
    const std::uint64_t bytes = std::min(wanted, left);
    if (pace_.rate() == 0 || is_in_sync_ || end - received_ <= hot_bytes()) {
        return bytes;
    }
    // Paced is how fast it gains on the end: what is appended meanwhile is free.
    const std::uint64_t piece = std::min(bytes, kPacedFrameBytes);
    const auto grown = end - std::exchange(paced_end_, end);
    pace_.take(static_cast<std::int64_t>(0) - grown, nanos(now));
    if (const std::int64_t wait = pace_.wait_ns(nanos(now)); wait > 0) {
        pace_timer_.start_once(
            std::max(kPaceMin,
                     std::chrono::ceil<std::chrono::milliseconds>(std::chrono::nanoseconds(wait))));
        return 0;
    }
    pace_.take(static_cast<std::int64_t>(piece), nanos(now));
    return piece;
}

void SlaveLink::read(std::uint64_t bytes) {
    is_reading_ = true;
    const Status taken = source_.readers->submit(
        [weak = weak_from_this(), store = source_.store, loop = &source_.loop, at = sent_, bytes] {
            Result<storage::LogPiece> piece = store->replica().piece(at, bytes);
            // A loop that has ended sends nothing.
            [[maybe_unused]] const Status posted =
                loop->post([weak, piece = std::move(piece)]() mutable {
                    if (const std::shared_ptr<SlaveLink> self = weak.lock()) {
                        self->on_read(std::move(piece));
                    }
                });
        });
    if (!taken) {
        is_reading_ = false;
        pace_timer_.start_once(kPaceMin);
    }
}

void SlaveLink::on_read(Result<storage::LogPiece> piece) {
    is_reading_ = false;
    if (connection_ != nullptr && connection_->is_open() && send(std::move(piece))) {
        pump();
    }
}

/// False: the link ends.
bool SlaveLink::send(Result<storage::LogPiece> piece) {
    if (!piece) {
        fail(piece.error());
        return false;
    }
    if (piece->run.length == 0) {
        return false;
    }
    send_frame(*piece, source_.store->watermarks().appended);
    sent_ += static_cast<std::int64_t>(piece->run.length);
    source_.metrics.sent_bytes.add(piece->run.length);
    return true;
}

void SlaveLink::send_heartbeat() {
    storage::LogPiece nothing;
    nothing.sum = xxh3({});
    send_frame(nothing, source_.store->watermarks().appended);
}

void SlaveLink::send_frame(const storage::LogPiece& piece, LogOffset log_end) {
    wire::ReplicaFrame fields;
    fields.set_epoch(source_.epoch);
    fields.set_offset(sent_.value);
    fields.set_length(static_cast<std::int64_t>(piece.run.length));
    fields.set_confirmed(source_.confirmed.value);
    fields.set_sentat(micros(source_.clock.steady()));
    fields.set_logend(log_end.value);
    fields.set_sum(sum_of(fields, piece.sum));
    connection_->begin_oneway(
        wire::Codec::kNative, wire::RequestCode::kReplicaFrame, &fields, piece.run.length);
    net::OutputQueue& output = connection_->output();
    const Bytes memory = piece.run.memory;
    if (memory.empty()) {
        output.append_file({.fd = piece.run.fd,
                            .offset = piece.run.file_offset,
                            .length = piece.run.length,
                            .pin = piece.run.pin});
    } else if (memory.size() < kCopiedBytes) {
        output.append_copy(memory);
    } else {
        output.append_reference(memory, piece.run.pin);
    }
    sent_confirmed_ = source_.confirmed;
    source_.metrics.sent_frames.add();
}

void SlaveLink::pump_later() {
    if (!std::exchange(is_pump_posted_, true)) {
        // A loop that has ended sends nothing.
        [[maybe_unused]] const Status posted = source_.loop.post([weak = weak_from_this()] {
            if (const std::shared_ptr<SlaveLink> self = weak.lock()) {
                self->is_pump_posted_ = false;
                self->pump();
            }
        });
    }
}

Status SlaveLink::take(const wire::ReplicaAck& ack) {
    const auto refuse = [this](const char* what, std::int64_t value, std::int64_t limit) {
        return Error{Errc::kRefused,
                     "acknowledgement of member " + std::to_string(id_.member) + ": " + what + " " +
                         std::to_string(value) + ", sent " + std::to_string(limit)};
    };
    if (ack.sum() != sum_of(ack)) {
        source_.metrics.checksum_errors.add();
        return Error{Errc::kCorrupt, "an acknowledgement fails its sum"};
    }
    if (ack.epoch() != source_.epoch) {
        return refuse("epoch", ack.epoch(), source_.epoch);
    }
    if (ack.received() > sent_.value) {
        return refuse("received", ack.received(), sent_.value);
    }
    if (ack.end() > ack.received()) {
        return refuse("end", ack.end(), ack.received());
    }
    const SteadyTime now = source_.clock.steady();
    heard_at_ = now;
    received_ = std::max(received_, LogOffset(ack.received()));
    end_ = std::max(end_, LogOffset(ack.end()));
    if (ack.sentat() != 0) {
        round_trip_us_ = micros(now) - ack.sentat();
    }
    while (!marks_.empty() && marks_.front().end <= end_) {
        caught_up_at_ = std::max(caught_up_at_, marks_.front().at);
        marks_.pop_front();
    }
    // Nothing is taken back: who has all there is has had all there was.
    if (end_ >= source_.store->watermarks().appended) {
        caught_up_at_ = now;
    }
    source_.metrics.acks.add();
    return ok();
}

Status SlaveLink::tick(SteadyTime now) {
    if (connection_ == nullptr || !connection_->is_open()) {
        return ok();
    }
    if (now - heard_at_ > source_.options.silence_max) {
        return Error{Errc::kTimeout,
                     "member " + std::to_string(id_.member) + " was silent for longer than " +
                         std::to_string(source_.options.silence_max.count()) + " ms"};
    }
    send_heartbeat();
    pump();
    return ok();
}

void SlaveLink::confirmed() {
    // While bytes are under way the news goes with the next ones, or when they are taken in.
    if (connection_ != nullptr && connection_->is_open() && sent_ == received_ &&
        sent_confirmed_ < source_.confirmed) {
        send_heartbeat();
    }
}

void SlaveLink::fail(const Error& why) {
    kLog.error("replica_link_failed",
               {{"member", id_.member}, {"at", sent_.value}, {"reason", why}});
    connection_->close(why, false);
}

wire::ReplicaLink SlaveLink::describe() const {
    wire::ReplicaLink link;
    link.set_member(id_.member);
    link.set_address(address_);
    link.set_acknowledged(end_.value);
    link.set_behindbytes(source_.store->watermarks().appended - end_);
    link.set_isinsync(is_in_sync_);
    link.set_roundtripmicros(round_trip_us_);
    return link;
}

}  // namespace gantry::broker

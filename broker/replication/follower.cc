// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/follower.h"

#include "broker/replication/link/follower_state.h"
#include "broker/replication/link/link_proof.h"
#include "common/checksum.h"
#include "common/log.h"
#include "protocol/wire/header.h"
#include "storage/replica/replica_log.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("replication");
constexpr std::chrono::milliseconds kBackoffMin{20};
constexpr std::chrono::milliseconds kBackoffMax{1'000};
constexpr std::uint32_t kDoublingsMax = 6;
constexpr std::chrono::seconds kLongLink{
    1};  // that lasted so long: the next one is dialled at once
constexpr std::chrono::milliseconds kSeedWaitMax{120'000};
constexpr std::uint32_t kFrameBytesMax = std::uint32_t{16} << 20U;
constexpr std::size_t kCopiedBytes = std::size_t{64} << 10U;  // below: a pin keeps more than that
// A frame may take longer than silence_max to come, but not at the pace of heartbeats: then its
// length is wrong.
constexpr std::uint64_t kPaceBytes = 4'096;
constexpr std::uint64_t kDialledIdBit = std::uint64_t{1} << 63U;

}  // namespace

void Follower::State::follow(storage::Store& its_store,
                             std::int64_t its_epoch,
                             const std::string& its_address) {
    unfollow();
    store = &its_store;
    epoch = its_epoch;
    address = its_address;
    failures = 0;
    is_quiet = false;
    master_end = -1;
    master_confirmed = -1;
    start_writer();
    heard_at = clock.steady();
    ticker.start_every(options.heartbeat);
    dial();
}

void Follower::State::start_writer() {
    const std::uint64_t its_turn = turn;
    const auto to_loop = [weak = weak_from_this(), its_turn, at = &loop](auto work) {
        // A loop that has ended follows nobody.
        [[maybe_unused]] const Status posted =
            at->post([weak, its_turn, work = std::move(work)]() mutable {
                const std::shared_ptr<State> self = weak.lock();
                if (self != nullptr && self->turn == its_turn) {
                    work(*self);
                }
            });
    };
    writer = std::make_unique<LogWriter>(
        *store,
        LogWriter::Events{.on_progress =
                              [this, to_loop] {
                                  // The writer ends before this does.
                                  if (!is_progress_posted.exchange(true)) {
                                      to_loop([](State& self) {
                                          self.is_progress_posted.store(false);
                                          self.on_progress();
                                      });
                                  }
                              },
                          .on_failed =
                              [to_loop](const Error& why) {
                                  to_loop([why](State& self) { self.on_writer_failed(why); });
                              }});
}

void Follower::State::unfollow() {
    ++turn;
    phase = Phase::kIdle;
    redial_timer.cancel();
    ticker.cancel();
    dialer.reset();
    drop_connection();
    writer.reset();
    is_progress_posted.store(false);
    store = nullptr;
}

void Follower::State::drop_connection() {
    is_held = false;
    if (connection != nullptr) {
        loop.role().assert_held();
        connection->abandon();
        loop.bury(std::exchange(connection, nullptr));
    }
}

void Follower::State::dial() {
    phase = Phase::kDialling;
    dialer = std::make_unique<net::Dialer>(loop, address);
    dialer->start(options.silence_max,
                  [this](Result<UniqueFd> dialled) { on_dialled(std::move(dialled)); });
}

void Follower::State::on_dialled(Result<UniqueFd> dialled) {
    if (!dialled) {
        const bool was_refused = dialer->was_refused();
        if (!std::exchange(is_quiet, true)) {
            kLog.warn("master_unreachable",
                      {{"address", address}, {"reason", dialled.error().detail}});
        }
        redial_later();
        callbacks.on_master_lost(was_refused);
        return;
    }
    net::ConnectionLimits limits;
    limits.frame.frame_bytes_max = kFrameBytesMax;
    limits.idle_max = std::chrono::milliseconds(0);
    loop.role().assert_held();
    connection =
        std::make_shared<net::Connection>(loop,
                                          std::move(*dialled),
                                          net::ConnectionId(kDialledIdBit | loop.next_number()),
                                          limits,
                                          *this);
    connection->set_user_timeout(options.silence_max);
    heard_at = clock.steady();
    read_at_heard = 0;
    phase = Phase::kChallenging;
    request(wire::RequestCode::kReplicaChallenge, nullptr);
}

void Follower::State::request(wire::RequestCode code, const google::protobuf::Message* fields) {
    connection->send_request(++opaque, code, fields);
}

void Follower::State::redial_later() {
    const std::uint32_t doublings = std::min(failures++, kDoublingsMax);
    const std::chrono::milliseconds longest =
        std::min(kBackoffMax, kBackoffMin * (std::int64_t{1} << doublings));
    // Half of it is jitter, so that the slaves of a master do not come back as one.
    const auto half = static_cast<std::uint64_t>(longest.count()) / 2;
    phase = Phase::kPausing;
    redial_timer.start_once(std::chrono::milliseconds(half + random.below(half + 1)));
}

/// Ends the link under way and goes on with the next.
void Follower::State::lose(const Error& why) {
    if (connection == nullptr) {
        return;
    }
    const bool was_following = phase == Phase::kFollowing;
    drop_connection();
    metrics.reconnects.add();
    if (was_following || !std::exchange(is_quiet, true)) {
        kLog.info("master_link_lost", {{"address", address}, {"reason", why}});
    }
    if (was_following && clock.steady() - following_since >= kLongLink) {
        failures = 0;
    }
    if (failures == 0 && why.code == Errc::kGone) {
        ++failures;
        dial();  // at once: a refusal tells that the master is dead
    } else {
        redial_later();
    }
}

void Follower::State::on_close(net::Connection& /*lost*/, const Error& why) {
    if (why.code == Errc::kCorrupt) {
        metrics.checksum_errors.add();
    }
    lose(why);
}

void Follower::State::on_frame(const net::Received& frame) {
    heard_at = clock.steady();
    read_at_heard = frame.connection.read_bytes();
    if (frame.header.is_response) {
        if (frame.header.opaque == opaque) {
            on_answer(frame);
        }
    } else if (frame.header.request() == wire::RequestCode::kReplicaFrame) {
        on_log_frame(frame);
    }
}

Status Follower::State::check(const wire::ReplicaFrame& fields, Bytes body) {
    if (phase != Phase::kFollowing) {
        return Error{Errc::kCorrupt, "log bytes before the welcome"};
    }
    if (fields.length() != static_cast<std::int64_t>(body.size()) ||
        fields.sum() != sum_of(fields, xxh3(body))) {
        metrics.checksum_errors.add();
        return Error{Errc::kCorrupt,
                     "the frame at " + std::to_string(fields.offset()) + " fails its sum"};
    }
    if (fields.epoch() != epoch) {
        metrics.refused.add();
        return Error{Errc::kConflict,
                     "a frame of epoch " + std::to_string(fields.epoch()) + ", followed is " +
                         std::to_string(epoch)};
    }
    if (fields.offset() != next.value) {
        metrics.refused.add();
        return Error{Errc::kConflict,
                     "a frame of the bytes from " + std::to_string(fields.offset()) +
                         ", the next are those from " + std::to_string(next.value)};
    }
    return ok();
}

void Follower::State::on_log_frame(const net::Received& frame) {
    wire::ReplicaFrame fields;
    Status checked = wire::decode_fields(frame.header, fields);
    if (checked) {
        checked = check(fields, frame.body);
    }
    if (!checked) {
        kLog.warn("frame_refused", {{"master", address}, {"reason", checked.error()}});
        return lose(checked.error());
    }
    metrics.received_frames.add();
    metrics.received_bytes.add(frame.body.size());
    master_end = std::max(master_end, fields.logend());
    master_confirmed = std::max(master_confirmed, fields.confirmed());
    store->replica().confirm(LogOffset(fields.confirmed()));
    take(fields, frame);
}

void Follower::State::take(const wire::ReplicaFrame& fields, const net::Received& frame) {
    if (frame.body.empty()) {
        if (writer->progress().is_idle) {
            send_ack(fields.sentat());
        }
        return;
    }
    LogWriter::Piece piece;
    piece.at = next;
    piece.sent_at = fields.sentat();
    if (frame.body.size() < kCopiedBytes) {
        const auto copy = std::make_shared<const std::string>(as_text(frame.body));
        piece.bytes = as_bytes(*copy);
        piece.pin = copy;
    } else {
        piece.bytes = frame.body;
        piece.pin = frame.pin();
    }
    next += fields.length();
    writer->put(std::move(piece));
    // The master's window is what keeps this from growing; one that ignores it is slowed.
    if (writer->progress().waiting_bytes > 2 * options.window_bytes) {
        is_held = true;
        connection->hold_reading(true);
    }
}

void Follower::State::send_ack(std::int64_t sent_at) {
    const LogWriter::Progress at = writer->progress();
    wire::ReplicaAck ack;
    ack.set_epoch(epoch);
    ack.set_end(std::min(at.end, at.received).value);
    ack.set_received(at.received.value);
    ack.set_sentat(sent_at);
    ack.set_sum(sum_of(ack));
    connection->send_oneway(wire::Codec::kNative, wire::RequestCode::kReplicaAck, &ack);
}

void Follower::State::on_progress() {
    const LogWriter::Progress at = writer->progress();
    if (phase == Phase::kDraining && at.is_idle) {
        return say_hello();
    }
    if (phase != Phase::kFollowing) {
        return;
    }
    send_ack(std::exchange(last_sent_at, at.sent_at) != at.sent_at ? at.sent_at : 0);
    if (is_held && at.waiting_bytes <= options.window_bytes) {
        is_held = false;
        heard_at = clock.steady();
        connection->hold_reading(false);
    }
}

void Follower::State::on_writer_failed(const Error& why) {
    if (why.code != Errc::kDiskFull) {
        kLog.error("replica_log_failed", {{"reason", why}});
        lose(why);
    }
    // Bytes that are no continuation say nothing of the store: the next link compares anew.
    if (why.code != Errc::kCorrupt && why.code != Errc::kConflict) {
        callbacks.on_store_failed(why);
    }
}

void Follower::State::tick() {
    if (connection == nullptr) {
        return;
    }
    const SteadyTime now = clock.steady();
    if (is_held || phase == Phase::kDraining ||
        connection->read_bytes() - read_at_heard >= kPaceBytes) {
        heard_at = now;
        read_at_heard = connection->read_bytes();
    }
    const std::chrono::milliseconds limit =
        phase == Phase::kSeeding ? kSeedWaitMax : options.silence_max;
    if (now - heard_at > limit) {
        lose({Errc::kTimeout,
              address + " was silent for longer than " + std::to_string(limit.count()) + " ms"});
        return callbacks.on_master_lost(false);
    }
    if (phase == Phase::kFollowing) {
        send_ack(0);
    }
}

Follower::Follower(net::EventLoop& loop, Clock& clock, LinkOptions options, Callbacks callbacks)
    : state_(std::make_shared<State>(loop, clock, std::move(options), std::move(callbacks))) {}

Follower::~Follower() {
    close();
}

void Follower::follow(storage::Store& store, std::int64_t epoch, const std::string& address) {
    state_->follow(store, epoch, address);
}

void Follower::unfollow() {
    state_->unfollow();
}

bool Follower::is_following() const noexcept {
    return state_->phase == State::Phase::kFollowing;
}

std::int64_t Follower::master_end() const noexcept {
    return state_->master_end;
}

std::int64_t Follower::master_confirmed() const noexcept {
    return state_->master_confirmed;
}

void Follower::close() {
    state_->unfollow();
}

}  // namespace gantry::broker

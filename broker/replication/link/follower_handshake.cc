// SPDX-License-Identifier: Apache-2.0
// What a follower and its master agree on before log bytes come.
#include "broker/replication/link/follower_state.h"
#include "broker/replication/link/hello_answer.h"
#include "broker/replication/link/link_proof.h"
#include "common/log.h"
#include "protocol/wire/header.h"
#include "storage/replica/replica_log.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("replication");
constexpr std::uint32_t kSeedBytesMax = std::uint32_t{1} << 30U;

}  // namespace

void Follower::State::on_answer(const net::Received& frame) {
    switch (phase) {
        case Phase::kChallenging:
            return on_challenge(frame);
        case Phase::kGreeting:
            return on_welcome(frame);
        case Phase::kSeeding:
            return on_seed(frame);
        default:
            return;
    }
}

void Follower::State::on_challenge(const net::Received& frame) {
    wire::ReplicaChallenge challenge;
    if (frame.header.response() != wire::ResponseCode::kSuccess ||
        !wire::decode_fields(frame.header, challenge)) {
        return lose({Errc::kRefused, std::string(frame.header.remark)});
    }
    master_nonce = challenge.nonce();
    phase = Phase::kDraining;
    if (writer->progress().is_idle) {
        say_hello();
    }
}

void Follower::State::say_hello() {
    writer->reset();
    const storage::Watermarks log = store->watermarks();
    own_nonce = make_nonce();
    wire::ReplicaHello hello;
    hello.set_group(options.group);
    hello.set_cluster(options.cluster);
    hello.set_member(options.self.member);
    hello.set_storageid(options.self.storage);
    hello.set_epoch(epoch);
    hello.set_logfirst(log.first.value);
    hello.set_logend(log.appended.value);
    write_epochs(store->replica().epochs(), *hello.mutable_epochs());
    hello.set_segmentbytes(static_cast<std::int64_t>(options.segment_bytes));
    hello.set_isempty(log.appended == log.first);
    hello.set_address(options.client_address);
    hello.set_nonce(own_nonce);
    hello.set_proof(proof_of(options.secret, master_nonce, hello));
    next = log.appended;  // what waits to be whole comes anew
    phase = Phase::kGreeting;
    request(wire::RequestCode::kReplicaHello, &hello);
}

void Follower::State::on_welcome(const net::Received& frame) {
    wire::ReplicaWelcome fields;
    const bool is_proved =
        wire::decode_fields(frame.header, fields).has_value() &&
        is_same_proof(fields.proof(), proof_of(options.secret, own_nonce, fields));
    if (frame.header.response() != wire::ResponseCode::kSuccess) {
        return on_refusal(frame, fields, is_proved);
    }
    if (!is_proved) {
        return lose({Errc::kDenied,
                     address + " proves no knowledge of this broker's replication.secret_file"});
    }
    if (fields.epoch() < epoch) {
        return lose({Errc::kConflict,
                     address + " leads epoch " + std::to_string(fields.epoch()) +
                         ", this broker follows " + std::to_string(epoch)});
    }
    if (fields.epoch() > epoch) {
        lose({Errc::kConflict, address + " leads epoch " + std::to_string(fields.epoch())});
        return callbacks.on_other_master(fields.epoch(), fields.master(), address);
    }
    do_as_told(fields);
}

void Follower::State::on_refusal(const net::Received& frame,
                                 const wire::ReplicaWelcome& fields,
                                 bool is_proved) {
    lose({Errc::kRefused, address + " refuses: " + std::string(frame.header.remark)});
    const bool knows_better =
        fields.epoch() > epoch || (fields.epoch() == epoch && !fields.masteraddress().empty() &&
                                   fields.masteraddress() != address);
    if (is_proved && knows_better) {
        callbacks.on_other_master(fields.epoch(), fields.master(), fields.masteraddress());
    }
}

void Follower::State::do_as_told(const wire::ReplicaWelcome& fields) {
    if (fields.isforeign() || fields.cutat() >= 0) {
        const LogOffset at(std::max<std::int64_t>(fields.cutat(), 0));
        const bool is_foreign = fields.isforeign();
        kLog.warn(
            "log_has_to_be_cut",
            {{"master", address}, {"at", at.value}, {"foreign", is_foreign}, {"end", next.value}});
        unfollow();
        return callbacks.on_must_cut(at, is_foreign);
    }
    if (fields.needsseed()) {
        wire::SeedRequest request_fields;
        request_fields.set_epoch(epoch);
        connection->set_frame_limits({.frame_bytes_max = kSeedBytesMax});
        phase = Phase::kSeeding;
        return request(wire::RequestCode::kReplicaSeed, &request_fields);
    }
    if (fields.from() != next.value) {
        return lose({Errc::kCorrupt,
                     address + " sends from " + std::to_string(fields.from()) + ", asked for was " +
                         std::to_string(next.value)});
    }
    begin_following();
}

void Follower::State::on_seed(const net::Received& frame) {
    wire::StoreSeed seed;
    if (frame.header.response() != wire::ResponseCode::kSuccess) {
        return lose({Errc::kRefused, "no seed: " + std::string(frame.header.remark)});
    }
    if (!seed.ParseFromArray(frame.body.data(), static_cast<int>(frame.body.size()))) {
        return lose({Errc::kCorrupt, "the seed of " + address + " does not parse"});
    }
    unfollow();
    callbacks.on_seed(seed);
}

void Follower::State::begin_following() {
    phase = Phase::kFollowing;
    following_since = clock.steady();
    is_quiet = false;
    kLog.info("follows", {{"master", address}, {"epoch", epoch}, {"from", next.value}});
    send_ack(0);
    callbacks.on_following();
}

}  // namespace gantry::broker

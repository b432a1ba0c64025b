// SPDX-License-Identifier: Apache-2.0
#include "tests/broker/replication/link_fixture.h"

#include "common/checksum.h"
#include "protocol/net/socket.h"
#include "protocol/wire/frame.h"
#include "storage/replica/replica_log.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <sys/socket.h>
#include <utility>

namespace gantry::broker::test {

LinkOptions link_options(std::int64_t member) {
    LinkOptions options;
    options.group = "broker-a";
    options.cluster = "cluster-a";
    options.self = {.member = member, .storage = 100 + static_cast<std::uint64_t>(member)};
    options.client_address = "127.0.0.1:" + std::to_string(10'000 + member);
    options.segment_bytes = storage::kTestSegmentBytes;
    options.window_bytes = kWindowBytes;
    options.frame_bytes_max = kFrameBytes;
    options.heartbeat = std::chrono::milliseconds(50);
    options.silence_max = std::chrono::milliseconds(1'000);
    return options;
}

Copy::Copy(bool is_follower, storage::FlushMode flush) : fixture(directory.path()) {
    fixture.options.is_replicated = true;
    fixture.options.is_follower = is_follower;
    fixture.options.flush = flush;
    fixture.open();
}

void Copy::lead(std::int64_t epoch) {
    wire::EpochPut put;
    put.set_epoch(epoch);
    put.set_id(7'000 + static_cast<std::uint64_t>(epoch));
    put.set_member(1);
    const auto led = store().replica().lead(put);
    if (!led) {
        FAIL("lead: " << to_string(led.error()));
    }
}

void Copy::append(std::size_t count, std::size_t body_bytes) {
    storage::Queue& queue = fixture.queue("T");
    for (std::size_t i = 0; i < count; ++i) {
        const auto appended =
            fixture.append(queue, {{storage::numbered_body(appended_++, body_bytes), "", ""}});
        if (!appended) {
            FAIL("append: " << to_string(appended.error()));
        }
    }
}

std::string Copy::log_bytes() {
    std::string bytes;
    const storage::Watermarks log = store().watermarks();
    for (LogOffset at = log.first; at < log.appended;) {
        const auto piece =
            store().replica().piece(at, static_cast<std::uint64_t>(log.appended - at));
        if (!piece) {
            FAIL("piece at " << at.value << ": " << to_string(piece.error()));
        }
        bytes += storage::run_bytes(piece->run);
        at += static_cast<std::int64_t>(piece->run.length);
    }
    return bytes;
}

MasterEnd::MasterEnd(LinkOptions options) {
    copy.lead();
    options.metrics = &metrics;
    server = std::make_unique<ReplicationServer>(
        *loop,
        clock,
        options,
        ReplicationServer::Callbacks{
            .on_ack =
                [this](const MemberId& id, LogOffset end, SteadyTime at) {
                    const MutexLock lock(mutex_);
                    acks_.push_back({id.member, end.value, at});
                },
            .on_lost =
                [this](const MemberId&) {
                    const MutexLock lock(mutex_);
                    ++lost_;
                },
            .on_higher_epoch = [this](std::int64_t epoch) { higher_epoch = epoch; },
            .status =
                [] {
                    wire::ReplicaStatus status;
                    status.set_member(1);
                    status.set_epoch(kEpoch);
                    status.set_ismaster(true);
                    return status;
                }});
    loop.run([this] {
        server->set_store(&copy.store());
        server->lead(kEpoch);
        return true;
    });
    REQUIRE(server->listen("127.0.0.1", 0));
}

MasterEnd::~MasterEnd() {
    server->close();
    loop.stop();
    server.reset();
}

void MasterEnd::append(std::size_t count, std::size_t body_bytes) {
    copy.append(count, body_bytes);
    server->appended();
}

std::int64_t MasterEnd::acknowledged(std::int64_t member) {
    const MutexLock lock(mutex_);
    std::int64_t end = -1;
    for (const Ack& ack : acks_) {
        end = ack.member == member ? std::max(end, ack.end) : end;
    }
    return end;
}

SteadyTime MasterEnd::caught_up_at(std::int64_t member) {
    const MutexLock lock(mutex_);
    SteadyTime at{};
    for (const Ack& ack : acks_) {
        at = ack.member == member ? ack.caught_up_at : at;
    }
    return at;
}

std::size_t MasterEnd::lost() {
    const MutexLock lock(mutex_);
    return lost_;
}

SlaveEnd::SlaveEnd(LinkOptions options, storage::FlushMode flush) : copy(true, flush) {
    options.metrics = &metrics;
    const auto note = [this](auto change) {
        const MutexLock lock(mutex_);
        change(told_);
    };
    Follower::Callbacks callbacks{
        .on_must_cut =
            [note](LogOffset at, bool is_foreign) {
                note([&](Told& told) {
                    told.cut_at = at.value;
                    told.is_foreign = is_foreign;
                });
            },
        .on_seed = [note](const wire::StoreSeed&) { note([](Told& t) { t.has_seed = true; }); },
        .on_other_master =
            [note](std::int64_t epoch, std::int64_t, const std::string& address) {
                note([&](Told& told) {
                    told.other_epoch = epoch;
                    told.other_address = address;
                });
            },
        .on_master_lost =
            [note](bool is_refused) {
                note([&](Told& told) {
                    ++(is_refused ? told.lost_by_refusal : told.lost_by_silence);
                });
            },
        .on_following = [note] { note([](Told& told) { ++told.follows; }); },
        .on_store_failed =
            [note](const Error& why) {
                note([&](Told& told) { told.failures.push_back(why.code); });
            }};
    loop.run([&] {
        follower = std::make_unique<Follower>(*loop, clock, options, std::move(callbacks));
        return true;
    });
}

SlaveEnd::~SlaveEnd() {
    loop.run([this] {
        follower.reset();
        return true;
    });
}

void SlaveEnd::follow(const std::string& address, std::int64_t epoch) {
    loop.run([&] {
        follower->follow(copy.store(), epoch, address);
        return true;
    });
}

void SlaveEnd::unfollow() {
    loop.run([this] {
        follower->unfollow();
        return true;
    });
}

bool SlaveEnd::is_following() {
    return loop.run([this] { return follower->is_following(); });
}

SlaveEnd::Told SlaveEnd::told() {
    const MutexLock lock(mutex_);
    return told_;
}

void Talker::send(wire::RequestCode code,
                  const google::protobuf::Message& fields,
                  bool is_oneway,
                  std::string_view body) {
    wire::HeaderToSend header;
    header.code = static_cast<std::int32_t>(code);
    header.opaque = ++opaque_;
    header.is_oneway = is_oneway;
    header.fields = &fields;
    std::string bytes;
    wire::append_frame_head(bytes, wire::Codec::kNative, header, body.size());
    peer_.send(bytes + std::string(body));
}

void Talker::answer(const Heard& question,
                    wire::ResponseCode code,
                    const google::protobuf::Message& fields,
                    std::string_view body) {
    wire::HeaderToSend header;
    header.code = static_cast<std::int32_t>(code);
    header.opaque = question.opaque;
    header.is_response = true;
    header.fields = &fields;
    std::string bytes;
    wire::append_frame_head(bytes, wire::Codec::kNative, header, body.size());
    peer_.send(bytes + std::string(body));
}

Heard Talker::hear() {
    Heard heard;
    std::string bytes = peer_.receive(sizeof(std::uint32_t));
    if (bytes.size() < sizeof(std::uint32_t)) {
        heard.is_end = true;
        return heard;
    }
    const auto length = load_be<std::uint32_t>(as_bytes(bytes).data());
    bytes += peer_.receive(length);
    if (bytes.size() < sizeof(std::uint32_t) + length) {
        heard.is_end = true;
        return heard;
    }
    const auto found = wire::find_frame(as_bytes(bytes), {});
    REQUIRE(found);
    REQUIRE(found->has_value());
    wire::Header header;
    REQUIRE(wire::decode_header(**found, header));
    heard.code = header.code;
    heard.opaque = header.opaque;
    heard.is_response = header.is_response;
    heard.remark = header.remark;
    heard.fields = as_text(header.fields);
    heard.body = as_text((*found)->body);
    return heard;
}

Heard Talker::hear(wire::RequestCode wanted) {
    Heard heard = hear();
    while (!heard.is_end && !heard.is(wanted)) {
        heard = hear();
    }
    return heard;
}

Heard greet(Talker& slave, wire::ReplicaHello hello, const std::string& secret) {
    slave.send(wire::RequestCode::kReplicaChallenge, wire::ReplicaChallenge());
    const Heard challenged = slave.hear();
    REQUIRE_FALSE(challenged.is_end);
    hello.set_proof(proof_of(secret, challenged.as<wire::ReplicaChallenge>().nonce(), hello));
    slave.send(wire::RequestCode::kReplicaHello, hello);
    return slave.hear();
}

wire::ReplicaHello empty_hello(std::int64_t member) {
    const LinkOptions options = link_options(member);
    wire::ReplicaHello hello;
    hello.set_group(options.group);
    hello.set_cluster(options.cluster);
    hello.set_member(member);
    hello.set_storageid(options.self.storage);
    hello.set_epoch(kEpoch);
    hello.set_segmentbytes(static_cast<std::int64_t>(options.segment_bytes));
    hello.set_isempty(true);
    hello.set_nonce("the slave's");
    return hello;
}

void acknowledge(Talker& slave, std::int64_t end, std::int64_t received, std::int64_t epoch) {
    wire::ReplicaAck ack;
    ack.set_epoch(epoch);
    ack.set_end(end);
    ack.set_received(received);
    ack.set_sum(sum_of(ack));
    slave.send(wire::RequestCode::kReplicaAck, ack, true);
}

ScriptedMaster::ScriptedMaster() {
    listener_ = net::listen_tcp("127.0.0.1", 0).value();
    port_ = static_cast<std::uint16_t>(net::host_of(net::local_address(listener_.get())).port);
}

Talker ScriptedMaster::accept() {
    UniqueFd accepted;
    REQUIRE(wait_until([&] {
        accepted.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        return static_cast<bool>(accepted);
    }));
    return Talker(std::move(accepted));
}

Talker ScriptedMaster::welcome(const std::function<void(wire::ReplicaWelcome&)>& adjust,
                               wire::ResponseCode code) {
    Talker slave = accept();
    wire::ReplicaChallenge challenge;
    challenge.set_nonce("the master's");
    slave.answer(
        slave.hear(wire::RequestCode::kReplicaChallenge), wire::ResponseCode::kSuccess, challenge);
    const Heard said = slave.hear(wire::RequestCode::kReplicaHello);
    REQUIRE_FALSE(said.is_end);
    hello = said.as<wire::ReplicaHello>();
    CHECK(hello.proof() == proof_of("", "the master's", hello));
    wire::ReplicaWelcome fields;
    fields.set_epoch(kEpoch);
    fields.set_from(hello.logend());
    fields.set_cutat(-1);
    fields.set_master(1);
    if (adjust) {
        adjust(fields);
    }
    if (fields.proof().empty()) {
        fields.set_proof(proof_of("", hello.nonce(), fields));
    }
    slave.answer(said, code, fields);
    return slave;
}

wire::ReplicaFrame frame_of(std::int64_t offset, std::string_view bytes) {
    wire::ReplicaFrame frame;
    frame.set_epoch(kEpoch);
    frame.set_offset(offset);
    frame.set_length(static_cast<std::int64_t>(bytes.size()));
    frame.set_sentat(1);
    frame.set_logend(offset + static_cast<std::int64_t>(bytes.size()));
    frame.set_sum(sum_of(frame, xxh3(as_bytes(bytes))));
    return frame;
}

void send_frame(Talker& master, wire::ReplicaFrame frame, std::string_view bytes) {
    master.send(wire::RequestCode::kReplicaFrame, frame, true, bytes);
}

}  // namespace gantry::broker::test

// SPDX-License-Identifier: Apache-2.0
// What members ask at the replication port.
#include "broker/replication/link/link_proof.h"
#include "broker/replication/link/server_state.h"
#include "common/log.h"
#include "protocol/wire/header.h"
#include "protocol/wire/status.h"
#include "storage/replica/replica_log.h"
#include "storage/replica/seed.h"
#include "storage/store.h"

#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("replication");

}  // namespace

void ReplicationServer::State::challenge(const net::Received& frame) {
    wire::ReplicaChallenge fields;
    std::string& nonce = frame.connection.context<LinkPeer>()->nonce;
    nonce = make_nonce();
    fields.set_nonce(nonce);
    fields.set_isrequired(!options.secret.empty());
    frame.connection.reply(
        net::reply_to(frame), wire::ResponseCode::kSuccess, std::string_view(), &fields);
}

void ReplicationServer::State::refuse(const net::Received& frame,
                                      wire::ResponseCode code,
                                      const std::string& why) {
    metrics.refused.add();
    kLog.warn("peer_refused", {{"peer", frame.connection.peer()}, {"reason", why}});
    frame.connection.reply(net::reply_to(frame), code, why);
    frame.connection.close({Errc::kRefused, why});
}

void ReplicationServer::State::greet(const net::Received& frame) {
    wire::ReplicaHello hello;
    LinkPeer& peer = *frame.connection.context<LinkPeer>();
    if (const Status decoded = wire::decode_fields(frame.header, hello); !decoded) {
        return refuse(frame, wire::ResponseCode::kMalformed, decoded.error().detail);
    }
    const std::string nonce = std::exchange(peer.nonce, std::string());
    if (nonce.empty() || peer.link != nullptr ||
        !is_same_proof(hello.proof(), proof_of(options.secret, nonce, hello))) {
        return refuse(frame,
                      wire::ResponseCode::kNoPermission,
                      "member " + std::to_string(hello.member()) +
                          " proves no knowledge of this broker's replication.secret_file");
    }
    if (!is_leading()) {
        return refer_to_master(frame, hello);
    }
    const storage::Watermarks log = source.store->watermarks();
    const HelloAnswer answer = answer_hello({.group = options.group,
                                             .cluster = options.cluster,
                                             .member = options.self.member,
                                             .epoch = source.epoch,
                                             .segment_bytes = options.segment_bytes,
                                             .epochs = source.store->replica().epochs(),
                                             .first = log.first,
                                             .end = log.appended,
                                             .needs_seed = source.store->replica().needs_seed()},
                                            hello);
    welcome(frame, hello, answer);
}

void ReplicationServer::State::refer_to_master(const net::Received& frame,
                                               const wire::ReplicaHello& hello) {
    const wire::ReplicaStatus status = callbacks.status();
    wire::ReplicaWelcome fields;
    fields.set_epoch(status.epoch());
    fields.set_cutat(-1);
    fields.set_master(master);
    fields.set_masteraddress(master_address);
    fields.set_proof(proof_of(options.secret, hello.nonce(), fields));
    frame.connection.reply(net::reply_to(frame),
                           wire::ResponseCode::kNotMaster,
                           "this broker is not the master of its group",
                           &fields);
    frame.connection.close({Errc::kRefused, "asked a broker that is not the master"});
}

void ReplicationServer::State::welcome(const net::Received& frame,
                                       const wire::ReplicaHello& hello,
                                       const HelloAnswer& answer) {
    if (answer.code != wire::ResponseCode::kSuccess) {
        refuse(frame, answer.code, answer.why);
        if (answer.higher_epoch > 0) {
            callbacks.on_higher_epoch(answer.higher_epoch);
        }
        return;
    }
    wire::ReplicaWelcome fields = answer.welcome;
    fields.set_heartbeatmillis(options.heartbeat.count());
    fields.set_proof(proof_of(options.secret, hello.nonce(), fields));
    frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, answer.why, &fields);
    if (fields.isforeign() || fields.cutat() >= 0) {
        kLog.info("slave_has_to_cut",
                  {{"member", hello.member()},
                   {"at", fields.cutat()},
                   {"foreign", fields.isforeign()},
                   {"reason", answer.why}});
    } else if (!fields.needsseed()) {
        begin_link(frame.connection, hello, LogOffset(fields.from()));
    } else {
        frame.connection.context<LinkPeer>()->may_seed = true;
    }
}

void ReplicationServer::State::begin_link(net::Connection& connection,
                                          const wire::ReplicaHello& hello,
                                          LogOffset from) {
    if (const auto before = links.find(hello.member()); before != links.end()) {
        const std::shared_ptr<SlaveLink> old = before->second;
        net::Connection* const its_connection = old->connection();
        drop_link(*old);
        if (its_connection != nullptr) {
            its_connection->close({Errc::kGone, "the member has another link"}, false);
        }
    }
    const MemberId id{.member = hello.member(), .storage = hello.storageid()};
    const auto link = std::make_shared<SlaveLink>(source, connection, id, hello.address());
    connection.context<LinkPeer>()->link = link;
    links[id.member] = link;
    kLog.info("slave_follows",
              {{"member", id.member}, {"from", from.value}, {"epoch", source.epoch}});
    link->start(from);
}

void ReplicationServer::State::acknowledge(const net::Received& frame) {
    const std::shared_ptr<SlaveLink> link = frame.connection.context<LinkPeer>()->link;
    wire::ReplicaAck ack;
    Status taken = wire::decode_fields(frame.header, ack);
    if (taken) {
        taken = link != nullptr && link->connection() != nullptr
                    ? link->take(ack)
                    : Status(Error{Errc::kRefused, "an acknowledgement before a hello"});
    }
    if (!taken) {
        metrics.refused.add();
        kLog.warn("peer_refused", {{"peer", frame.connection.peer()}, {"reason", taken.error()}});
        frame.connection.close(taken.error(), false);
        return;
    }
    ends[link->id().member] = link->acknowledged();
    callbacks.on_ack(link->id(), link->acknowledged(), link->caught_up_at());
    if (link->connection() != nullptr && is_leading()) {
        link->confirmed();
        link->pump();
    }
}

/// Runs `make` where it may block; what it returns is answered.
template <class Make>
void ReplicationServer::State::answer_later(const net::Received& frame, Make make) {
    const net::ReplyTo to = net::reply_to(frame);
    const Status taken =
        jobs->submit([weak = weak_from_this(), at = &loop, to, make = std::move(make)]() mutable {
            RangeAnswer made = make();
            // A loop that has ended answers nobody.
            [[maybe_unused]] const Status posted =
                at->post([weak, to, made = std::move(made)]() mutable {
                    if (const std::shared_ptr<State> self = weak.lock()) {
                        self->answer(to, std::move(made));
                    }
                });
        });
    if (!taken) {
        frame.connection.reply(to, wire::ResponseCode::kSystemBusy, taken.error().detail);
    }
}

void ReplicationServer::State::answer(const net::ReplyTo& to, RangeAnswer made) {
    const auto found = open.find(to.connection);
    if (found == open.end() || !found->second->is_open()) {
        return;
    }
    net::Connection* const connection = found->second;
    if (!made.body) {
        connection->reply(
            to, wire::response_code(made.body.error().code, to.codec), made.body.error().detail);
        return;
    }
    connection->begin_reply(to,
                            wire::ResponseCode::kSuccess,
                            std::string_view(),
                            made.fields ? &*made.fields : nullptr,
                            made.body->size());
    connection->output().append_owned(std::move(*made.body));
}

void ReplicationServer::State::give_seed(const net::Received& frame) {
    if (!is_leading() || !frame.connection.context<LinkPeer>()->may_seed) {
        return refuse(frame, wire::ResponseCode::kNoPermission, "a seed is asked for before hello");
    }
    answer_later(frame, [store = source.store] {
        RangeAnswer answer;
        const Result<wire::StoreSeed> seed = storage::make_seed(*store);
        answer.body = seed ? Result<std::string>(seed->SerializeAsString())
                           : Result<std::string>(seed.error());
        return answer;
    });
}

void ReplicationServer::State::give_status(const net::Received& frame) {
    wire::ReplicaStatusRequest request;
    const Status decoded = wire::decode_fields(frame.header, request);
    if (!decoded || request.group() != options.group) {
        return refuse(frame,
                      wire::ResponseCode::kInvalidParameter,
                      "group \"" + request.group() + "\" is asked for, this broker's is \"" +
                          options.group + "\"");
    }
    wire::ReplicaStatus status = callbacks.status();
    for (wire::ReplicaLink& link : describe_links()) {
        *status.add_links() = std::move(link);
    }
    frame.connection.reply(
        net::reply_to(frame), wire::ResponseCode::kSuccess, std::string_view(), &status);
}

void ReplicationServer::State::give_range(const net::Received& frame) {
    wire::LogRangeRequest request;
    const Status decoded = wire::decode_fields(frame.header, request);
    const std::string nonce = frame.connection.context<LinkPeer>()->nonce;
    if (!decoded || nonce.empty() || request.group() != options.group ||
        !is_same_proof(request.proof(), proof_of(options.secret, nonce, request))) {
        return refuse(frame,
                      wire::ResponseCode::kNoPermission,
                      "member " + std::to_string(request.member()) + " of group \"" +
                          request.group() + "\" may not have log bytes");
    }
    if (source.store == nullptr) {
        return refuse(frame, wire::ResponseCode::kServiceNotAvailable, "the store is not open");
    }
    answer_later(frame, [store = source.store, request = std::move(request)] {
        return read_range(*store, request);
    });
}

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/link/peer_call.h"

#include "broker/replication/follower.h"
#include "protocol/wire/header.h"
#include "protocol/wire/status.h"

#include <utility>

namespace gantry::broker {

namespace {

net::Channel::Options channel_options(const LinkOptions& options, const std::string& address) {
    net::Channel::Options wanted;
    wanted.address = address;
    wanted.connect_timeout = options.silence_max;
    wanted.fail_fast = true;
    return wanted;
}

}  // namespace

PeerCall& PeerCall::start(net::EventLoop& loop,
                          const LinkOptions& options,
                          const std::string& address) {
    const auto call = std::make_shared<PeerCall>(loop, options, address);
    loop.role().assert_held();
    loop.keep(call);
    return *call;
}

PeerCall::PeerCall(net::EventLoop& loop, const LinkOptions& options, const std::string& address)
    : loop_(loop),
      patience_(options.silence_max),
      channel_(loop, channel_options(options, address)) {}

PeerCall::~PeerCall() {
    is_over_ = true;
}

void PeerCall::ask(wire::RequestCode code,
                   const google::protobuf::Message& fields,
                   OnAnswer on_answer) {
    channel_.call({.code = code, .fields = &fields},
                  patience_,
                  [this, on_answer = std::move(on_answer)](Result<net::Received>& answer) mutable {
                      if (!is_over_) {
                          on_answer(*this, answer);
                      }
                  });
}

void PeerCall::finish() {
    loop_.role().assert_held();
    is_over_ = true;
    loop_.let_go(this);
}

Status check_answer(const Result<net::Received>& answer) {
    if (!answer) {
        return answer.error();
    }
    if (answer->header.response() != wire::ResponseCode::kSuccess) {
        return Error{wire::errc_of(answer->header.response()), std::string(answer->header.remark)};
    }
    return ok();
}

void ask_status(net::EventLoop& loop,
                const LinkOptions& options,
                const std::string& address,
                UniqueFunction<void(Result<wire::ReplicaStatus>)> done) {
    wire::ReplicaStatusRequest fields;
    fields.set_group(options.group);
    PeerCall::start(loop, options, address)
        .ask(wire::RequestCode::kReplicaStatus,
             fields,
             [done = std::move(done)](PeerCall& call, Result<net::Received>& answer) mutable {
                 wire::ReplicaStatus status;
                 Status asked = check_answer(answer);
                 if (asked) {
                     asked = wire::decode_fields(answer->header, status);
                 }
                 call.finish();
                 done(asked ? Result<wire::ReplicaStatus>(std::move(status))
                            : Result<wire::ReplicaStatus>(std::move(asked).error()));
             });
}

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/link/range_client.h"

#include "broker/replication/link/link_proof.h"
#include "broker/replication/link/peer_call.h"
#include "common/checksum.h"
#include "protocol/wire/header.h"

#include <memory>
#include <utility>

namespace gantry::broker {

namespace {

struct Asked {
    wire::LogRangeRequest request;
    std::string secret;
    UniqueFunction<void(Result<std::string>)> done;
};

Result<std::string> read_answer(const wire::LogRangeRequest& request,
                                const Result<net::Received>& answer) {
    GANTRY_TRY(check_answer(answer));
    wire::ReplicaFrame fields;
    GANTRY_TRY(wire::decode_fields(answer->header, fields));
    const Bytes body = answer->body;
    if (fields.offset() != request.offset() || fields.length() != request.length() ||
        static_cast<std::int64_t>(body.size()) != request.length() ||
        fields.sum() != sum_of(fields, xxh3(body))) {
        return Error{Errc::kCorrupt,
                     "log bytes from " + std::to_string(request.offset()) + " fail their sum"};
    }
    return std::string(as_text(body));
}

void ask_bytes(PeerCall& call, const std::shared_ptr<Asked>& asked) {
    call.ask(wire::RequestCode::kReplicaRange,
             asked->request,
             [asked](PeerCall& same, Result<net::Received>& answer) {
                 Result<std::string> bytes = read_answer(asked->request, answer);
                 same.finish();
                 asked->done(std::move(bytes));
             });
}

}  // namespace

void fetch_range(net::EventLoop& loop,
                 const LinkOptions& options,
                 const std::string& address,
                 wire::LogRangeRequest request,
                 UniqueFunction<void(Result<std::string>)> done) {
    request.set_member(options.self.member);
    const auto asked = std::make_shared<Asked>(
        Asked{.request = std::move(request), .secret = options.secret, .done = std::move(done)});
    PeerCall::start(loop, options, address)
        .ask(wire::RequestCode::kReplicaChallenge,
             wire::ReplicaChallenge(),
             [asked](PeerCall& call, Result<net::Received>& answer) {
                 wire::ReplicaChallenge challenge;
                 Status challenged = check_answer(answer);
                 if (challenged) {
                     challenged = wire::decode_fields(answer->header, challenge);
                 }
                 if (!challenged) {
                     call.finish();
                     asked->done(std::move(challenged).error());
                     return;
                 }
                 asked->request.set_proof(
                     proof_of(asked->secret, challenge.nonce(), asked->request));
                 ask_bytes(call, asked);
             });
}

}  // namespace gantry::broker

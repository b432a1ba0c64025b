// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/context.h"
#include "broker/loop_state.h"
#include "broker/peer.h"
#include "common/bytes.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/net/connection.h"
#include "protocol/wire/codes.h"

#include <memory>
#include <string>
#include <string_view>

namespace gantry::broker {

/// One request while its handler runs: its bytes, who asked, and how to answer. Each request is
/// answered once, here or later through addressee().
///
/// Threads   the loop's thread. Lifetime: the handler's call; keep addressee() for later.
struct Call {
    Context& context;
    LoopState& loop;
    Peer& peer;
    const net::Received& frame;
    net::ReplyTo to;

    const wire::Header& header() const noexcept { return frame.header; }

    Bytes body() const noexcept { return frame.body; }

    bool is_native() const noexcept { return to.codec == wire::Codec::kNative; }

    Addressee addressee() const noexcept { return {peer.id, to}; }

    storage::Store& store() const noexcept { return *context.store; }

    /// Success with typed fields, a body, or neither.
    void reply(const google::protobuf::Message* fields = nullptr, std::string_view body = {}) const;
    /// Success with a typed body in the request's codec.
    void reply_body(const google::protobuf::Message& body) const;
    /// A failure with a code RocketMQ's clients act on.
    void fail(wire::ResponseCode code, std::string_view remark) const;
    /// A failure with the code of its class.
    void fail(const Error& error) const;
    /// As fail(error), but stock peers get `stock`, the number RocketMQ has for the case.
    void fail(const Error& error, wire::ResponseCode stock) const;

    /// Succeeds without fields when the log is durable up to `end`, as the flush mode asks.
    void reply_when_durable(LogOffset end) const;
};

/// What work off the loop found.
struct Answer {
    wire::ResponseCode code = wire::ResponseCode::kSuccess;
    std::string remark;
    std::shared_ptr<const google::protobuf::Message> fields;
    std::string body;
};

/// Runs `work`, which may block on the disk, in the pool, and sends its answer from the call's
/// loop. Fails the call at once when the pool is full.
void answer_from_pool(const Call& call, UniqueFunction<Answer()> work);

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/replication_server.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/net/channel.h"

#include <memory>
#include <string>

namespace gantry::broker {

/// A short conversation with a member, on a connection of its own. The loop owns it until it ends;
/// when the loop ends first, nobody is called.
///
/// Threads   the loop's.
class PeerCall {
public:
    using OnAnswer = UniqueFunction<void(PeerCall&, Result<net::Received>&)>;

    /// Starts one.
    static PeerCall& start(net::EventLoop& loop,
                           const LinkOptions& options,
                           const std::string& address);

    PeerCall(net::EventLoop& loop, const LinkOptions& options, const std::string& address);
    ~PeerCall();
    PeerCall(const PeerCall&) = delete;
    PeerCall& operator=(const PeerCall&) = delete;

    /// Asks; `on_answer` asks on, or ends the conversation with finish().
    void ask(wire::RequestCode code, const google::protobuf::Message& fields, OnAnswer on_answer);
    /// The object dies at the end of the pass.
    void finish();

private:
    net::EventLoop& loop_;
    const std::chrono::milliseconds patience_;
    bool is_over_ = false;
    net::Channel channel_;
};

/// The error of an answer that is none, or no success.
Status check_answer(const Result<net::Received>& answer);

}  // namespace gantry::broker

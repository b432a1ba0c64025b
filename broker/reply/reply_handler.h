// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "protocol/wire/message.pb.h"
#include "storage/types.h"

#include <string>

namespace gantry::broker {

class Dispatcher;
class TopicCreator;

/// <cluster>_REPLY_TOPIC, where replies are kept: the broker's own.
std::string reply_topic(const BrokerOptions& options);

/// Takes replies to requests (324, 325) and pushes them to who asked (326), whose client id is in
/// the reply's property REPLY_TO_CLIENT; then stores them in <cluster>_REPLY_TOPIC, when
/// reply.store says so, and answers. Who asked has to be connected to this broker and known by its
/// heartbeat.
///
///   error                               native   stock
///   nobody of that client id is here    206      1
///   no REPLY_TO_CLIENT                  29       1
///   body, properties too large          29       13
///   a limit of rates is reached         215      2
///
/// Threads   any loop.
class ReplyHandler {
public:
    ReplyHandler(Context& context, TopicCreator& creator) : context_(context), creator_(creator) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

    /// Makes the topic of replies, whose route stock consumers ask for before they reply. Before
    /// the loops run.
    Status open(LoopState& loop);

private:
    using Request = wire::SendMessageRequest;

    void reply(Call& call, const Request& request);
    Status check(const Call& call, const Request& request) const;
    void push(const Call& call, const Request& request, const GroupRegistry::Receiver& to) const;
    void store(Call& call, const Request& request);

    Context& context_;
    TopicCreator& creator_;
    std::string topic_;
};

}  // namespace gantry::broker

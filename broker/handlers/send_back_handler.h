// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "broker/delivery/dead_letters.h"
#include "protocol/wire/group.pb.h"
#include "protocol/wire/message.pb.h"

#include <cstdint>
#include <string>

namespace gantry::broker {

class Dispatcher;
class TopicCreator;

/// Takes messages back that a consumer could not handle (36): stores a copy for the group's retry
/// topic, delayed, or for its dead-letter topic when it was delivered often enough.
///
///   delayLevel   < 0: dead letter now; 0: as the group's retry policy says; > 0: that level
///
/// Threads   any loop; the original is read in the pool.
/// Errors    26: no such group. 1, natively kQueryNotFound: no message at that offset. kFenced: a
///           lock token that is not the current one of the message's queue.
class SendBackHandler {
public:
    SendBackHandler(Context& context, TopicCreator& creator)
        : context_(context), creator_(creator), dead_letters_(context, creator) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    using Request = wire::ConsumerSendMsgBackRequest;

    struct Job {
        Request request;
        std::int32_t reconsume_max = 0;
        wire::GroupRetryPolicy policy;
    };

    void send_back(Call& call, const Request& request);
    /// Answers a request whose lock token is not that of the message's queue.
    bool is_fenced(LoopState& loop, const Addressee& to, const Job& job, Bytes original);
    void store_copy(LoopState& loop, const Addressee& to, const Job& job, Bytes original);
    Result<LogOffset> append_copy(LoopState& loop, const Job& job, Bytes original);

    Context& context_;
    TopicCreator& creator_;
    DeadLetters dead_letters_;
};

}  // namespace gantry::broker

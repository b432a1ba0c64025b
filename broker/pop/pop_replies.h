// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/peer.h"
#include "common/clock.h"
#include "protocol/net/event_loop.h"
#include "protocol/wire/message.pb.h"
#include "storage/pop/pop_queue.h"
#include "storage/types.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace gantry::broker {

struct Context;
class LoopState;

/// What a pop found, leased to its sender.
struct PopReply {
    Addressee to;
    wire::PopMessageResponse fields;
    storage::ReadResult found;
    std::string copies;  ///< sent instead, when not empty

    // To take it back when its sender has gone.
    std::string group;
    storage::Queue* queue = nullptr;
    std::vector<storage::OffsetSpan> spans;
};

/// Answers of one loop that are to leave after the leases they stand for are in the log: one record
/// for all that a pass handed out or re-timed, whatever the number of pops.
///
/// A store that takes no writes does not stop consumers: what it could not write is counted, and a
/// crash would forget it.
///
/// Threads   the loop's thread.
/// Lifetime  destroyed after its loop has stopped.
class PopReplies final : public net::PassEnd {
public:
    PopReplies(Context& context, LoopState& loop);
    ~PopReplies() override;

    /// Sends it at the end of this pass.
    void add(PopReply reply);
    /// Runs `answer` then, which is to tell somebody of a lease that changed.
    void add(std::function<void()> answer);

    /// Has what is new written then, though nobody is answered: where a group begins.
    void write_leases() { want_pass_end(); }

    /// Has acknowledgements written then too.
    void write_all();
    void on_pass_end() override;

private:
    void want_pass_end();
    void send(PopReply& reply);
    void take_back(const PopReply& reply);

    Context& context_;
    LoopState& loop_;
    std::vector<PopReply> replies_;
    std::vector<std::function<void()>> answers_;
    bool writes_all_ = false;
};

}  // namespace gantry::broker

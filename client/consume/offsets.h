// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/consumer.h"
#include "client/message.h"
#include "common/result.h"
#include "common/unique_function.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace gantry::client {

class LoopSlot;
class Runtime;

/// Proof that a queue is still the committer's: tokens of its locks, of its grants.
struct CommitTokens {
    std::map<QueueId, std::int64_t> of_locks;
    std::map<QueueId, std::int64_t> of_grants;
};

/// Questions about offsets to the brokers that own the queues, each with a deadline of 3 s.
///
/// Threads   every function: any thread; `done` runs in the slot's loop (or at once, with kGone,
///           when no route names the broker), exactly once.
class Offsets {
public:
    using OnOffset = UniqueFunction<void(Result<std::int64_t>)>;
    using OnCommitted = UniqueFunction<void(Result<std::optional<std::int64_t>>)>;
    using OnDone = UniqueFunction<void(Status)>;

    Offsets(Runtime& runtime, LoopSlot& slot) : runtime_(runtime), slot_(slot) {}

    /// Of the oldest message there is.
    void min(const QueueId& queue, OnOffset done);
    /// That the next message stored will get.
    void max(const QueueId& queue, OnOffset done);
    /// The first message stored at `time` or later.
    void by_time(const QueueId& queue, WallMs time, OnOffset done);
    /// What the group has committed; nothing when it never did.
    void committed(const std::string& group, const QueueId& queue, OnCommitted done);
    /// Where the group starts in the queue: what it committed, or else what `from` says. Of an
    /// empty group: what `from` says.
    void start(const std::string& group, const QueueId& queue, StartFrom from, OnOffset done);
    /// One request for each broker, in RocketMQ's dialect for each queue. The first error, if any;
    /// kConflict: a queue whose token, of those in `tokens`, is over. The others are committed.
    void commit(const std::string& group,
                const std::map<QueueId, std::int64_t>& offsets,
                OnDone done,
                const CommitTokens& tokens = {});

private:
    void initial(const QueueId& queue, StartFrom from, OnOffset done);

    Runtime& runtime_;
    LoopSlot& slot_;
};

}  // namespace gantry::client

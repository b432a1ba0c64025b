// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/delivery/pending_acks.h"
#include "common/result.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace gantry::broker {

struct Context;
class LoopState;

/// The offsets committed in one pass of a loop, gathered into one record of the log: a later commit
/// of the same queue replaces an earlier one, and commits that change nothing are not logged.
///
/// Threads   the loop's thread only.
/// Errors    an acknowledged commit gets the store's error; one-way commits that fail are counted
///           and lost, as their sender asked for no answer.
class OffsetCommits {
public:
    /// One committed offset, the next to consume. The names are views: they last for the call.
    struct Commit {
        std::string_view group;
        std::string_view topic;
        std::int32_t queue_id = 0;
        std::int64_t offset = 0;
        std::int64_t lock_token = 0;  ///< not 0: dropped unless the queue is locked under it
    };

    OffsetCommits(Context& context, LoopState& loop) : context_(context), loop_(loop) {}

    /// Takes one offset; logged at the end of the pass.
    void put(const Commit& commit);
    /// Calls `done` when everything put so far in this pass is durable, or failed.
    void acknowledge(PendingAcks::Done done);
    /// An offset of this pass that is not logged yet.
    std::optional<std::int64_t> find(std::string_view group,
                                     std::string_view topic,
                                     std::int32_t queue_id) const;
    /// Logs what was gathered.
    void flush();

private:
    using Key = std::tuple<std::string, std::string, std::int32_t>;

    struct Value {
        std::int64_t offset = 0;
        std::int64_t lock_token = 0;
    };

    Status log_changes(LogOffset& end);

    Context& context_;
    LoopState& loop_;
    std::map<Key, Value> dirty_;
    std::vector<PendingAcks::Done> acks_;
};

}  // namespace gantry::broker

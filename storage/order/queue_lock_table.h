// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/state.pb.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

namespace gantry::storage {

/// Which client of a group may consume which queue in order, and the token it has for that: what
/// the QueueLockPut records say so far. Whether a lease is over is not for it to know.
///
/// Tokens    one number for all queues, larger with each grant; never used twice, also not after
///           what it was for is gone.
/// Limits    one lock for each group and queue; those of deleted topics and groups go with them.
/// Threads   one at a time.
class QueueLockTable {
public:
    /// Whether it may be applied. kRefused: names the field, its value and the limit.
    static Status check(const wire::QueueLockPut& put);

    /// A new holder, or with an empty client none.
    void apply(const wire::QueueLockPut& put);
    /// Null: nobody holds it. Valid until the next change.
    const wire::QueueLockPut* find(std::string_view group,
                                   std::string_view topic,
                                   std::int32_t queue_id) const;

    std::int64_t last_token() const noexcept { return last_token_; }

    /// Forgets what is of the topic.
    void remove_topic(std::string_view topic);
    /// Forgets what is of the group.
    void remove_group(std::string_view group);

    /// Writes all of it into the snapshot.
    void save(wire::StateSnapshot& snapshot) const;
    /// kCorrupt: holds an illegal lock, or one with a token above the last.
    Status restore(const wire::StateSnapshot& snapshot);

private:
    using Key = std::tuple<std::string, std::string, std::int32_t>;  // group, topic, queue

    std::map<Key, wire::QueueLockPut> held_;
    std::int64_t last_token_ = 0;
};

}  // namespace gantry::storage

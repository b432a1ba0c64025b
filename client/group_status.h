// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::client {

/// A consumer group over all brokers; `lag`: messages not committed yet.
struct GroupSummary {
    std::string group;
    std::uint32_t members = 0;
    std::int64_t lag = 0;
    std::vector<std::string> topics;
};

/// One connected member of a consumer group.
struct GroupMember {
    std::string client_id;
    std::string address;
    std::string language;
    std::int32_t version = 0;
};

/// How far a group is in one queue: broker_offset is the queue's end, consumer_offset what is
/// committed.
struct GroupQueueProgress {
    QueueId queue;
    std::int64_t broker_offset = 0;
    std::int64_t consumer_offset = 0;
    WallMs last_ms = 0;      ///< store time of the last consumed message
    std::string owner;       ///< client id of whom the broker has granted it to; else empty
    std::int64_t token = 0;  ///< of the last grant; greater with each
    bool is_moving = false;  ///< its owner is to hand it over
};

/// Members, subscriptions and progress of a consumer group.
struct GroupStatus {
    std::vector<GroupMember> members;
    std::map<std::string, std::string> subscriptions;  ///< topic to expression
    std::vector<GroupQueueProgress> queues;
};

/// How long a message waits before it comes to a group again, when a consumer has sent it back.
/// Brokers round each delay up to one of the 18 delay levels (1 s to 2 h).
struct RetryBackoff {
    /// RocketMQ's (10 s, 30 s, 1 min ... 2 h), a table, or initial_ms * multiplier ^ n.
    enum class Kind : std::uint8_t { kDefault, kTable, kExponential };
    Kind kind = Kind::kDefault;
    /// Milliseconds before the first, second ... retry; the last holds for all further ones.
    std::vector<std::int64_t> table_ms;
    std::int64_t initial_ms = 5'000;
    std::int64_t max_ms = 7'200'000;
    std::int64_t multiplier = 2;
};

/// Where a group goes on whose offset in a queue does not exist: at the end that is nearer, at the
/// oldest message, behind the newest, or nowhere, until an operator commits another offset.
enum class OutOfRangePolicy : std::uint8_t { kNearest, kEarliest, kLatest, kFail };

/// "nearest", "earliest", "latest", "fail".
std::string_view name_of(OutOfRangePolicy policy) noexcept;

/// What an administrator decides about a consumer group.
struct GroupSettings {
    std::string group;
    std::int32_t retry_max = 16;  ///< sent back so often, a message becomes a dead letter
    RetryBackoff backoff;
    OutOfRangePolicy out_of_range = OutOfRangePolicy::kNearest;
};

/// A key whose messages a group has put aside, in one queue.
struct ParkedKey {
    QueueId queue;
    std::string key;
    std::int64_t count = 0;
    std::int64_t first_offset = 0;  ///< of the oldest message
    WallMs since_ms = 0;            ///< when it was parked
    bool is_released = false;       ///< on its way back to the group
};

/// Which parked keys of a group.
struct ParkedChoice {
    std::string group;
    std::string topic{};  ///< empty: all
    std::string key{};    ///< empty: all
};

}  // namespace gantry::client

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/wire/group.pb.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gantry::client {

class LoopSlot;
class Runtime;

/// What a group has put aside under one key of a queue.
struct ParkedLane {
    std::int64_t count = 0;
    std::int64_t first = 0;  ///< queue offset of the oldest message
    bool is_released = false;
};

/// A queue under its lock.
struct LockedQueue {
    QueueId id;
    std::int64_t token = 0;
};

/// Requests about parked keys to the broker of the queue, each with a deadline of 3 s.
///
/// Threads   any; `done` runs in the slot's loop, exactly once.
class ParkedCalls {
public:
    /// Of ChangeParkedKeyRequest.
    enum class Action : std::uint8_t { kPark = 0, kHeld = 2, kDone = 3 };

    /// A key and what is parked under it.
    struct Key {
        std::string key;
        ParkedLane lane;
    };

    /// What to do with messages of a key.
    struct Change {
        Action action = Action::kPark;
        std::string key;
        std::vector<std::int64_t> offsets;
        bool is_new = false;  ///< kPark: also when the key is not parked
    };

    using OnKeys = UniqueFunction<void(Result<std::vector<Key>>)>;
    using OnChanged = UniqueFunction<void(Result<ParkedLane>)>;
    using OnMessage = UniqueFunction<void(Result<std::optional<MessageView>>)>;

    ParkedCalls(Runtime& runtime, LoopSlot& slot, std::string group)
        : runtime_(runtime), slot_(slot), group_(std::move(group)) {}

    /// What the group has parked of the queue.
    void list(const QueueId& queue, OnKeys done);
    /// What is parked under the key then; a count of 0: nothing. kNotFound: it is not parked.
    void change(const LockedQueue& queue, const Change& change, OnChanged done);
    /// The message at that offset; nothing when it is gone.
    void fetch(const LockedQueue& queue, std::int64_t offset, OnMessage done);

private:
    Runtime& runtime_;
    LoopSlot& slot_;
    const std::string group_;
};

}  // namespace gantry::client

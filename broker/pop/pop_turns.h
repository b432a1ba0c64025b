// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/pop/pop_parking.h"
#include "common/clock.h"
#include "storage/pop/pop_table.h"
#include "storage/store.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::broker {

struct Context;

/// A queue that one pop has for itself, and what it is to read of it.
struct PopTurn {
    /// Why it was chosen.
    enum class Kind : std::uint8_t {
        kNew,    ///< messages that were never handed out
        kAgain,  ///< messages whose time is over
        kDead,   ///< messages that were delivered too often
    };

    storage::Queue* queue = nullptr;
    std::uint64_t life = 0;
    Kind kind = Kind::kNew;
    storage::OffsetSpan span;  ///< of kNew only its beginning
    WallMs pop_ms_before = 0;
    std::int32_t deliveries = 0;
};

/// Whose turn it is to read which queue: round and round over the queues of a topic, those with
/// messages to deliver again first. While one pop has a queue no other gets it, so that a message
/// has one owner.
///
/// Threads   any loop.
/// Lifetime  `table` and the context's store outlive it.
class PopTurns {
public:
    static constexpr std::uint32_t kDeadMax = 32;  ///< dead letters of one turn

    PopTurns(Context& context, storage::PopTable& table) : context_(context), table_(table) {}

    /// A queue with something for the query at `now`; nothing when there is none, or others have
    /// their turn. A group that is new to the topic begins with all of its queues. To be ended.
    std::optional<PopTurn> take(const PopQuery& query, WallMs now);

    /// Calls `work(PopQueue&)`, and ends the turn. False, and nothing called: what the group had of
    /// the queue was forgotten meanwhile.
    template <class Work>
    bool end(std::string_view group, const PopTurn& turn, Work work) {
        return table_.with(group, turn.queue->topic, [&](storage::PopShare& share) {
            storage::PopQueue* const popped = share.find(turn.queue->queue_id);
            if (popped == nullptr || popped->life() != turn.life) {
                return false;
            }
            popped->set_reading(false);
            work(*popped);
            return true;
        });
    }

private:
    struct Choice {
        std::optional<PopTurn> turn;
        bool must_open = false;  ///< the group knows fewer queues than there are
    };

    Choice choose(const PopQuery& query, WallMs now);
    std::optional<PopTurn> turn_new(const storage::PopQueue& popped, storage::Queue& queue) const;
    void make_group(const std::string& name);
    void open_queues(const PopQuery& query);
    QueueOffset start_of(const PopQuery& query, storage::Queue& queue, bool is_known) const;
    std::int32_t deliveries_max(std::string_view group) const;

    Context& context_;
    storage::PopTable& table_;
    std::atomic<std::uint32_t> turns_{0};
};

}  // namespace gantry::broker

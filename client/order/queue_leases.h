// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/unique_function.h"
#include "protocol/net/channel.h"
#include "protocol/net/event_loop.h"
#include "protocol/wire/group.pb.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace gantry::client {

class LoopSlot;
class Runtime;

/// Locks of queues at their brokers, renewed at a third of their lease.
///
///   want --> asked for, again and again --> on_held(token) --> renewed ...
///                                               '--> on_lost: refused, or not renewed in time
///
/// Clock     a lease counts from before its request was sent, and for 9/10 of its length: here it
///           is over before the broker gives the queue to another member.
/// Threads   functions ..._in_loop: the slot's loop, where the events are called, too. is_live:
/// any. Lifetime  kept alive by requests that are out; no event comes after close_in_loop.
class QueueLeases : public std::enable_shared_from_this<QueueLeases> {
public:
    /// What becomes of the locks.
    struct Events {
        std::function<void(const QueueId& queue, std::int64_t token)> on_held;
        std::function<void(const QueueId& queue)> on_lost;  ///< forgotten; want it again
    };

    QueueLeases(Runtime& runtime,
                LoopSlot& slot,
                std::string group,
                std::chrono::milliseconds lease);
    ~QueueLeases();
    QueueLeases(const QueueLeases&) = delete;
    QueueLeases& operator=(const QueueLeases&) = delete;

    /// Starts to ask; once.
    void start_in_loop(Events events);
    void want_in_loop(const QueueId& queue);
    /// Unlocks the queue if it is held, and forgets it; `then` when the broker knows, or failed.
    void give_up_in_loop(const QueueId& queue, UniqueFunction<void()> then);
    /// Ends without a word to the brokers.
    void close_in_loop();

    /// Whether messages of the queue may be worked on under that token.
    bool is_live(const QueueId& queue, std::int64_t token) const;

private:
    struct Lock {
        std::uint64_t id = 0;    // of this want
        std::int64_t token = 0;  // 0: not held
        SteadyTime until{};      // held
        SteadyTime asked{};      // when the last request that was answered left
        bool is_asking = false;
    };

    /// A request that is out.
    struct Question {
        SteadyTime sent{};
        std::string address{};
        std::map<QueueId, std::uint64_t> queues{};  // to Lock::id
    };

    void tick_in_loop();
    void ask_in_loop(Question question);
    void answered_in_loop(const Question& question, Result<net::Received>& result);
    /// False: it is lost.
    bool take_in_loop(Lock& lock, std::int64_t token, SteadyTime sent) const;
    wire::LockQueuesRequest request_of(const std::vector<QueueId>& queues) const;

    Runtime& runtime_;
    LoopSlot& slot_;
    const std::string group_;
    const std::chrono::milliseconds lease_;
    Counter& lost_count_;

    // The loop's.
    Events events_;
    std::unique_ptr<net::Timer> timer_;
    std::uint64_t last_id_ = 0;

    mutable Mutex mutex_;
    std::map<QueueId, Lock> locks_ GANTRY_GUARDED_BY(mutex_);  // changed in the loop only
};

}  // namespace gantry::client

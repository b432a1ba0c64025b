// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/consume/group_membership.h"
#include "client/consume/selector_check.h"
#include "client/message.h"
#include "client/order/queue_leases.h"
#include "client/ordered_consumer.h"
#include "common/result.h"
#include "common/unique_function.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

namespace gantry::client {

class LoopSlot;
class Runtime;

/// A queue that may be read now.
struct OpenedQueue {
    QueueId id;
    std::int64_t token = 0;
    std::int64_t offset = 0;
    const Subscription* subscription = nullptr;  ///< for the call
    std::int64_t subscription_version = 0;
};

/// Brings each queue that the group gives this member through its states, and back:
///
///   assigned -> locking -> starting -> open -> closing -> (assigned still: locking) gone
///               lease      offset      |        ^  running calls end, commit, unlock
///                                      '--------'
///                            lease lost, or not assigned any more
///
/// Threads   join, leave: the application's. `open` and `close` are called in the slot's loop.
/// Errors    a start offset that no broker tells is asked for again every second.
/// Lifetime  kept alive by what is under way; nothing is called after leave().
class OrderedQueues : public std::enable_shared_from_this<OrderedQueues> {
public:
    /// With the offset to commit, if there is something to commit.
    using OnClosed = UniqueFunction<void(std::int64_t offset)>;

    /// What reads and works.
    struct Reader {
        std::function<void(const OpenedQueue& queue)> open;
        /// To call back, from any thread, when nothing of the queue is worked on any more.
        std::function<void(const QueueId& queue, OnClosed closed)> close;
    };

    OrderedQueues(Runtime& runtime,
                  LoopSlot& slot,
                  const OrderedConsumer::Options& options,
                  std::shared_ptr<QueueLeases> leases);
    ~OrderedQueues();
    OrderedQueues(const OrderedQueues&) = delete;
    OrderedQueues& operator=(const OrderedQueues&) = delete;

    /// Joins the group. kConflict: it has another member in this client.
    Status join(const std::map<std::string, Subscription>& subscriptions, Reader reader);
    /// Closes all queues and leaves the group; waits until the brokers know, or failed.
    void leave();

private:
    enum class Phase : std::uint8_t { kLocking, kStarting, kOpen, kClosing };

    struct Entry {
        Phase phase = Phase::kLocking;
        bool is_assigned = true;
        std::uint64_t id = 0;
        std::int64_t token = 0;
    };

    void start_in_loop();
    void assigned_in_loop(const std::set<QueueId>& queues);
    void begin_in_loop(const QueueId& queue);
    void held_in_loop(const QueueId& queue, std::int64_t token);
    void lost_in_loop(const QueueId& queue);
    void find_start_in_loop(const QueueId& queue, std::uint64_t id);
    void started_in_loop(const QueueId& queue,
                         std::uint64_t id,
                         const Result<std::int64_t>& offset);
    void close_in_loop(const QueueId& queue, Entry& entry);
    void closed_in_loop(const QueueId& queue, std::int64_t offset);
    void unlock_in_loop(const QueueId& queue);
    void gone_in_loop(const QueueId& queue);

    Runtime& runtime_;
    LoopSlot& slot_;
    const OrderedConsumer::Options options_;
    const std::shared_ptr<QueueLeases> leases_;
    std::shared_ptr<GroupMembership> membership_;  // join and leave
    std::map<std::string, Subscription> subscriptions_;
    std::int64_t version_ = 0;
    Reader reader_;

    // The loop's.
    std::map<QueueId, Entry> entries_;
    std::uint64_t last_id_ = 0;
    bool is_leaving_ = false;
    UniqueFunction<void()> on_empty_;
};

}  // namespace gantry::client

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "common/mutex.h"
#include "common/result.h"
#include "storage/by_name.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::wire {
class TopicConfig;
}

namespace gantry::storage {

class ConsumeQueues;
class QueueIndex;

/// Bits of a topic's permission, as on the wire.
namespace perm {
inline constexpr std::int32_t kInherit = 1;
inline constexpr std::int32_t kWrite = 2;
inline constexpr std::int32_t kRead = 4;
}  // namespace perm

/// Topic the state machine's records go to; hidden from clients.
inline constexpr std::string_view kStateTopic = "GANTRY_SYS_STATE";

inline constexpr std::int32_t kQueuesPerTopicMax = 65'536;

/// One queue of a topic: a handle that stays valid until the store closes.
struct Queue {
    std::string_view topic;
    std::int32_t queue_id = 0;
    QueueIndex* index = nullptr;  ///< its consume queue

    /// [min, max) are the offsets of messages that exist; max counts unconfirmed ones too.
    QueueOffset min() const noexcept;
    QueueOffset max() const noexcept;
};

/// One topic: a handle that stays valid until the store closes, also when the topic is deleted
/// (then is_deleted() and perm() is 0).
///
/// Threads   any; numbers are atomics.
class alignas(64) Topic {
public:
    const std::string& name() const noexcept { return name_; }

    std::int32_t perm() const noexcept { return perm_.load(std::memory_order_acquire); }

    std::int32_t read_queues() const noexcept {
        return read_queues_.load(std::memory_order_acquire);
    }

    std::int32_t write_queues() const noexcept {
        return write_queues_.load(std::memory_order_acquire);
    }

    bool is_deleted() const noexcept { return is_deleted_.load(std::memory_order_acquire); }

    /// Queue `queue_id`, made on first use; null when it is outside both queue numbers.
    Queue* queue(std::int32_t queue_id);

private:
    friend class TopicTable;

    Topic(std::string name, ConsumeQueues& queues) : name_(std::move(name)), all_(queues) {}

    // What every send of the topic reads comes first, in one cache line.
    std::string name_;
    ConsumeQueues& all_;
    std::atomic<std::int32_t> perm_{0};
    std::atomic<std::int32_t> read_queues_{0};
    std::atomic<std::int32_t> write_queues_{0};
    std::atomic<bool> is_deleted_{false};
    Mutex mutex_;
    std::deque<Queue> queues_ GANTRY_GUARDED_BY(mutex_);  ///< without an index: not asked for yet
};

/// Names to topics. The state topic is there from the start, is found by find() and not listed.
///
/// Threads   find, all: any; a short lock. put, seal, unseal, remove: the state machine's apply.
/// Lifetime  `queues` outlives it; topics live as long as it, deleted ones too.
class TopicTable {
public:
    explicit TopicTable(ConsumeQueues& queues);
    ~TopicTable();
    TopicTable(const TopicTable&) = delete;
    TopicTable& operator=(const TopicTable&) = delete;

    /// The living topic of that name, or null.
    Topic* find(std::string_view name) const;
    /// Living topics by name, without the state topic.
    std::vector<Topic*> all() const;

    /// Makes the topic, or changes its queue numbers and permission.
    Topic& put(const wire::TopicConfig& config);
    /// Stops appends to the topic before its deletion is logged; unseal takes that back.
    void seal(std::string_view name);
    void unseal(std::string_view name);
    /// Ends the topic; with `drop_queues` its queues too. No topic of that name: only the queues.
    void remove(std::string_view name, bool drop_queues);
    /// Drops the queues of a deleted topic whose name a living one may have by now (replay only,
    /// before any queue handle was given out).
    void drop_queues(std::string_view name);

private:
    ConsumeQueues& queues_;
    mutable Mutex mutex_;
    ByName<std::unique_ptr<Topic>> topics_ GANTRY_GUARDED_BY(mutex_);
    std::vector<std::unique_ptr<Topic>> deleted_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::storage

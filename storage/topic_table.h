// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "common/mutex.h"
#include "common/result.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <memory_resource>
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

/// Whom an acknowledgement of a topic's messages waits for: its attribute "replication".
enum class TopicAcks : std::uint8_t {
    kDefault,  ///< as the broker says
    kSync,     ///< every copy in sync
    kAsync,    ///< this copy
};

/// Name of that attribute; its values are "sync" and "async".
inline constexpr std::string_view kReplicationAttribute = "replication";

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
    /// For TopicTable: without queues and permission.
    Topic(std::string name, ConsumeQueues& queues) : name_(std::move(name)), all_(queues) {}

    const std::string& name() const noexcept { return name_; }

    std::int32_t perm() const noexcept { return perm_.load(std::memory_order_acquire); }

    std::int32_t read_queues() const noexcept {
        return read_queues_.load(std::memory_order_acquire);
    }

    std::int32_t write_queues() const noexcept {
        return write_queues_.load(std::memory_order_acquire);
    }

    TopicAcks acks() const noexcept { return acks_.load(std::memory_order_acquire); }

    bool is_deleted() const noexcept { return is_deleted_.load(std::memory_order_acquire); }

    /// Queue `queue_id`, made on first use; null when it is outside both queue numbers.
    Queue* queue(std::int32_t queue_id);

private:
    friend class TopicTable;

    // What every send of the topic reads comes first, in one cache line.
    std::string name_;
    ConsumeQueues& all_;
    std::atomic<std::int32_t> perm_{0};
    std::atomic<std::int32_t> read_queues_{0};
    std::atomic<std::int32_t> write_queues_{0};
    std::atomic<bool> is_deleted_{false};
    std::atomic<TopicAcks> acks_{TopicAcks::kDefault};
    bool is_removed_ = false;  ///< under the table's mutex: for good, not only sealed
    Mutex mutex_;
    // Blocks of 8, 8, 16, 32... queues, so that a queue never moves and is found by one look.
    // A queue without an index was not asked for yet.
    static constexpr std::size_t kBlocks = 14;
    std::array<std::unique_ptr<Queue[]>, kBlocks> blocks_ GANTRY_GUARDED_BY(mutex_);
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
    std::vector<Topic*> all();

    /// Makes the topic, or changes its queue numbers, permission and acknowledgements.
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
    /// A place of the hash table. With the hash in it, a look-up touches no topic but its own.
    struct Slot {
        std::size_t hash = 0;
        Topic* topic = nullptr;
    };

    ConsumeQueues& queues_;
    mutable Mutex mutex_;
    Topic* get(std::string_view name) const GANTRY_REQUIRES(mutex_);
    Topic& add(std::string name) GANTRY_REQUIRES(mutex_);
    void enter(Topic& topic) GANTRY_REQUIRES(mutex_);
    /// A table for twice the living topics.
    void grow() GANTRY_REQUIRES(mutex_);

    // Near each other: with many topics, a look-up costs the lines and the pages it touches.
    std::pmr::monotonic_buffer_resource memory_;
    std::pmr::list<Topic> topics_ GANTRY_GUARDED_BY(mutex_){&memory_};  ///< removed ones too
    std::vector<Slot> slots_
        GANTRY_GUARDED_BY(mutex_);                    ///< a power of two, at most half of it used
    std::size_t used_ GANTRY_GUARDED_BY(mutex_) = 0;  ///< slots, also those of removed topics
};

}  // namespace gantry::storage

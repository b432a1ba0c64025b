// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/mutex.h"
#include "common/result.h"
#include "protocol/wire/state.pb.h"
#include "storage/pop/pop_queue.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gantry::storage {

/// The queues of one topic that a group pops.
///
/// Threads   one at a time: see PopTable::with.
class PopShare {
public:
    /// The queue, to look at or to change; null when the group has not popped it.
    PopQueue* find(std::int32_t queue_id);
    /// Begins to pop a queue at `start`, as life `life`, unless that has happened.
    PopQueue& open(std::int32_t queue_id, QueueOffset start);

    std::size_t size() const noexcept { return queues_.size(); }

private:
    friend class PopTable;

    /// Whether the table knows that there is something to write, and how soon.
    enum class Listed : std::uint8_t { kNo, kLater, kNow };

    struct Entry {
        Entry(QueueOffset start, std::uint64_t life) : queue(start, life) {}

        PopQueue queue;
        Listed listed = Listed::kNo;
    };

    std::map<std::int32_t, Entry> queues_;
    std::vector<std::int32_t> touched_;  ///< in this call of with
    std::uint64_t* last_life_ = nullptr;
};

/// What groups that pop have in flight. Memory runs ahead of the log: acknowledgements are written
/// later, many in one record, leases before their owner hears of them (Pops).
///
/// Threads   any; one mutex inside, taken last.
/// Limits    one entry a group and queue that was popped, until either is deleted.
class PopTable {
public:
    /// What `work(PopShare&)` returns, called while nobody else looks at the table; it must not
    /// block. What it changes is written by the next take_changes.
    template <class Work>
    auto with(std::string_view group, std::string_view topic, Work&& work) {
        const MutexLock lock(mutex_);
        PopShare& share = share_of(group, topic);
        auto result = work(share);
        note_changes(group, topic, share);
        return result;
    }

    /// Adds what changed since the last call to `record`, at most until it has about `bytes_max`;
    /// `leases_only`: of queues with leases to write. Whether there is more.
    bool take_changes(wire::StateRecord& record, std::size_t bytes_max, bool leases_only);
    /// What take_changes gave was not written.
    void write_failed(const wire::StateRecord& record);
    /// Whether there is something to write.
    bool has_changes(bool leases_only) const;

    /// Takes a change out of the log.
    void apply(const wire::PopPut& put);
    /// The group goes on at `offset`, whatever was in flight.
    void reset(std::string_view group,
               std::string_view topic,
               std::int32_t queue_id,
               QueueOffset offset);
    void remove_topic(std::string_view topic);
    void remove_group(std::string_view group);

    /// Messages in flight, and leases, of all groups.
    struct Size {
        std::int64_t messages = 0;
        std::uint64_t leases = 0;
    };

    Size size() const;

    /// Adds everything to a snapshot.
    void save(wire::StateSnapshot& snapshot) const;

private:
    struct Key {
        std::string group;
        std::string topic;
        std::int32_t queue_id = 0;

        auto operator<=>(const Key&) const = default;
    };

    using Topics = std::map<std::string, PopShare, std::less<>>;

    PopShare& share_of(std::string_view group, std::string_view topic) GANTRY_REQUIRES(mutex_);
    using Keys = std::set<Key>;

    PopShare::Entry* find(std::string_view group, std::string_view topic, std::int32_t queue_id)
        GANTRY_REQUIRES(mutex_);
    bool take_some(Keys& keys, wire::StateRecord& record, std::size_t bytes_max)
        GANTRY_REQUIRES(mutex_);
    void note_changes(std::string_view group, std::string_view topic, PopShare& share)
        GANTRY_REQUIRES(mutex_);
    void remove(std::string_view group, std::string_view topic) GANTRY_REQUIRES(mutex_);

    mutable Mutex mutex_;
    std::map<std::string, Topics, std::less<>> groups_ GANTRY_GUARDED_BY(mutex_);
    Keys with_leases_ GANTRY_GUARDED_BY(mutex_);  ///< to write soon
    Keys with_less_ GANTRY_GUARDED_BY(mutex_);    ///< to write some time, or written meanwhile
    std::uint64_t last_life_ GANTRY_GUARDED_BY(mutex_) = 0;
};

}  // namespace gantry::storage

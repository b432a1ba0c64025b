// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "common/result.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>

namespace gantry::storage {

class ConsumeQueues;
struct ExtentList;

/// One entry of a consume queue: where the message at that queue offset lies in the log.
struct QueueUnit {
    LogOffset at;
    std::int32_t size = 0;
    std::int64_t tag = 0;  ///< and when it expires: unit_tag.h

    bool operator==(const QueueUnit&) const = default;

    /// First log offset behind the message.
    LogOffset end() const noexcept { return at + size; }

    /// Stands for a message that was lost to damage: readers step over it.
    bool is_hole() const noexcept { return size == kHoleSize; }

    static constexpr std::int32_t kHoleSize = 0x7FFFFFFF;  ///< RocketMQ's pre-blank unit
};

/// Bytes of a unit on disk: i64 log offset, i32 size, i64 tag, big-endian (RocketMQ's).
inline constexpr std::size_t kUnitBytes = 20;

/// A unit of kUnitBytes as it stands in an extent.
QueueUnit decode_unit(const std::byte* at) noexcept;

/// The consume queue of one (topic, queue id): an array of units in extents of shared files.
///
///   min                        max              next            room end
///    o--------------------------o----------------o-----------------o
///    | readers see these        | reserved, being | no system call to
///    |                          | put             | reserve up to here
///
///   append:  ensure_room (no lock held) -> lock of the log { has_room, reserve } ->
///            put each unit -> publish, in log order
///
/// Threads   has_room, reserve: under the log's reserve lock; a few loads and a store. put: any
///           number of threads, each for offsets it has reserved; no lock, no system call, may
///           fault a page in. publish: one thread at a time, in log order; what was put before
///           must happen before publish (the log's own publishing order gives that). min, max:
///           any. read and the rest: any; a short lock shared by a stripe of queues.
/// Readers   see a unit once publish() of an end above it was called: max() is loaded with acquire
///           and publish stores it with release.
/// Errors    ensure_room: kDiskFull, kIo, kNotFound (the topic was deleted). Then nothing changed.
/// Lifetime  as long as its ConsumeQueues, also after drop (then empty, and without room).
/// Memory    one cache line, a small list, and 16 bytes an extent.
class alignas(64) QueueIndex {
public:
    QueueIndex(const QueueIndex&) = delete;
    QueueIndex& operator=(const QueueIndex&) = delete;
    ~QueueIndex();

    QueueOffset min() const noexcept { return QueueOffset(min_.load(std::memory_order_acquire)); }

    QueueOffset max() const noexcept { return QueueOffset(max_.load(std::memory_order_acquire)); }

    /// The offset the next reserve gives. Under the log's reserve lock.
    QueueOffset next() const noexcept { return QueueOffset(next_.load(std::memory_order_relaxed)); }

    /// Whether reserve(count) may be called. False also for a sealed or dropped queue. Under the
    /// log's reserve lock.
    bool has_room(std::uint32_t count) const noexcept {
        return next_.load(std::memory_order_relaxed) + static_cast<std::int64_t>(count) <=
               room_end_.load(std::memory_order_acquire);
    }

    /// Takes `count` offsets; returns the first. has_room(count) must be true. Under the log's
    /// reserve lock, in the same critical section that reserves the log offsets.
    QueueOffset reserve(std::uint32_t count) noexcept {
        const std::int64_t first = next_.load(std::memory_order_relaxed);
        next_.store(first + static_cast<std::int64_t>(count), std::memory_order_relaxed);
        return QueueOffset(first);
    }

    /// Makes room for `count` more offsets than are reserved now, from extents prepared ahead where
    /// possible. Without the log's lock; call again when has_room then still says no (another
    /// thread took the room). kNotFound: sealed or dropped.
    Status ensure_room(std::uint32_t count);

    /// Writes the unit of a reserved offset. Invisible until published. About 3 ns.
    void put(QueueOffset at, const QueueUnit& unit) noexcept;

    /// Fetches what reserve needs into the processor's cache, without waiting for it.
    void prefetch() const noexcept { __builtin_prefetch(this, 1); }

    /// The same for what put writes at a reserved offset. While the queue grows it may be something
    /// else, which costs time only.
    void prefetch_unit(QueueOffset at) const noexcept {
        const std::int64_t base = tail_base_.load(std::memory_order_relaxed);
        if (at.value >= base) {
            const std::byte* const units = tail_units_.load(std::memory_order_relaxed);
            __builtin_prefetch(units + static_cast<std::size_t>(at.value - base) * kUnitBytes, 1);
        }
    }

    /// Shows everything below `end` to readers. Calls in log order.
    void publish(QueueOffset end) noexcept { max_.store(end.value, std::memory_order_release); }

    /// Copies units from `from` on, as many as are published and fit. 0 outside [min, max).
    std::size_t read(QueueOffset from, std::span<QueueUnit> into) const;
    /// Memory of the units [from, from + count) that are published, by extent: to see whether they
    /// are in memory without touching them.
    std::vector<Bytes> memory_of(QueueOffset from, std::size_t count) const;
    /// The unit at `at`, nothing outside [min, max).
    std::optional<QueueUnit> unit_at(QueueOffset at) const;
    /// First queue offset in [min, max] whose unit is at or above log offset `at`. Binary search.
    QueueOffset lower_bound(LogOffset at) const;

    /// Forgets the units below `to`, at most all, and gives their extents back.
    void advance_min(QueueOffset to);
    /// The same for units of messages that start below `first`. Binary search.
    void advance_min(LogOffset first);

    /// Recovery and replicas: puts and publishes a unit read from the log. Below max: overwritten
    /// with the same. At max: appended. Above: holes fill the gap (an empty queue starts there
    /// instead). Below min: nothing. One thread, nobody appends meanwhile. kCorrupt: a gap of more
    /// than kGapMax.
    Status restore(QueueOffset at, const QueueUnit& unit);

    /// Puts another unit in the place of a published one that was found wrong, while others append.
    /// False: `at` is outside [min, max) by now.
    bool rewrite(QueueOffset at, const QueueUnit& unit);

    /// Recovery: an empty queue goes on at `at`. One with units stays as it is.
    void begin_at(QueueOffset at);

    static constexpr std::int64_t kGapMax = 1'000'000;

    /// For ConsumeQueues, which makes and owns them.
    QueueIndex(ConsumeQueues& owner, std::uint64_t uid);

private:
    friend class ConsumeQueues;

    Mutex& stripe() const noexcept;
    /// Where the unit of `at` lies, by the list of extents. Under the stripe lock.
    std::byte* locate(std::int64_t at) const noexcept;
    Status ensure_room_until(std::int64_t end);
    Status add_extent(std::int64_t end);
    void set_tail() noexcept;
    std::int64_t lower_bound_locked(LogOffset at) const noexcept;
    void put_and_publish(std::int64_t at, const QueueUnit& unit) noexcept;
    void free_extents_locked();
    void truncate_to(LogOffset end);
    void move_empty_to(std::int64_t at);
    void advance_min_locked(std::int64_t to);

    static constexpr std::int64_t kNoTail = std::numeric_limits<std::int64_t>::max();
    static constexpr std::int64_t kSealed = -1;  ///< room end of a queue that takes nothing more

    std::atomic<std::int64_t> next_{0};
    std::atomic<std::int64_t> max_{0};
    std::atomic<std::int64_t> min_{0};
    std::atomic<std::int64_t> room_end_{0};
    std::atomic<std::int64_t> tail_base_{kNoTail};  ///< queue offset of the tail extent's first
    std::atomic<std::byte*> tail_units_{nullptr};   ///< units of the tail extent
    ConsumeQueues* const owner_;
    const std::unique_ptr<ExtentList> extents_;  ///< under the stripe lock
};

}  // namespace gantry::storage

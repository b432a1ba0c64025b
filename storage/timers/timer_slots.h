// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/file_system.h"
#include "common/result.h"
#include "storage/timers/timer_table.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <utility>
#include <vector>

namespace gantry::storage {

/// The timer index: delayed messages by due time, on disk but for the last ones added.
///
///   far                                                              due
///   hour slots ----> minute slots ----> second slots ----> ticks of 10 ms ----> delivery
///          10 min before         10 s              1.5 s
///
/// A slot is a file of 24-byte entries and what was added since that was written. When its time
/// comes near, it is spread over the slots of the next kind, a piece at a time. Entries of a tick
/// come out in the order they were added; nothing is ever sorted. What is in the files is not
/// needed after a stop: the index is made anew from the consume queue at each start.
///
/// Units     24 B of disk for an entry; of memory 24 B for each of at most kBuffered, and about
///           100 B for a slot: 8,800 hours of a year, 60 minutes, some seconds and ticks.
/// Threads   one.
/// Errors    kDiskFull, kIo: entries that could not be written stay in memory, the next call tries
///           again. kCorrupt: a file is not what was written; open() starts over.
/// Lifetime  `files` outlives it.
class TimerSlots {
public:
    static constexpr std::size_t kBuffered = 64U << 10U;
    static constexpr WallMs kNever = INT64_MAX;

    TimerSlots(FileSystem& files, std::filesystem::path directory)
        : files_(files), directory_(std::move(directory)) {}

    /// Starts over, without entries, at time `now`.
    Status open(WallMs now);

    /// Adds an entry that comes out with the tick `tick`, not below an earlier first_open().
    void add(const TimerEntry& timer, WallMs tick);
    /// Writes to disk when more is in memory than may be.
    Status write();
    /// Spreads at most `entries_max` entries of slots that are near `now`. True: there is more to
    /// spread.
    Result<bool> advance(WallMs now, std::size_t entries_max);

    /// All entries of ticks below it can be taken.
    WallMs first_open() const noexcept { return open_.back(); }

    /// The first tick that has entries, of those below first_open(); kNever: none has.
    WallMs first_tick() const noexcept;
    /// At most `count_max` of its next entries, which stay until they are dropped.
    Result<std::vector<TimerEntry>> peek(WallMs tick, std::size_t count_max);
    /// The next `count` entries of the tick are done with.
    void drop(WallMs tick, std::size_t count);
    /// When there is something to do next: the first tick, or a slot that comes near.
    WallMs next_event() const noexcept;

    std::size_t size() const noexcept { return size_; }

private:
    static constexpr std::size_t kKinds = 4;  ///< hours, minutes, seconds, ticks

    struct Slot {
        std::uint64_t written = 0;  ///< entries in the file
        std::uint64_t taken = 0;    ///< done with, from its first on
        std::vector<TimerEntry> tail;

        std::uint64_t size() const noexcept { return written + tail.size(); }
    };

    using Key = std::pair<std::size_t, WallMs>;  ///< kind, begin
    using Slots = std::map<Key, Slot>;

    std::filesystem::path path_of(const Key& key) const;

    Slots::const_iterator first_of(std::size_t kind) const { return slots_.lower_bound({kind, 0}); }

    Status write_slot(const Key& key, Slot& slot);
    Result<std::vector<TimerEntry>> next_of(const Key& key, const Slot& slot, std::size_t count);
    void drop_from(Slots::iterator slot, std::size_t count);
    Result<bool> spread(std::size_t kind, WallMs until, std::size_t& entries_left);

    FileSystem& files_;
    const std::filesystem::path directory_;
    Slots slots_;
    std::array<WallMs, kKinds - 1> open_{};  ///< by kind: what is below is in slots of later kinds
    std::size_t size_ = 0;
    std::size_t buffered_ = 0;
};

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/file_system.h"
#include "common/ids.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/result.h"

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace gantry::storage {

/// A piece [from, to) of the log that is damaged or missing. Its bytes stay as they are.
struct LostRange {
    LogOffset from;
    LogOffset to;
    WallMs found_ms = 0;
    std::uint64_t messages = 0;  ///< lost with it, as far as known
    std::string reason{};

    std::uint64_t bytes() const noexcept { return static_cast<std::uint64_t>(to - from); }

    bool overlaps(LogOffset begin, LogOffset end) const noexcept {
        return from < end && to > begin;
    }
};

using LostRangeList = std::vector<LostRange>;

/// The first range of `list`, which is ascending, that overlaps [from, to), or null.
const LostRange* find_lost(const LostRangeList& list, LogOffset from, LogOffset to) noexcept;

/// What is quarantined: pieces of the log of which nothing is served. Readers step over every
/// message that overlaps one; a start neither walks them nor reports them again.
///
///   log   o------[from  to)-------[from  to)------o     kept in <store>/lost, replaced atomically
///           served        served            served
///
/// Threads   any. Readers take a snapshot; the changes block on the disk, one at a time.
/// Errors    of add, cut, forget_before: the change holds in memory, but not after a restart.
/// Lifetime  `files` outlives it.
/// Limits    reasons of 1,000 bytes; a file of 64 MiB.
/// Source    docs/formats/commit-log.md.
class LostRanges {
public:
    /// The list, and why it is empty although there is a file.
    struct Opened {
        std::unique_ptr<LostRanges> ranges;
        std::string damage;  ///< empty: the file is whole, or there is none
    };

    /// Reads the file. One that is damaged gives an empty list: everything has to be looked at
    /// again. kIo: it cannot be read.
    static Result<Opened> open(FileSystem& files, const std::filesystem::path& path);

    LostRanges(FileSystem& files, std::filesystem::path path);

    /// Whether nothing is lost: all that a read of a sound store pays.
    bool empty() const noexcept { return is_empty_.load(std::memory_order_acquire); }

    /// Ascending, without overlaps; neighbours are not joined.
    std::shared_ptr<const LostRangeList> snapshot() const;

    /// Adds what of `range` is in none of the list yet; readers see it at once, then it is made
    /// durable. Returns the pieces that are new, maybe none.
    Result<LostRangeList> add(LostRange range);
    /// The same for several, with one write.
    Result<LostRangeList> add(const LostRangeList& ranges);

    /// What is in [from, to) was mended: whole ranges in it are lost no more. Durable before
    /// readers get them; with an error they stay lost.
    Status remove(LogOffset from, LogOffset to);
    /// The log ends at `tail` now: what comes there is new.
    Status cut(LogOffset tail);
    /// The log begins at `first` now: ranges that end at or below are forgotten.
    Status forget_before(LogOffset first);

    /// Shows bytes, ranges and messages as metrics.
    void register_metrics(MetricRegistry& metrics) const;

private:
    /// What gauges show; shared with the metric registry, which may outlive the list.
    struct Numbers {
        std::atomic<std::uint64_t> bytes{0};
        std::atomic<std::uint64_t> ranges{0};
        std::atomic<std::uint64_t> messages{0};
    };

    void publish(LostRangeList list);
    Status save(const LostRangeList& list);

    FileSystem& files_;
    const std::filesystem::path path_;
    const std::shared_ptr<Numbers> numbers_ = std::make_shared<Numbers>();
    std::atomic<bool> is_empty_{true};
    Mutex change_mutex_;  ///< one change at a time, file included; before mutex_
    mutable Mutex mutex_;
    std::shared_ptr<const LostRangeList> list_ GANTRY_GUARDED_BY(mutex_) =
        std::make_shared<const LostRangeList>();
};

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/store_parts.h"

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace gantry::storage {
namespace {

constexpr std::size_t kUnitsAtOnce = 64;

/// linux/mman.h of 6.5; Debian 12 has older headers and may have an older kernel.
struct CacheStatRange {
    std::uint64_t offset;
    std::uint64_t length;
};

struct CacheStat {
    std::uint64_t cached_pages;
    std::uint64_t dirty_pages;
    std::uint64_t writeback_pages;
    std::uint64_t evicted_pages;
    std::uint64_t recently_evicted_pages;
};

constexpr long kCacheStatCall = 451;

std::uint64_t page_bytes() noexcept {
    static const auto bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    return bytes;
}

/// Whether the mapped pages are in memory.
bool is_resident(Bytes memory) {
    const std::uint64_t page = page_bytes();
    const std::size_t before = reinterpret_cast<std::uintptr_t>(memory.data()) % page;
    const std::size_t length = before + memory.size();
    auto* const begin = const_cast<std::byte*>(memory.data() - before);  // not written to
    std::vector<unsigned char> pages((length + page - 1) / page);
    return ::mincore(begin, length, pages.data()) == 0 &&
           std::all_of(pages.begin(), pages.end(), [](unsigned char in) { return (in & 1U) != 0; });
}

/// Whether the run can be sent without waiting for the disk. In doubt not.
bool is_cached(const LogRun& run) {
    const std::uint64_t page = page_bytes();
    CacheStatRange range{run.file_offset, run.length};
    CacheStat stat{};
    if (::syscall(kCacheStatCall, run.fd, &range, &stat, 0U) == 0) {
        const std::uint64_t last = (run.file_offset + run.length - 1) / page;
        return stat.cached_pages > last - run.file_offset / page;
    }
    return !run.memory.empty() && is_resident(run.memory);
}

/// One read in progress: walks units, collects runs.
class ReadWalk {
public:
    ReadWalk(const Store::Parts& parts,
             const QueueIndex& index,
             const ReadRequest& request,
             ReadResult& result)
        : request_(request),
          result_(result),
          index_(index),
          segments_(parts.log->segments().snapshot()),
          lost_(parts.lost->empty() ? nullptr : parts.lost->snapshot()),
          marks_(parts.log->watermarks()),
          hot_from_(marks_.appended - static_cast<std::int64_t>(parts.options.hot_bytes)) {}

    /// What to do behind a unit.
    enum class Step : std::uint8_t {
        kNext,  ///< take the next one
        kJump,  ///< take the one at `next`: lost messages were stepped over
        kEnd,
    };

    /// Deals with the unit at `next`, and moves that on.
    Step take(const QueueUnit& unit);

    /// Whether some run lies behind the hot window, where pages may have been evicted.
    bool may_be_cold() const noexcept { return may_be_cold_; }

private:
    Step skip_damage(QueueOffset to);
    bool is_wanted(const QueueUnit& unit) const;
    bool is_sane(const QueueUnit& unit, const Segment& segment) const;
    void add(const QueueUnit& unit);

    const ReadRequest& request_;
    ReadResult& result_;
    const QueueIndex& index_;
    std::shared_ptr<const SegmentList> segments_;
    std::shared_ptr<const LostRangeList> lost_;  ///< null: nothing is lost
    const Watermarks marks_;
    const LogOffset hot_from_;
    bool may_be_cold_ = false;
    SegmentPtr segment_;  ///< of the last unit
    LogOffset run_end_;   ///< of the last run
};

ReadWalk::Step ReadWalk::take(const QueueUnit& unit) {
    if (unit.is_hole()) {
        // Holes lie where the message behind them does.
        return skip_damage(std::max(index_.lower_bound(unit.at + 1) - 1, result_.next + 1));
    }
    if (unit.size <= 0 || unit.at < marks_.first) {
        return skip_damage(result_.next + 1);
    }
    if (lost_ != nullptr) {
        if (const LostRange* const lost = find_lost(*lost_, unit.at, unit.end())) {
            return skip_damage(std::max(index_.lower_bound(lost->to), result_.next + 1));
        }
    }
    if (unit.end() > marks_.confirmed || result_.status == ReadStatus::kCorrupt) {
        return Step::kEnd;
    }
    if (!is_wanted(unit)) {
        result_.next += 1;
        return Step::kNext;
    }
    const auto size = static_cast<std::uint64_t>(unit.size);
    if (result_.count > 0 &&
        (result_.count >= request_.count_max || result_.bytes + size > request_.bytes_max)) {
        return Step::kEnd;
    }
    if (segment_ == nullptr || unit.at < segment_->base() || unit.at >= segment_->end()) {
        segment_ = find_segment(*segments_, unit.at);
    }
    if (segment_ == nullptr || unit.end() > segment_->end() || !is_sane(unit, *segment_)) {
        return skip_damage(result_.next + 1);
    }
    add(unit);
    result_.next += 1;
    return Step::kNext;
}

/// Records before the damage are served first; then the damage is told, then what is behind it.
ReadWalk::Step ReadWalk::skip_damage(QueueOffset to) {
    if (result_.count > 0) {
        return Step::kEnd;
    }
    if (result_.status != ReadStatus::kCorrupt) {
        result_.status = ReadStatus::kCorrupt;
        result_.lost_from = result_.next;
    }
    result_.next = std::min(to, result_.max);
    return Step::kJump;
}

bool ReadWalk::is_wanted(const QueueUnit& unit) const {
    const std::vector<std::int64_t>* const hashes = request_.tag_hashes;
    return hashes == nullptr ||
           std::find(hashes->begin(), hashes->end(), unit.tag_hash) != hashes->end();
}

bool ReadWalk::is_sane(const QueueUnit& unit, const Segment& segment) const {
    if (unit.size < static_cast<std::int32_t>(wire::kRecordBytesMin)) {
        return false;
    }
    // Cold bytes are not touched here: it could wait for the disk.
    if (!segment.is_mapped() || unit.at < hot_from_) {
        return true;
    }
    const std::byte* const record = segment.memory(unit.at);
    const auto magic = load_be<std::uint32_t>(record + wire::record_at::kMagic);
    return load_be<std::int32_t>(record + wire::record_at::kSize) == unit.size &&
           (magic == wire::kMagicV1 || magic == wire::kMagicV2);
}

void ReadWalk::add(const QueueUnit& unit) {
    const auto size = static_cast<std::uint64_t>(unit.size);
    if (!result_.runs.empty() && run_end_ == unit.at && unit.at != segment_->base()) {
        LogRun& run = result_.runs.back();
        run.length += size;
        if (!run.memory.empty()) {
            run.memory = Bytes(run.memory.data(), run.length);
        }
    } else {
        LogRun run;
        if (segment_->is_mapped()) {
            run.memory = Bytes(segment_->memory(unit.at), size);
        }
        run.fd = segment_->file().descriptor();
        run.file_offset = bytes_between(segment_->base(), unit.at);
        run.length = size;
        run.pin = segment_;
        result_.runs.push_back(std::move(run));
    }
    may_be_cold_ = may_be_cold_ || unit.at < hot_from_;
    run_end_ = unit.end();
    result_.bytes += size;
    result_.count += 1;
    result_.status = ReadStatus::kFound;
}

}  // namespace

ReadResult Store::read(const Queue& queue, const ReadRequest& request) const {
    ReadResult result;
    const QueueIndex& index = *queue.index;
    result.min = index.min();
    result.max = confirmed_max(queue);
    result.next = request.from;
    if (request.from < result.min) {
        result.status = ReadStatus::kTooSmall;
        result.next = result.min;
        return result;
    }
    if (request.from >= result.max) {
        result.status = request.from == result.max ? ReadStatus::kAtEnd : ReadStatus::kTooLarge;
        result.next = result.max;
        return result;
    }
    result.status = ReadStatus::kNoMatch;
    ReadWalk walk(*parts_, index, request, result);
    std::array<QueueUnit, kUnitsAtOnce> units;
    std::uint32_t examined = 0;
    auto step = ReadWalk::Step::kNext;
    while (step != ReadWalk::Step::kEnd && examined < request.scan_max &&
           result.next < result.max) {
        const std::size_t room = std::min<std::size_t>(units.size(), request.scan_max - examined);
        const std::size_t count = index.read(result.next, std::span(units).first(room));
        step = count > 0 ? ReadWalk::Step::kNext : ReadWalk::Step::kEnd;
        for (std::size_t i = 0; i < count && step == ReadWalk::Step::kNext; ++i) {
            step = walk.take(units[i]);
            ++examined;
        }
    }
    result.is_cold =
        walk.may_be_cold() && !std::all_of(result.runs.begin(), result.runs.end(), is_cached);
    return result;
}

QueueOffset Store::confirmed_max(const Queue& queue) const {
    const QueueIndex& index = *queue.index;
    const QueueOffset max = index.max();
    const LogOffset confirmed = parts_->confirmed();
    const std::optional<QueueUnit> last = index.unit_at(max - 1);
    if (!last || last->is_hole() || last->end() <= confirmed) {
        return max;
    }
    // Appends are confirmed whole, so a unit is confirmed when it starts below.
    return index.lower_bound(confirmed);
}

void Store::warm_up(const ReadResult& result) const {
    constexpr std::size_t kStepBytes = 256 << 10;
    std::vector<std::byte> scratch(kStepBytes);
    for (const LogRun& run : result.runs) {
        ::readahead(run.fd, static_cast<off_t>(run.file_offset), run.length);
    }
    for (const LogRun& run : result.runs) {
        for (std::uint64_t done = 0; done < run.length; done += kStepBytes) {
            const std::size_t bytes = std::min<std::uint64_t>(kStepBytes, run.length - done);
            // An error shows when the bytes are sent.
            static_cast<void>(
                ::pread(run.fd, scratch.data(), bytes, static_cast<off_t>(run.file_offset + done)));
        }
    }
}

}  // namespace gantry::storage

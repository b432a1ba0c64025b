// SPDX-License-Identifier: Apache-2.0
#include "storage/cold/page_cache.h"
#include "storage/index/unit_tag.h"
#include "storage/store_parts.h"

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <unistd.h>

namespace gantry::storage {
namespace {

constexpr std::size_t kUnitsAtOnce = 64;

constexpr auto kRecordBytesMin = static_cast<std::int32_t>(wire::kRecordBytesMin);

/// How much of the log is asked about at once: whether it is in memory.
constexpr std::int64_t kLookBytes = 64 << 10;

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
          clock_(request.now) {}

    /// What to do behind a unit.
    enum class Step : std::uint8_t {
        kNext,  ///< take the next one
        kJump,  ///< take the one at `next`: lost messages were stepped over
        kEnd,
    };

    /// Deals with the unit at `next`, and moves that on.
    Step take(const QueueUnit& unit);

    /// Whether the walk has come to messages that are just being deleted.
    bool is_deleted() const noexcept { return is_deleted_; }

    LogOffset log_first() const noexcept { return marks_.first; }

private:
    Step skip_damage(QueueOffset to);
    bool is_wanted(const QueueUnit& unit) const;
    bool is_sane(const QueueUnit& unit) const;
    bool is_in_memory(const QueueUnit& unit);
    std::uint64_t room() const;
    void add(const QueueUnit& unit);

    const ReadRequest& request_;
    ReadResult& result_;
    const QueueIndex& index_;
    std::shared_ptr<const SegmentList> segments_;
    std::shared_ptr<const LostRangeList> lost_;  ///< null: nothing is lost
    const Watermarks marks_;
    const ExpiryClock clock_;
    bool is_deleted_ = false;
    SegmentPtr segment_;              ///< of the last unit
    LogOffset run_end_;               ///< of the last run
    LogOffset look_from_, look_end_;  ///< is in memory
};

ReadWalk::Step ReadWalk::take(const QueueUnit& unit) {
    if (unit.at < marks_.first) {
        is_deleted_ = true;
        return Step::kEnd;
    }
    if (unit.is_hole()) {
        // Holes lie where the message behind them does.
        return skip_damage(std::max(index_.lower_bound(unit.at + 1) - 1, result_.next + 1));
    }
    if (unit.size <= 0) {
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
    const bool is_over = clock_.is_over(unit.tag);
    result_.expired += is_over ? 1 : 0;
    if (is_over || !is_wanted(unit)) {
        result_.next += 1;
        return Step::kNext;
    }
    const auto size = static_cast<std::uint64_t>(unit.size);
    if (result_.count > 0 &&
        (result_.count >= request_.count_max || result_.bytes + size > room())) {
        return Step::kEnd;
    }
    if (segment_ == nullptr || unit.at < segment_->base() || unit.at >= segment_->end()) {
        segment_ = find_segment(*segments_, unit.at);
    }
    if (segment_ == nullptr || unit.end() > segment_->end() || unit.size < kRecordBytesMin) {
        return skip_damage(result_.next + 1);
    }
    if (!result_.is_cold && !is_in_memory(unit)) {
        // What is in memory before it is given first. A loop needs not know more.
        if (result_.count > 0) {
            return Step::kEnd;
        }
        result_.is_cold = true;
        result_.status = ReadStatus::kFound;
        if (request_.is_in_loop) {
            return Step::kEnd;
        }
    }
    if (!result_.is_cold && !is_sane(unit)) {
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
           std::find(hashes->begin(), hashes->end(), tag_hash_in(unit.tag)) != hashes->end();
}

std::uint64_t ReadWalk::room() const {
    return result_.is_cold ? std::min(request_.cold_bytes_max, request_.bytes_max)
                           : request_.bytes_max;
}

bool ReadWalk::is_sane(const QueueUnit& unit) const {
    if (!segment_->is_mapped()) {
        return true;
    }
    const std::byte* const record = segment_->memory(unit.at);
    const auto magic = load_be<std::uint32_t>(record + wire::record_at::kMagic);
    return load_be<std::int32_t>(record + wire::record_at::kSize) == unit.size &&
           (magic == wire::kMagicV1 || magic == wire::kMagicV2);
}

/// Asks the kernel, for more than the unit at once.
bool ReadWalk::is_in_memory(const QueueUnit& unit) {
    if (request_.is_fresh || (unit.at >= look_from_ && unit.end() <= look_end_)) {
        return true;
    }
    const int fd = segment_->file().descriptor();
    const std::uint64_t inside = bytes_between(segment_->base(), unit.at);
    const LogOffset end =
        std::max(unit.end(), std::min({unit.at + kLookBytes, segment_->end(), marks_.appended}));
    if (is_cached(fd, inside, bytes_between(unit.at, end))) {
        look_from_ = unit.at;
        look_end_ = end;
        return true;
    }
    return is_cached(fd, inside, static_cast<std::uint64_t>(unit.size));
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
        run.at = unit.at;
        result_.runs.push_back(std::move(run));
    }
    run_end_ = unit.end();
    result_.bytes += size;
    result_.count += 1;
    result_.status = ReadStatus::kFound;
}

bool are_units_in_memory(const QueueIndex& index, const ReadRequest& request) {
    const std::size_t count = std::min<std::size_t>(request.count_max, kUnitsAhead);
    const std::vector<Bytes> memory = index.memory_of(request.from, count);
    return std::all_of(memory.begin(), memory.end(), [](Bytes units) {
        return is_resident(units.data(), units.size());
    });
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
    if (request.is_in_loop && !request.is_fresh && !are_units_in_memory(index, request)) {
        result.status = ReadStatus::kFound;
        result.is_cold = true;
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
    if (walk.is_deleted() && result.count == 0) {
        result.min = index.lower_bound(walk.log_first());
        result.status = ReadStatus::kTooSmall;
        result.next = result.min;
        return result;
    }
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

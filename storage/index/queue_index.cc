// SPDX-License-Identifier: Apache-2.0
#include "storage/index/queue_index.h"

#include "common/check.h"
#include "storage/index/consume_queues.h"
#include "storage/index/extent_files.h"

#include <algorithm>

namespace gantry::storage {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;
constexpr std::int64_t kUnit = kUnitBytes;
constexpr std::int64_t kOffsetMax = std::int64_t{1} << 60U;

/// Extents of a class before the next ones are larger. The small ones of many slow queues share
/// pages: a checkpoint then writes, and appends after it fault in, a quarter as many.
constexpr std::size_t kExtentsOfClass = 4;

void encode_unit(std::byte* at, const QueueUnit& unit) noexcept {
    store_be(at, unit.at.value);
    store_be(at + 8, unit.size);
    store_be(at + 12, unit.tag);
}

/// Class of the extent behind `entries`.
std::uint32_t next_class(const std::vector<ExtentEntry>& entries) noexcept {
    if (entries.empty()) {
        return 0;
    }
    const std::uint32_t last = entries.back().place.extent_class();
    if (last + 1 == kExtentClasses) {
        return last;
    }
    const auto is_other = [last](const ExtentEntry& entry) {
        return entry.place.extent_class() != last;
    };
    const auto other = std::find_if(entries.rbegin(), entries.rend(), is_other);
    const auto count = static_cast<std::size_t>(other - entries.rbegin());
    return count < kExtentsOfClass ? last : last + 1;
}

}  // namespace

QueueUnit decode_unit(const std::byte* at) noexcept {
    return {LogOffset(load_be<std::int64_t>(at)),
            load_be<std::int32_t>(at + 8),
            load_be<std::int64_t>(at + 12)};
}

QueueIndex::QueueIndex(ConsumeQueues& owner, std::uint64_t uid)
    : owner_(&owner), extents_(std::make_unique<ExtentList>()) {
    extents_->uid = uid;
}

QueueIndex::~QueueIndex() = default;

Mutex& QueueIndex::stripe() const noexcept {
    return owner_->stripe_of(this);
}

std::byte* QueueIndex::locate(std::int64_t at) const noexcept {
    const std::vector<ExtentEntry>& entries = extents_->entries;
    auto entry = entries.end();
    if (!entries.empty() && at < entries.back().base) {
        entry = std::upper_bound(
            entries.begin(), entries.end(), at, [](std::int64_t offset, const ExtentEntry& e) {
                return offset < e.base;
            });
    }
    if (entry == entries.begin() || (--entry)->end() <= at) {
        return nullptr;
    }
    return owner_->files().data(entry->place) + kExtentHeaderBytes + (at - entry->base) * kUnit;
}

void QueueIndex::put(QueueOffset at, const QueueUnit& unit) noexcept {
    // tail_units_ belongs to the base read before and after it: bases never repeat.
    const std::int64_t base = tail_base_.load(kAcquire);
    if (at.value >= base) [[likely]] {
        std::byte* const units = tail_units_.load(kAcquire);
        if (tail_base_.load(kRelaxed) == base) [[likely]] {
            encode_unit(units + (at.value - base) * kUnit, unit);
            return;
        }
    }
    const MutexLock lock(stripe());
    std::byte* const place = locate(at.value);
    GANTRY_ASSERT(place != nullptr);
    encode_unit(place, unit);
}

Status QueueIndex::ensure_room(std::uint32_t count) {
    const MutexLock lock(stripe());
    return ensure_room_until(next_.load(kRelaxed) + static_cast<std::int64_t>(count));
}

Status QueueIndex::ensure_room_until(std::int64_t end) {
    if (room_end_.load(kRelaxed) == kSealed) {
        return Error{Errc::kNotFound, "the topic of this queue was deleted"};
    }
    while (room_end_.load(kRelaxed) < end) {
        GANTRY_TRY(add_extent(end));
    }
    return ok();
}

Status QueueIndex::add_extent(std::int64_t end) {
    std::vector<ExtentEntry>& entries = extents_->entries;
    ExtentEntry entry;
    entry.base = entries.empty() ? next_.load(kRelaxed) : entries.back().end();
    std::uint32_t extent_class = next_class(entries);
    while (extent_class + 1 < kExtentClasses && extent_units(extent_class) < end - entry.base) {
        ++extent_class;
    }
    GANTRY_ASSIGN_OR_RETURN(entry.place, owner_->files().take(extent_class));
    write_extent_header(owner_->files().data(entry.place),
                        {extent_class, extents_->uid, entry.base});
    entries.push_back(entry);
    set_tail();
    return ok();
}

void QueueIndex::set_tail() noexcept {
    const std::vector<ExtentEntry>& entries = extents_->entries;
    tail_base_.store(kNoTail, kRelaxed);
    if (entries.empty()) {
        room_end_.store(next_.load(kRelaxed), kRelease);
        return;
    }
    const ExtentEntry& tail = entries.back();
    tail_units_.store(owner_->files().data(tail.place) + kExtentHeaderBytes, kRelease);
    tail_base_.store(tail.base, kRelease);
    room_end_.store(tail.end(), kRelease);
}

std::size_t QueueIndex::read(QueueOffset from, std::span<QueueUnit> into) const {
    const MutexLock lock(stripe());
    const std::int64_t end =
        std::min(max_.load(kAcquire), from.value + static_cast<std::int64_t>(into.size()));
    if (from.value < min_.load(kRelaxed)) {
        return 0;
    }
    const std::vector<ExtentEntry>& entries = extents_->entries;
    auto entry = std::upper_bound(
        entries.begin(), entries.end(), from.value, [](std::int64_t at, const ExtentEntry& e) {
            return at < e.base;
        });
    if (entry == entries.begin()) {
        return 0;
    }
    --entry;
    std::size_t count = 0;
    std::int64_t at = from.value;
    for (; at < end && entry != entries.end(); ++entry) {
        const std::int64_t stop = std::min(end, entry->end());
        const std::byte* unit =
            owner_->files().data(entry->place) + kExtentHeaderBytes + (at - entry->base) * kUnit;
        for (; at < stop; ++at, unit += kUnit) {
            into[count++] = decode_unit(unit);
        }
    }
    return count;
}

std::vector<Bytes> QueueIndex::memory_of(QueueOffset from, std::size_t count) const {
    std::vector<Bytes> memory;
    const MutexLock lock(stripe());
    const std::int64_t end =
        std::min(max_.load(kAcquire), from.value + static_cast<std::int64_t>(count));
    const std::vector<ExtentEntry>& entries = extents_->entries;
    auto entry = std::partition_point(entries.begin(), entries.end(), [&](const ExtentEntry& e) {
        return e.end() <= from.value;
    });
    for (; entry != entries.end() && entry->base < end; ++entry) {
        const std::int64_t begin = std::max(from.value, entry->base);
        const std::int64_t stop = std::min(end, entry->end());
        memory.emplace_back(
            owner_->files().data(entry->place) + kExtentHeaderBytes + (begin - entry->base) * kUnit,
            static_cast<std::size_t>((stop - begin) * kUnit));
    }
    return memory;
}

std::optional<QueueUnit> QueueIndex::unit_at(QueueOffset at) const {
    QueueUnit unit;
    if (read(at, {&unit, 1}) == 0) {
        return std::nullopt;
    }
    return unit;
}

QueueOffset QueueIndex::lower_bound(LogOffset at) const {
    const MutexLock lock(stripe());
    return QueueOffset(lower_bound_locked(at));
}

std::int64_t QueueIndex::lower_bound_locked(LogOffset at) const noexcept {
    std::int64_t low = min_.load(kRelaxed);
    std::int64_t high = std::max(low, max_.load(kAcquire));
    while (low < high) {
        const std::int64_t middle = low + (high - low) / 2;
        const std::byte* const unit = locate(middle);
        if (unit == nullptr) {
            return high;
        }
        if (decode_unit(unit).at < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void QueueIndex::put_and_publish(std::int64_t at, const QueueUnit& unit) noexcept {
    std::byte* const place = locate(at);
    GANTRY_ASSERT(place != nullptr);
    encode_unit(place, unit);
    next_.store(at + 1, kRelaxed);
    max_.store(at + 1, kRelease);
}

void QueueIndex::free_extents_locked() {
    for (const ExtentEntry& entry : extents_->entries) {
        owner_->files().give_back(entry.place);
    }
    std::vector<ExtentEntry>().swap(extents_->entries);
}

void QueueIndex::move_empty_to(std::int64_t at) {
    free_extents_locked();
    next_.store(at, kRelaxed);
    min_.store(at, kRelaxed);
    max_.store(at, kRelease);
    set_tail();
}

void QueueIndex::begin_at(QueueOffset at) {
    const MutexLock lock(stripe());
    if (min_.load(kRelaxed) == max_.load(kRelaxed) && at.value > max_.load(kRelaxed)) {
        move_empty_to(at.value);
    }
}

Status QueueIndex::restore(QueueOffset at, const QueueUnit& unit) {
    const MutexLock lock(stripe());
    const std::int64_t min = min_.load(kRelaxed);
    const std::int64_t max = max_.load(kRelaxed);
    if (at.value < 0 || at.value > kOffsetMax) {
        return Error{Errc::kCorrupt,
                     "queue offset " + std::to_string(at.value) +
                         " in the log is not within 0 to " + std::to_string(kOffsetMax)};
    }
    if (at.value < min) {
        return ok();
    }
    if (at.value < max) {
        encode_unit(locate(at.value), unit);
        return ok();
    }
    if (at.value > max && min == max) {
        move_empty_to(at.value);
    } else if (at.value - max > kGapMax) {
        return Error{Errc::kCorrupt,
                     "queue offset " + std::to_string(at.value) + " in the log is " +
                         std::to_string(at.value - max) + " behind the one before, limit " +
                         std::to_string(kGapMax)};
    }
    GANTRY_TRY(ensure_room_until(at.value + 1));
    for (std::int64_t hole = max_.load(kRelaxed); hole < at.value; ++hole) {
        put_and_publish(hole, {unit.at, QueueUnit::kHoleSize, 0});
    }
    put_and_publish(at.value, unit);
    return ok();
}

bool QueueIndex::rewrite(QueueOffset at, const QueueUnit& unit) {
    const MutexLock lock(stripe());
    if (at.value < min_.load(kRelaxed) || at.value >= max_.load(kAcquire)) {
        return false;
    }
    std::byte* const place = locate(at.value);
    if (place == nullptr) {
        return false;
    }
    encode_unit(place, unit);
    return true;
}

void QueueIndex::truncate_to(LogOffset end) {
    const MutexLock lock(stripe());
    const std::int64_t max = lower_bound_locked(end);
    if (max == max_.load(kRelaxed)) {
        return;
    }
    next_.store(max, kRelaxed);
    max_.store(max, kRelease);
    std::vector<ExtentEntry>& entries = extents_->entries;
    while (entries.size() > 1 && entries.back().base >= max) {
        owner_->files().give_back(entries.back().place);
        entries.pop_back();
    }
    set_tail();
}

void QueueIndex::advance_min(QueueOffset to) {
    const MutexLock lock(stripe());
    advance_min_locked(std::min(to.value, max_.load(kAcquire)));
}

void QueueIndex::advance_min(LogOffset first) {
    const MutexLock lock(stripe());
    const std::byte* const oldest = locate(min_.load(kRelaxed));
    if (oldest != nullptr && decode_unit(oldest).at < first) {
        advance_min_locked(lower_bound_locked(first));
    }
}

void QueueIndex::advance_min_locked(std::int64_t to) {
    if (to <= min_.load(kRelaxed)) {
        return;
    }
    min_.store(to, kRelease);
    std::vector<ExtentEntry>& entries = extents_->entries;
    if (entries.empty()) {
        return;
    }
    const auto keep = std::find_if(entries.begin(),
                                   std::prev(entries.end()),
                                   [to](const ExtentEntry& entry) { return entry.end() > to; });
    for (auto entry = entries.begin(); entry != keep; ++entry) {
        owner_->files().give_back(entry->place);
    }
    entries.erase(entries.begin(), keep);
}

}  // namespace gantry::storage

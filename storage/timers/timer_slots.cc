// SPDX-License-Identifier: Apache-2.0
#include "storage/timers/timer_slots.h"

#include "common/bytes.h"
#include "common/checksum.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace gantry::storage {
namespace {

constexpr std::size_t kEntryBytes = 24;
constexpr std::size_t kCheckAt = 20;
constexpr std::array<WallMs, 4> kWidthMs = {3'600'000, 60'000, 1'000, kTimerTickMs};
constexpr std::array<WallMs, 3> kLeadMs = {600'000, 10'000, 1'500};

WallMs begin_of(std::size_t kind, WallMs time) noexcept {
    return time / kWidthMs[kind] * kWidthMs[kind];
}

std::uint32_t check_of(const std::byte* entry) noexcept {
    return static_cast<std::uint32_t>(xxh3({entry, kCheckAt}));
}

void encode(const TimerEntry& timer, std::byte* into) noexcept {
    store_be(into, timer.due);
    store_be(into + 8, timer.at.value);
    store_be(into + 16, timer.size);
    store_be(into + kCheckAt, check_of(into));
}

}  // namespace

std::filesystem::path TimerSlots::path_of(const Key& key) const {
    return directory_ / (std::to_string(key.first) + '-' + std::to_string(key.second));
}

Status TimerSlots::open(WallMs now) {
    slots_.clear();
    size_ = 0;
    buffered_ = 0;
    GANTRY_TRY(files_.create_directories(directory_));
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.list(directory_));
    for (const std::string& name : names) {
        GANTRY_TRY(files_.remove(directory_ / name));
    }
    for (std::size_t kind = 0; kind < open_.size(); ++kind) {
        open_[kind] = begin_of(kind, std::max<WallMs>(now, 0) + kLeadMs[kind]) + kWidthMs[kind];
    }
    return ok();
}

void TimerSlots::add(const TimerEntry& timer, WallMs tick) {
    std::size_t kind = 0;
    while (kind < open_.size() && tick < open_[kind]) {
        ++kind;
    }
    slots_[{kind, begin_of(kind, tick)}].tail.push_back(timer);
    ++size_;
    ++buffered_;
}

Status TimerSlots::write() {
    if (buffered_ <= kBuffered) {
        return ok();
    }
    for (auto& [key, slot] : slots_) {
        GANTRY_TRY(write_slot(key, slot));
    }
    return ok();
}

Status TimerSlots::write_slot(const Key& key, Slot& slot) {
    if (slot.tail.empty()) {
        return ok();
    }
    std::vector<std::byte> bytes(slot.tail.size() * kEntryBytes);
    for (std::size_t i = 0; i < slot.tail.size(); ++i) {
        encode(slot.tail[i], bytes.data() + i * kEntryBytes);
    }
    GANTRY_ASSIGN_OR_RETURN(const auto file, files_.open(path_of(key), FileSystem::Open::kCreate));
    GANTRY_TRY(file->write_at(slot.written * kEntryBytes, bytes));
    slot.written += slot.tail.size();
    buffered_ -= slot.tail.size();
    slot.tail = {};
    return ok();
}

Result<std::vector<TimerEntry>> TimerSlots::next_of(const Key& key,
                                                    const Slot& slot,
                                                    std::size_t count) {
    if (slot.taken >= slot.written) {
        const auto from =
            slot.tail.begin() + static_cast<std::ptrdiff_t>(slot.taken - slot.written);
        const auto left = static_cast<std::size_t>(slot.tail.end() - from);
        return std::vector<TimerEntry>(from,
                                       from + static_cast<std::ptrdiff_t>(std::min(count, left)));
    }
    count = static_cast<std::size_t>(std::min<std::uint64_t>(count, slot.written - slot.taken));
    std::vector<std::byte> bytes(count * kEntryBytes);
    GANTRY_ASSIGN_OR_RETURN(const auto file, files_.open(path_of(key), FileSystem::Open::kRead));
    GANTRY_ASSIGN_OR_RETURN(const std::size_t got, file->read_at(slot.taken * kEntryBytes, bytes));
    std::vector<TimerEntry> entries;
    entries.reserve(count);
    for (const std::byte* at = bytes.data(); at != bytes.data() + got / kEntryBytes * kEntryBytes;
         at += kEntryBytes) {
        if (load_be<std::uint32_t>(at + kCheckAt) != check_of(at)) {
            break;
        }
        entries.push_back({load_be<std::int64_t>(at),
                           LogOffset(load_be<std::int64_t>(at + 8)),
                           load_be<std::int32_t>(at + 16)});
    }
    if (entries.size() < count) {
        return Error{Errc::kCorrupt,
                     path_of(key).string() + ": entry " +
                         std::to_string(slot.taken + entries.size()) + " is not what was written"};
    }
    return entries;
}

void TimerSlots::drop_from(Slots::iterator slot, std::size_t count) {
    slot->second.taken += count;
    size_ -= count;
    if (slot->second.taken < slot->second.size()) {
        return;
    }
    buffered_ -= slot->second.tail.size();
    if (slot->second.written > 0) {
        // One that cannot be removed is removed by the next open().
        static_cast<void>(files_.remove(path_of(slot->first)));
    }
    slots_.erase(slot);
}

/// Spreads slots of `kind` that begin before `until`. True: not all of them.
Result<bool> TimerSlots::spread(std::size_t kind, WallMs until, std::size_t& entries_left) {
    for (;;) {
        const auto slot = slots_.lower_bound({kind, 0});
        if (slot == slots_.end() || slot->first.first != kind || slot->first.second >= until) {
            open_[kind] = std::max(open_[kind], until);
            return false;
        }
        if (entries_left == 0) {
            return true;
        }
        GANTRY_ASSIGN_OR_RETURN(const std::vector<TimerEntry> entries,
                                next_of(slot->first, slot->second, entries_left));
        for (const TimerEntry& timer : entries) {
            const WallMs tick = std::max(timer.tick(), slot->first.second);
            slots_[{kind + 1, begin_of(kind + 1, tick)}].tail.push_back(timer);
        }
        size_ += entries.size();
        buffered_ += entries.size();
        entries_left -= entries.size();
        drop_from(slot, entries.size());
    }
}

Result<bool> TimerSlots::advance(WallMs now, std::size_t entries_max) {
    std::size_t left = entries_max;
    for (std::size_t kind = 0; kind < open_.size(); ++kind) {
        const WallMs until = begin_of(kind, now + kLeadMs[kind]) + kWidthMs[kind];
        if (until <= open_[kind]) {
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const bool has_more, spread(kind, until, left));
        GANTRY_TRY(write());
        if (has_more) {
            return true;
        }
    }
    return false;
}

WallMs TimerSlots::first_tick() const noexcept {
    const auto slot = first_of(kKinds - 1);
    return slot == slots_.end() ? kNever : slot->first.second;
}

Result<std::vector<TimerEntry>> TimerSlots::peek(WallMs tick, std::size_t count_max) {
    const auto slot = slots_.find({kKinds - 1, tick});
    return slot == slots_.end() ? std::vector<TimerEntry>()
                                : next_of(slot->first, slot->second, count_max);
}

void TimerSlots::drop(WallMs tick, std::size_t count) {
    const auto slot = slots_.find({kKinds - 1, tick});
    if (slot != slots_.end()) {
        drop_from(slot, count);
    }
}

WallMs TimerSlots::next_event() const noexcept {
    WallMs next = first_tick();
    for (std::size_t kind = 0; kind < open_.size(); ++kind) {
        const auto slot = first_of(kind);
        if (slot != slots_.end() && slot->first.first == kind) {
            next = std::min(next, begin_of(kind, slot->first.second) - kLeadMs[kind]);
        }
    }
    return next;
}

}  // namespace gantry::storage

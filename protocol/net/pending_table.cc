// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/pending_table.h"

#include "common/check.h"

#include <algorithm>

namespace gantry::net {

void PendingTable::insert(Pending pending) {
    if ((size_ + 1) * 2 > slots_.size()) {
        grow();
    }
    earliest_ = std::min(earliest_, pending.deadline);
    place(std::move(pending));
    ++size_;
}

void PendingTable::place(Pending&& pending) {
    const std::size_t home = home_of(pending.opaque);
    std::size_t at = home;
    while (slots_[at].is_used) {
        GANTRY_ASSERT(slots_[at].pending.opaque != pending.opaque);
        at = (at + 1) & (slots_.size() - 1);
    }
    away_ += at == home ? 0 : 1;
    slots_[at].pending = std::move(pending);
    slots_[at].is_used = true;
}

void PendingTable::grow() {
    std::vector<Slot> old(std::max(kCapacityMin, slots_.size() * 2));
    old.swap(slots_);
    away_ = 0;
    for (Slot& slot : old) {
        if (slot.is_used) {
            place(std::move(slot.pending));
        }
    }
}

std::size_t PendingTable::find(std::int32_t opaque) const noexcept {
    if (slots_.empty()) {
        return 0;
    }
    std::size_t at = home_of(opaque);
    while (slots_[at].is_used && slots_[at].pending.opaque != opaque) {
        at = (at + 1) & (slots_.size() - 1);
    }
    return slots_[at].is_used ? at : slots_.size();
}

bool PendingTable::contains(std::int32_t opaque) const noexcept {
    return find(opaque) != slots_.size();
}

std::optional<Pending> PendingTable::take(std::int32_t opaque) {
    const std::size_t at = find(opaque);
    if (at == slots_.size()) {
        return std::nullopt;
    }
    std::optional<Pending> taken(std::move(slots_[at].pending));
    slots_[at].is_used = false;
    away_ -= at == home_of(opaque) ? 0 : 1;
    --size_;
    if (size_ == 0) {
        earliest_ = SteadyTime::max();
    }
    close_gap(at);
    return taken;
}

void PendingTable::close_gap(std::size_t hole) {
    const std::size_t mask = slots_.size() - 1;
    // With everybody at home, the rule, nobody stepped over anything.
    for (std::size_t at = (hole + 1) & mask; away_ > 0 && slots_[at].is_used;
         at = (at + 1) & mask) {
        const std::size_t home = home_of(slots_[at].pending.opaque);
        // Whoever had to step over the hole moves into it.
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            slots_[hole].pending = std::move(slots_[at].pending);
            slots_[hole].is_used = true;
            slots_[at].is_used = false;
            away_ -= hole == home ? 1 : 0;
            hole = at;
        }
    }
}

std::vector<Pending> PendingTable::take_due(SteadyTime now) {
    std::vector<std::pair<SteadyTime, std::int32_t>> due;
    SteadyTime next = SteadyTime::max();
    for (const Slot& slot : slots_) {
        if (!slot.is_used) {
            continue;
        }
        if (slot.pending.deadline <= now) {
            due.emplace_back(slot.pending.deadline, slot.pending.opaque);
        } else {
            next = std::min(next, slot.pending.deadline);
        }
    }
    std::sort(due.begin(), due.end());
    std::vector<Pending> taken;
    taken.reserve(due.size());
    for (const auto& [deadline, opaque] : due) {
        taken.push_back(std::move(*take(opaque)));
    }
    earliest_ = next;
    return taken;
}

std::vector<Pending> PendingTable::take_all() {
    std::vector<Pending> taken;
    taken.reserve(size_);
    for (Slot& slot : slots_) {
        if (slot.is_used) {
            taken.push_back(std::move(slot.pending));
        }
    }
    std::sort(taken.begin(), taken.end(), [](const Pending& a, const Pending& b) {
        return a.stream_position < b.stream_position;
    });
    slots_.clear();
    size_ = 0;
    away_ = 0;
    earliest_ = SteadyTime::max();
    return taken;
}

SteadyTime PendingTable::earliest() const noexcept {
    return earliest_;
}

}  // namespace gantry::net

// SPDX-License-Identifier: Apache-2.0
#include "storage/damage/quarantine.h"

#include <algorithm>
#include <utility>

namespace gantry::storage {
namespace {

/// The first range that ends behind `at`.
template <class List>
auto first_behind(List& list, LogOffset at) {
    return std::partition_point(
        list.begin(), list.end(), [at](const LostRange& range) { return range.to <= at; });
}

}  // namespace

Quarantine::Quarantine(LostRanges& durable, const Clock& clock)
    : durable_(durable), clock_(clock), all_(*durable.snapshot()), known_(all_) {}

void Quarantine::restart() {
    all_ = known_;
    gaps_.clear();
}

LogOffset Quarantine::next_from(LogOffset at, LogOffset otherwise) const noexcept {
    const auto next = first_behind(all_, at);
    return next != all_.end() ? std::min(next->from, otherwise) : otherwise;
}

std::uint64_t Quarantine::bytes_between(LogOffset from, LogOffset to) const noexcept {
    std::uint64_t bytes = 0;
    for (auto range = first_behind(all_, from); range != all_.end() && range->from < to; ++range) {
        const LogOffset begin = std::max(range->from, from);
        const LogOffset end = std::min(range->to, to);
        bytes += static_cast<std::uint64_t>(end - begin);
    }
    return bytes;
}

void Quarantine::add(LogOffset from, LogOffset to, const std::string& reason) {
    if (from >= to) {
        return;
    }
    const auto behind = first_behind(all_, from);
    if (behind != all_.begin()) {
        LostRange& before = *std::prev(behind);
        const bool is_new = find_lost(known_, before.from, before.to) == nullptr;
        if (is_new && before.to == from && before.reason == reason) {
            before.to = to;
            return;
        }
    }
    if (behind != all_.end()) {
        to = std::min(to, behind->from);
    }
    all_.insert(behind, {from, to, clock_.wall_ms(), 0, reason});
}

void Quarantine::add_gap(LogOffset before, LostMessages messages) {
    const auto behind = std::partition_point(
        all_.begin(), all_.end(), [before](const LostRange& range) { return range.from < before; });
    if (behind == all_.begin()) {
        return;
    }
    LostRange& range = *std::prev(behind);
    if (find_lost(known_, range.from, range.to) == nullptr) {
        range.messages += messages.count();
        gaps_.push_back(std::move(messages));
    }
}

Status Quarantine::finish(const ConsumeQueues& queues, RecoveryReport& report) {
    LostRangeList found;
    for (const LostRange& range : all_) {
        if (find_lost(known_, range.from, range.to) == nullptr) {
            found.push_back(range);
        }
    }
    if (found.empty()) {
        return ok();
    }
    std::vector<LostMessages> messages = find_lost_messages(queues, found);
    messages.insert(messages.end(), gaps_.begin(), gaps_.end());
    if (const auto added = durable_.add(found); !added) {
        return added.error();
    }
    for (const LostRange& range : found) {
        ++report.lost_ranges;
        report.lost_bytes += range.bytes();
        report.lost_messages += range.messages;
    }
    tell_lost("at start", found, messages);
    return ok();
}

}  // namespace gantry::storage

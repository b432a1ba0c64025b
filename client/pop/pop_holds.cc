// SPDX-License-Identifier: Apache-2.0
#include "client/pop/pop_holds.h"

#include <algorithm>
#include <iterator>

namespace gantry::client {
namespace {

/// Takes [from, end) out of runs that do not overlap.
void cut(std::map<std::int64_t, std::int64_t>& runs, std::int64_t from, std::int64_t end) {
    auto at = runs.upper_bound(from);
    if (at != runs.begin() && std::prev(at)->second > from) {
        --at;
    }
    while (at != runs.end() && at->first < end) {
        const auto [run_from, run_end] = *at;
        at = runs.erase(at);
        if (run_from < from) {
            runs.emplace(run_from, from);
        }
        if (run_end > end) {
            runs.emplace(end, run_end);
        }
    }
}

}  // namespace

void PopHolds::add(std::span<const PopRun> runs, SteadyTime now) {
    const MutexLock lock(mutex_);
    for (const PopRun& run : runs) {
        Held& held = held_[run.receipt];
        if (held.runs.empty()) {
            held.since = held.renewed = now;
        }
        held.runs.emplace(run.from, run.end);
    }
}

void PopHolds::remove(std::span<const PopRun> runs) {
    const MutexLock lock(mutex_);
    for (const PopRun& run : runs) {
        const auto held = held_.find(run.receipt);
        if (held == held_.end()) {
            continue;
        }
        cut(held->second.runs, run.from, run.end);
        if (held->second.runs.empty()) {
            held_.erase(held);
        }
    }
}

std::vector<PopRun> PopHolds::take_due(SteadyTime now) {
    const MutexLock lock(mutex_);
    std::vector<PopRun> due;
    for (auto at = held_.begin(); at != held_.end();) {
        Held& held = at->second;
        if (now - held.since >= limit_) {
            at = held_.erase(at);
            continue;
        }
        if (now - held.renewed >= period_) {
            held.renewed = now;
            for (const auto& [from, end] : held.runs) {
                due.push_back({at->first, from, end});
            }
        }
        ++at;
    }
    return due;
}

std::size_t PopHolds::size() const {
    const MutexLock lock(mutex_);
    return held_.size();
}

}  // namespace gantry::client

// SPDX-License-Identifier: Apache-2.0
#include "broker/flow/flow_wakes.h"

#include <algorithm>

namespace gantry::broker {

using std::chrono::milliseconds;

namespace {

/// A limit may have been raised meanwhile.
constexpr std::chrono::seconds kWaitMax{1};

}  // namespace

void FlowWakes::wake_after(const storage::Queue* queue, std::chrono::nanoseconds wait) {
    if (!queues_.insert(queue).second) {
        return;
    }
    waiting_.push_back(
        {queue, clock_.steady() + std::min<std::chrono::nanoseconds>(wait, kWaitMax)});
    arm();
}

void FlowWakes::arm() {
    SteadyTime first = SteadyTime::max();
    for (const Waiting& each : waiting_) {
        first = std::min(first, each.due);
    }
    if (first < armed_) {
        armed_ = first;
        const auto left = std::chrono::ceil<milliseconds>(first - clock_.steady());
        timer_.start_once(std::max(left, milliseconds{1}));
    }
}

void FlowWakes::fire() {
    armed_ = SteadyTime::max();
    const SteadyTime now = clock_.steady();
    std::list<Waiting> due;
    for (auto at = waiting_.begin(); at != waiting_.end();) {
        const auto next = std::next(at);
        if (at->due <= now) {
            queues_.erase(at->queue);
            due.splice(due.end(), waiting_, at);
        }
        at = next;
    }
    for (const Waiting& each : due) {
        wake_(each.queue);
    }
    arm();
}

}  // namespace gantry::broker

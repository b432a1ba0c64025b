// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "protocol/net/event_loop.h"
#include "storage/topic_table.h"

#include <chrono>
#include <functional>
#include <list>
#include <unordered_set>

namespace gantry::broker {

/// Queues of one loop whose parked pulls wait for tokens. When there are some, they are woken in
/// the order in which they were refused, so that all get their turn.
///
/// Threads   the loop's thread.
class FlowWakes {
public:
    using Wake = std::function<void(const storage::Queue*)>;

    FlowWakes(net::EventLoop& loop, const Clock& clock, Wake wake)
        : clock_(clock), wake_(std::move(wake)), timer_(loop, [this] { fire(); }) {}

    /// Wakes the queue's pulls after `wait`, or a second if that is shorter, unless it waits
    /// already.
    void wake_after(const storage::Queue* queue, std::chrono::nanoseconds wait);

private:
    struct Waiting {
        const storage::Queue* queue = nullptr;
        SteadyTime due;
    };

    void fire();
    void arm();

    const Clock& clock_;
    const Wake wake_;
    net::Timer timer_;
    SteadyTime armed_ = SteadyTime::max();
    std::list<Waiting> waiting_;
    std::unordered_set<const storage::Queue*> queues_;
};

}  // namespace gantry::broker

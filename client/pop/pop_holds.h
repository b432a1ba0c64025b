// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/pop/pop_settler.h"
#include "common/clock.h"
#include "common/mutex.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace gantry::client {

/// The messages a consumer has for itself, by receipt, and when they are to be renewed.
///
/// Threads   any; one mutex inside.
/// Memory    64 B a run of messages.
class PopHolds {
public:
    /// Renewed every `period`, and no more after `limit`.
    PopHolds(std::chrono::milliseconds period, std::chrono::milliseconds limit)
        : period_(period), limit_(limit) {}

    /// They were popped at `now`.
    void add(std::span<const PopRun> runs, SteadyTime now);
    /// They are settled, or renewed by their owner.
    void remove(std::span<const PopRun> runs);
    /// Those to renew by `now`; those held for too long are forgotten.
    std::vector<PopRun> take_due(SteadyTime now);
    std::size_t size() const;

private:
    struct Held {
        std::map<std::int64_t, std::int64_t> runs;  ///< from to end
        SteadyTime since;
        SteadyTime renewed;
    };

    const std::chrono::milliseconds period_;
    const std::chrono::milliseconds limit_;
    mutable Mutex mutex_;
    std::map<PopReceiptKey, Held> held_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::client

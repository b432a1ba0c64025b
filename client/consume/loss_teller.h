// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/mutex.h"

#include <cstdint>

namespace gantry::client {

/// Tells the application of messages that it will never get: by its callback, a log line and a
/// counter.
///
/// Threads   any; the callback runs in the caller's, without a lock held.
/// Limits    kLinesMax lines a second, the next one says how many were left out. The callback and
///           the counter miss nothing.
class LossTeller {
public:
    static constexpr std::uint32_t kLinesMax = 10;

    /// `on_lost` may be empty.
    LossTeller(MetricRegistry& metrics, OnLost on_lost);

    /// Counts `lost`, writes the line if it is due, calls the callback; what that throws is logged.
    void tell(const LostMessages& lost);

private:
    void log(const LostMessages& lost);

    const OnLost on_lost_;
    Counter& lost_count_;
    Mutex mutex_;
    LogRate rate_ GANTRY_GUARDED_BY(mutex_){kLinesMax};
};

}  // namespace gantry::client

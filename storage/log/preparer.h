// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/mutex.h"
#include "storage/log/segment.h"

#include <chrono>
#include <condition_variable>
#include <thread>

namespace gantry::storage {

class CommitLog;

/// The helper thread that keeps page faults, file creation and unmapping off the append path:
/// makes the next segment when the active one is half full, faults pages in ahead of the tail,
/// unmaps segments that have become cold, drops from the page cache what StoreOptions::cache_bytes
/// leaves no room for, looks at the free space.
///
/// Threads   one inside; wake: any.
/// Errors    a segment that cannot be made is tried again every retry_interval; appends that need
///           it get the error meanwhile.
/// Lifetime  `log` outlives it; stop() before the log goes.
class Preparer {
public:
    static constexpr std::chrono::milliseconds kRetryInterval{200};
    static constexpr std::chrono::milliseconds kIdleInterval{5'000};

    explicit Preparer(CommitLog& log) noexcept : log_(log) {}

    /// Starts the thread. Once, when the log has its end.
    void start();
    /// Makes the thread look at once.
    void wake();
    /// Ends the thread after the piece of work under way. Blocks. Idempotent.
    void stop();
    /// One look, in the calling thread: true when something is left to try again. Before start().
    bool work();

private:
    void run();
    void wait(bool retry);
    Result<SegmentPtr> make_next(LogOffset base);
    void prefault(LogOffset tail);
    void drop_behind(std::int64_t bytes);
    void arm(LogOffset tail);
    bool is_stopping();

    CommitLog& log_;
    bool is_failing_ = false;
    LogOffset prefaulted_;
    LogOffset prefaulting_{-1};  ///< base of the segment in which pages were faulted in last
    LogOffset dropped_;          ///< from the page cache, everything below
    Mutex mutex_;
    std::condition_variable woken_;
    bool is_woken_ GANTRY_GUARDED_BY(mutex_) = false;
    bool is_stopping_ GANTRY_GUARDED_BY(mutex_) = false;
    std::thread thread_;
};

}  // namespace gantry::storage

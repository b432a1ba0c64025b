// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/metrics.h"
#include "common/mutex.h"
#include "storage/log/segment.h"

#include <atomic>
#include <condition_variable>
#include <thread>

namespace gantry::storage {

class CommitLog;

/// The thread that makes appended bytes durable: one fdatasync covers all that was appended
/// before it (group commit). The first sync that fails poisons the log: the kernel may forget
/// the error and the pages, so trying again would acknowledge what is not on the disk.
///
/// Threads   one inside; wake: any.
/// Lifetime  `log` outlives it; stop() before the log goes.
class Flusher {
public:
    Flusher(CommitLog& log, MetricRegistry& metrics);

    /// Starts the thread. Once, when the log has its end.
    void start();
    /// Asks for a sync of everything appended so far.
    void wake();
    /// Syncs once more and ends the thread.
    void stop();

private:
    void run();
    /// False when stopping.
    bool wait();
    /// False when the log was poisoned.
    bool flush();
    /// The append that leaves more than flush_bytes behind `flushed` wakes the thread.
    void wake_after(LogOffset flushed);
    Status sync_range(LogOffset from, LogOffset to);

    CommitLog& log_;
    Counter& flushes_;
    Counter& flush_microseconds_;
    std::atomic<bool> is_asked_{false};
    Mutex mutex_;
    std::condition_variable woken_;
    bool is_stopping_ GANTRY_GUARDED_BY(mutex_) = false;
    std::thread thread_;
};

}  // namespace gantry::storage

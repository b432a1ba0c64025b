// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/mutex.h"
#include "common/result.h"
#include "common/unique_function.h"

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <thread>
#include <vector>

namespace gantry::broker {

/// A few threads for work that may wait for a disk: queries. Nothing on a loop ever does.
///
/// Threads   submit: any thread. Work runs in the order given, on any of the pool's threads.
/// Errors    submit: kBusy when `tasks_max` pieces wait; kClosed after stop.
/// Lifetime  work posts its result to a loop: stop the pool before the loops.
class WorkPool {
public:
    using Work = UniqueFunction<void()>;

    /// `name` of its threads, at most 15 characters, outlives it.
    WorkPool(std::size_t threads, std::size_t tasks_max, const char* name = "query");
    ~WorkPool();
    WorkPool(const WorkPool&) = delete;
    WorkPool& operator=(const WorkPool&) = delete;

    /// Queues `work`. On an error it is destroyed and never runs.
    Status submit(Work work);
    /// Drops what waits, finishes what runs. Idempotent. Blocks.
    void stop();

private:
    void run();

    const std::size_t tasks_max_;
    Mutex mutex_;
    std::condition_variable wake_;
    std::deque<Work> waiting_ GANTRY_GUARDED_BY(mutex_);
    bool is_stopped_ GANTRY_GUARDED_BY(mutex_) = false;
    std::vector<std::thread> threads_;
};

}  // namespace gantry::broker

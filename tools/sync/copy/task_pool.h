// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/mutex.h"
#include "common/unique_function.h"

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::sync {

/// Threads for what may block.
///
/// Threads   add: any. Lifetime: the destructor waits for the tasks that run, and drops the others.
class TaskPool {
public:
    explicit TaskPool(std::size_t threads) {
        for (std::size_t i = 0; i < threads; ++i) {
            threads_.emplace_back([this] { run(); });
        }
    }

    ~TaskPool() { stop(); }

    TaskPool(const TaskPool&) = delete;
    TaskPool& operator=(const TaskPool&) = delete;

    /// Runs it when a thread is free.
    void add(UniqueFunction<void()> task) {
        const MutexLock lock(mutex_);
        tasks_.push_back(std::move(task));
        changed_.notify_one();
    }

    /// Waits for what runs; drops the rest. Idempotent.
    void stop() {
        {
            const MutexLock lock(mutex_);
            is_stopped_ = true;
            changed_.notify_all();
        }
        for (std::thread& thread : threads_) {
            thread.join();
        }
        threads_.clear();
    }

private:
    void run() {
        set_thread_name("sync-ask");
        for (;;) {
            UniqueFunction<void()> task;
            {
                MutexLock lock(mutex_);
                while (tasks_.empty() && !is_stopped_) {
                    lock.wait(changed_);
                }
                if (is_stopped_) {
                    return;
                }
                task = std::move(tasks_.front());
                tasks_.pop_front();
            }
            task();
        }
    }

    Mutex mutex_;
    std::condition_variable changed_;
    std::deque<UniqueFunction<void()>> tasks_ GANTRY_GUARDED_BY(mutex_);
    bool is_stopped_ GANTRY_GUARDED_BY(mutex_) = false;
    std::vector<std::thread> threads_;
};

}  // namespace gantry::sync

// SPDX-License-Identifier: Apache-2.0
#include "broker/work_pool.h"

#include <utility>

namespace gantry::broker {

WorkPool::WorkPool(std::size_t threads, std::size_t tasks_max, const char* name)
    : tasks_max_(tasks_max) {
    threads_.reserve(threads);
    for (std::size_t i = 0; i < threads; ++i) {
        threads_.emplace_back([this, name] {
            set_thread_name(name);
            run();
        });
    }
}

WorkPool::~WorkPool() {
    stop();
}

Status WorkPool::submit(Work work) {
    {
        const MutexLock lock(mutex_);
        if (is_stopped_) {
            return Error{Errc::kClosed, "the broker is stopping"};
        }
        if (waiting_.size() >= tasks_max_) {
            return Error{Errc::kBusy,
                         "queries waiting " + std::to_string(waiting_.size()) + " = limit " +
                             std::to_string(tasks_max_)};
        }
        waiting_.push_back(std::move(work));
    }
    wake_.notify_one();
    return ok();
}

void WorkPool::stop() {
    std::deque<Work> dropped;
    {
        const MutexLock lock(mutex_);
        is_stopped_ = true;
        dropped.swap(waiting_);
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
    threads_.clear();
}

void WorkPool::run() {
    for (;;) {
        Work work;
        {
            MutexLock lock(mutex_);
            while (waiting_.empty() && !is_stopped_) {
                lock.wait(wake_);
            }
            if (is_stopped_) {
                return;
            }
            work = std::move(waiting_.front());
            waiting_.pop_front();
        }
        work();
    }
}

}  // namespace gantry::broker

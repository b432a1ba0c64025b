// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/mutex.h"
#include "common/result.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

namespace gantry::client {

/// A value that one thread waits for and a loop thread sets, once.
///
/// Threads   set: any, once. wait: one thread, never a loop's.
/// Lifetime  shared by both sides, so that neither outlives it.
template <class T>
class Awaited {
public:
    /// Once.
    void set(T value) {
        const MutexLock lock(mutex_);
        value_.emplace(std::move(value));
        is_set_.store(true, std::memory_order_release);
        changed_.notify_all();
    }

    /// Polls for `spin`, then sleeps until the value is there.
    T wait(std::chrono::microseconds spin = std::chrono::microseconds{0}) {
        spin_for(spin);
        MutexLock lock(mutex_);
        while (!value_.has_value()) {
            lock.wait(changed_);
        }
        return std::move(*value_);
    }

private:
    void spin_for(std::chrono::microseconds limit) {
        if (limit.count() == 0) {
            return;
        }
        const auto end = std::chrono::steady_clock::now() + limit;
        while (!is_set_.load(std::memory_order_acquire)) {
            if (std::chrono::steady_clock::now() >= end) {
                return;
            }
            std::this_thread::yield();
        }
    }

    Mutex mutex_;
    std::condition_variable changed_;
    std::atomic<bool> is_set_{false};
    std::optional<T> value_ GANTRY_GUARDED_BY(mutex_);
};

/// Starts `call(done)`, which must call `done` once, and waits for it. Not from a loop thread.
template <class T, class Call>
T wait_for(Call&& call, std::chrono::microseconds spin = std::chrono::microseconds{0}) {
    auto awaited = std::make_shared<Awaited<T>>();
    call([awaited](T value) { awaited->set(std::move(value)); });
    return awaited->wait(spin);
}

}  // namespace gantry::client

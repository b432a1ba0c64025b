// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/check.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#if defined(__clang__)
#define GANTRY_THREAD(attribute) __attribute__((attribute))
#else
#define GANTRY_THREAD(attribute)
#endif

/// The field may be touched only while the named mutex is held, or in the named role's thread.
#define GANTRY_GUARDED_BY(capability) GANTRY_THREAD(guarded_by(capability))
/// The function may be called only while the named mutex is held, or in the named role's thread.
#define GANTRY_REQUIRES(capability) GANTRY_THREAD(requires_capability(capability))

namespace gantry {

/// std::mutex with the annotations clang's thread-safety analysis needs.
class GANTRY_THREAD(capability("mutex")) Mutex {
public:
    void lock() GANTRY_THREAD(acquire_capability()) { mutex_.lock(); }

    void unlock() GANTRY_THREAD(release_capability()) { mutex_.unlock(); }

    std::mutex& native() noexcept { return mutex_; }

private:
    std::mutex mutex_;
};

/// Holds a Mutex for a scope.
class GANTRY_THREAD(scoped_lockable) MutexLock {
public:
    explicit MutexLock(Mutex& mutex) GANTRY_THREAD(acquire_capability(mutex)) : mutex_(mutex) {
        mutex_.lock();
    }

    ~MutexLock() GANTRY_THREAD(release_capability()) { mutex_.unlock(); }

    MutexLock(const MutexLock&) = delete;
    MutexLock& operator=(const MutexLock&) = delete;

    /// Waits on `condition`; the lock is released meanwhile. Wakes up without cause too.
    void wait(std::condition_variable& condition) {
        std::unique_lock<std::mutex> lock(mutex_.native(), std::adopt_lock);
        condition.wait(lock);
        lock.release();
    }

    /// As wait, at most until `deadline`. False on time-out.
    template <class TimePoint>
    bool wait_until(std::condition_variable& condition, TimePoint deadline) {
        std::unique_lock<std::mutex> lock(mutex_.native(), std::adopt_lock);
        const bool woken = condition.wait_until(lock, deadline) == std::cv_status::no_timeout;
        lock.release();
        return woken;
    }

private:
    Mutex& mutex_;
};

/// A capability that stands for "this code runs in that thread". The thread adopts it once;
/// functions require it (clang checks calls) and posted tasks assert it (checked at run time).
class GANTRY_THREAD(capability("role")) ThreadRole {
public:
    /// The calling thread becomes the holder.
    void adopt() noexcept { holder_.store(std::this_thread::get_id(), std::memory_order_relaxed); }

    bool held() const noexcept {
        return holder_.load(std::memory_order_relaxed) == std::this_thread::get_id();
    }

    /// Stops the process unless the calling thread is the holder.
    void assert_held() const GANTRY_THREAD(assert_capability(this)) { GANTRY_ASSERT(held()); }

private:
    std::atomic<std::thread::id> holder_{};
};

/// Gives the calling thread the name that ps, perf and gdb show (at most 15 characters).
void set_thread_name(const char* name) noexcept;

}  // namespace gantry

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/mutex.h"

#include <functional>
#include <utility>

namespace gantry::broker {

/// Where a store reports its progress while those who want to know of it come and go: a serving
/// layer lives shorter than its store.
///
/// Threads   any. After set(nullptr) none of the calls before is still running.
class ProgressRelay {
public:
    /// From now on `receiver` is called; nothing: nobody is.
    void set(std::function<void()> receiver) {
        const MutexLock lock(mutex_);
        receiver_ = std::move(receiver);
    }

    void report() const {
        const MutexLock lock(mutex_);
        if (receiver_) {
            receiver_();
        }
    }

private:
    mutable Mutex mutex_;
    std::function<void()> receiver_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::broker

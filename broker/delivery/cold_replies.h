// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/mutex.h"
#include "common/unique_function.h"
#include "storage/store.h"

#include <cstdint>
#include <deque>
#include <functional>

namespace gantry::broker {

/// Hands what cold reads found over to one loop, one reply a pass, so that a pass never grows by
/// more than one of them, and tells the store how late the loop was.
///
/// Threads   give: any. Replies run in the loop.
/// Lifetime  `clock` and `store` outlive it; `post` runs a task on the loop in a later pass, or
///           drops it when the loop has stopped.
class ColdReplies {
public:
    using Reply = UniqueFunction<void()>;
    using Post = std::function<void(UniqueFunction<void()>)>;

    ColdReplies(const Clock& clock, Post post) : clock_(clock), post_(std::move(post)) {}

    /// Runs `reply` on the loop, after those given before.
    void give(const storage::Store& store, Reply reply);

private:
    void post_next(const storage::Store& store);
    void answer_one(const storage::Store& store, SteadyTime posted_at);

    const Clock& clock_;
    const Post post_;
    Mutex mutex_;
    std::deque<Reply> replies_ GANTRY_GUARDED_BY(mutex_);
    bool is_posted_ GANTRY_GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/cold_replies.h"

#include <utility>

namespace gantry::broker {

void ColdReplies::give(const storage::Store& store, Reply reply) {
    {
        const MutexLock lock(mutex_);
        replies_.push_back(std::move(reply));
        if (std::exchange(is_posted_, true)) {
            return;
        }
    }
    post_next(store);
}

void ColdReplies::post_next(const storage::Store& store) {
    post_([this, &store, now = clock_.steady()] { answer_one(store, now); });
}

void ColdReplies::answer_one(const storage::Store& store, SteadyTime posted_at) {
    store.cold_answered_after(clock_.steady() - posted_at);
    Reply reply;
    bool has_more = false;
    {
        const MutexLock lock(mutex_);
        reply = std::move(replies_.front());
        replies_.pop_front();
        has_more = is_posted_ = !replies_.empty();
    }
    if (has_more) {
        post_next(store);
    }
    reply();
}

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#include "client/order/key_scheduler.h"

#include "common/check.h"

#include <algorithm>
#include <iterator>

namespace gantry::client {

void KeyScheduler::push(std::string key, std::int64_t offset, MessageView message) {
    GANTRY_ASSERT(offset >= end_);
    end_ = offset + 1;
    undone_.insert(undone_.end(), offset);
    const auto at = lanes_.try_emplace(std::move(key)).first;
    at->second.waiting.push_back({offset, std::move(message)});
    make_ready(at->first, at->second);
}

void KeyScheduler::make_ready(const std::string& key, Lane& lane) {
    if (!lane.is_running && !lane.is_queued && !lane.is_kept) {
        lane.is_queued = true;
        ready_.push_back(key);
    }
}

void KeyScheduler::wake_due(SteadyTime now) {
    while (!due_.empty() && due_.begin()->first <= now) {
        ready_.push_back(due_.begin()->second);
        due_.erase(due_.begin());
    }
}

std::optional<KeyScheduler::Work> KeyScheduler::take(std::size_t count_max, SteadyTime now) {
    wake_due(now);
    while (!ready_.empty() && lanes_.find(ready_.front())->second.is_kept) {
        lanes_.find(ready_.front())->second.is_queued = false;
        ready_.pop_front();
    }
    if (ready_.empty()) {
        return std::nullopt;
    }
    Work work;
    work.key = std::move(ready_.front());
    ready_.pop_front();
    Lane& lane = lanes_.find(work.key)->second;
    lane.is_queued = false;
    lane.is_running = true;
    work.attempts = lane.attempts;
    const std::size_t count = lane.singly > 0 ? 1 : std::min(count_max, lane.waiting.size());
    const auto end = lane.waiting.begin() + static_cast<std::ptrdiff_t>(count);
    std::move(lane.waiting.begin(), end, std::back_inserter(work.held));
    lane.waiting.erase(lane.waiting.begin(), end);
    return work;
}

void KeyScheduler::done(const Work& work) {
    const auto at = lanes_.find(work.key);
    Lane& lane = at->second;
    lane.is_running = false;
    lane.attempts = 0;
    lane.singly -= std::min(lane.singly, work.held.size());
    for (const Held& held : work.held) {
        undone_.erase(held.offset);
    }
    if (lane.waiting.empty()) {
        lanes_.erase(at);
    } else {
        make_ready(at->first, lane);
    }
}

void KeyScheduler::again(Work work, SteadyTime not_before, bool has_failed) {
    const auto at = lanes_.find(work.key);
    Lane& lane = at->second;
    lane.is_running = false;
    lane.is_queued = true;
    if (has_failed && work.held.size() > 1) {
        lane.singly = work.held.size();
    } else if (has_failed) {
        ++lane.attempts;
        lane.singly = std::max<std::size_t>(lane.singly, 1);
    }
    lane.waiting.insert(lane.waiting.begin(),
                        std::make_move_iterator(work.held.begin()),
                        std::make_move_iterator(work.held.end()));
    due_.emplace(not_before, at->first);
}

bool KeyScheduler::hold(const std::string& key) {
    Lane& lane = lanes_[key];
    if (lane.is_running || lane.is_kept) {
        return false;
    }
    lane.is_kept = true;
    return true;
}

void KeyScheduler::release(const std::string& key) {
    const auto at = lanes_.find(key);
    if (at == lanes_.end()) {
        return;  // the queue began anew
    }
    Lane& lane = at->second;
    lane.is_kept = false;
    if (!lane.waiting.empty()) {
        make_ready(at->first, lane);
    } else if (!lane.is_queued) {
        lanes_.erase(at);
    }
}

std::optional<SteadyTime> KeyScheduler::next_due() const {
    return due_.empty() ? std::nullopt : std::optional(due_.begin()->first);
}

bool KeyScheduler::is_ready(SteadyTime now) const {
    return !ready_.empty() || (!due_.empty() && due_.begin()->first <= now);
}

}  // namespace gantry::client

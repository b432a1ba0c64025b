// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/long_poll.h"

#include "storage/store.h"

#include <algorithm>
#include <functional>

namespace gantry::broker {

LongPoll::LongPoll(net::EventLoop& loop, const Clock& clock, ParkedReader& reader)
    : clock_(clock), reader_(reader), sweep_timer_(loop, [this] { sweep(); }) {}

void LongPoll::park(PullQuery query) {
    const ParkId id = next_id_++;
    by_queue_[query.queue].parked.push_back(id);
    by_peer_[query.to.peer].insert(id);
    deadlines_.emplace(clock_.steady() + query.hold, id);
    parked_.emplace(id, std::move(query));
    drop_stale_deadlines();
    count_.store(parked_.size(), std::memory_order_seq_cst);
    if (!is_sweeping_) {
        is_sweeping_ = true;
        sweep_timer_.start_every(kSweep);
    }
}

bool LongPoll::touch(const storage::Queue* queue) {
    if (by_queue_.empty()) {
        return false;
    }
    const auto at = by_queue_.find(queue);
    if (at == by_queue_.end()) {
        return false;
    }
    if (!at->second.is_touched) {
        at->second.is_touched = true;
        touched_.push_back(queue);
    }
    return true;
}

bool LongPoll::touch_topic(const storage::Topic* topic) {
    bool any = false;
    for (auto& [queue, waiting] : by_queue_) {
        if (queue->topic == topic->name() && !waiting.is_touched) {
            waiting.is_touched = true;
            touched_.push_back(queue);
            any = true;
        }
    }
    return any;
}

bool LongPoll::touch_grown(const storage::Store& store) {
    bool any = false;
    for (auto& [queue, waiting] : by_queue_) {
        const QueueOffset end = store.confirmed_max(*queue);
        const bool has_grown =
            std::any_of(waiting.parked.begin(), waiting.parked.end(), [&](ParkId id) {
                const auto at = parked_.find(id);
                return at != parked_.end() && at->second.from < end;
            });
        if (has_grown && !waiting.is_touched) {
            waiting.is_touched = true;
            touched_.push_back(queue);
            any = true;
        }
    }
    return any;
}

std::size_t LongPoll::wake_touched() {
    std::size_t tried = 0;
    std::vector<const storage::Queue*> queues = std::exchange(touched_, {});
    for (const storage::Queue* queue : queues) {
        const auto waiting = by_queue_.find(queue);
        if (waiting == by_queue_.end()) {
            continue;
        }
        std::vector<ParkId> ids = std::move(waiting->second.parked);
        by_queue_.erase(waiting);
        std::vector<ParkId> still_waiting;
        for (const ParkId id : ids) {
            const auto at = parked_.find(id);
            if (at == parked_.end()) {
                continue;
            }
            ++tried;
            if (reader_.try_answer(at->second, false)) {
                forget(at);
            } else {
                still_waiting.push_back(id);
            }
        }
        if (!still_waiting.empty()) {
            auto& list = by_queue_[queue].parked;
            list.insert(list.end(), still_waiting.begin(), still_waiting.end());
        }
    }
    return tried;
}

void LongPoll::drop_peer(PeerId peer) {
    const auto at = by_peer_.find(peer);
    if (at == by_peer_.end()) {
        return;
    }
    const std::unordered_set<ParkId> ids = std::move(at->second);
    by_peer_.erase(at);
    for (const ParkId id : ids) {
        const auto parked = parked_.find(id);
        leave_queue(parked->second.queue, id);
        parked_.erase(parked);
    }
    count_.store(parked_.size(), std::memory_order_seq_cst);
}

void LongPoll::answer_all() {
    while (!parked_.empty()) {
        answer(parked_.begin());
    }
}

void LongPoll::sweep() {
    const SteadyTime now = clock_.steady();
    while (!deadlines_.empty() && deadlines_.top().first <= now) {
        const auto at = parked_.find(deadlines_.top().second);
        deadlines_.pop();
        if (at != parked_.end()) {
            answer(at);
        }
    }
    if (parked_.empty()) {
        deadlines_ = {};
        sweep_timer_.cancel();
        is_sweeping_ = false;
    }
}

void LongPoll::answer(Parked::iterator at) {
    leave_queue(at->second.queue, at->first);
    reader_.try_answer(at->second, true);
    forget(at);
}

void LongPoll::forget(Parked::iterator at) {
    const auto peer = by_peer_.find(at->second.to.peer);
    if (peer != by_peer_.end()) {
        peer->second.erase(at->first);
        if (peer->second.empty()) {
            by_peer_.erase(peer);
        }
    }
    parked_.erase(at);
    count_.store(parked_.size(), std::memory_order_seq_cst);
}

void LongPoll::leave_queue(const storage::Queue* queue, ParkId id) {
    const auto at = by_queue_.find(queue);
    if (at == by_queue_.end()) {
        return;
    }
    std::vector<ParkId>& list = at->second.parked;
    const auto position = std::lower_bound(list.begin(), list.end(), id);
    if (position != list.end() && *position == id) {
        list.erase(position);
    }
    if (list.empty()) {
        by_queue_.erase(at);
    }
}

void LongPoll::drop_stale_deadlines() {
    constexpr std::size_t kStaleMax = 1'024;
    if (deadlines_.size() <= 2 * parked_.size() + kStaleMax) {
        return;
    }
    std::vector<Deadline> living;
    living.reserve(parked_.size());
    for (; !deadlines_.empty(); deadlines_.pop()) {
        if (parked_.contains(deadlines_.top().second)) {
            living.push_back(deadlines_.top());
        }
    }
    deadlines_ = decltype(deadlines_)(std::greater<>{}, std::move(living));
}

}  // namespace gantry::broker

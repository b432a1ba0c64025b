// SPDX-License-Identifier: Apache-2.0
#include "client/produce/topic_sender.h"

#include <cstddef>

namespace gantry::client {

std::vector<Lane*> TopicSender::lanes_of(const std::vector<QueueId>& queues) {
    std::vector<Lane*> lanes;
    lanes.reserve(queues.size());
    std::size_t missing = 0;
    for (const QueueId& id : queues) {
        missing += lanes_.contains({id.broker, id.queue}) ? 0 : 1;
    }
    std::vector<Lane> made(missing);
    auto next = made.begin();
    for (const QueueId& id : queues) {
        Lane*& lane = lanes_[{id.broker, id.queue}];
        if (lane == nullptr) {
            lane = &*next++;
            lane->topic = &topic_;
            lane->queue = id.queue;
        }
        lanes.push_back(lane);
    }
    if (missing > 0) {
        memory_.push_back(std::move(made));
    }
    return lanes;
}

bool TopicSender::has_room(const Lane& lane, SteadyTime now) const noexcept {
    return lane.in_flight < frames_in_flight_max_ && lane.waiting.empty() &&
           lane.broker->is_available(now);
}

Lane& TopicSender::choose_free(SendKind kind, SteadyTime now) noexcept {
    if (current_ < routed_.size() && routed_[current_]->gathering(kind) != nullptr) {
        return *routed_[current_];
    }
    const std::size_t count = routed_.size();
    const std::size_t start = std::size_t{current_} + 1;
    std::size_t best = start % count;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t at = (start + i) % count;
        if (has_room(*routed_[at], now)) {
            best = at;
            break;
        }
        const Lane& lane = *routed_[at];
        const Lane& other = *routed_[best];
        const bool is_better_broker =
            lane.broker->is_available(now) && !other.broker->is_available(now);
        const bool is_as_good = lane.broker->is_available(now) == other.broker->is_available(now);
        if (is_better_broker || (is_as_good && lane.waiting.size() < other.waiting.size())) {
            best = at;
        }
    }
    current_ = static_cast<std::uint32_t>(best);
    // By its turn it is long out of the processor's cache when there are many.
    __builtin_prefetch(routed_[(best + 1) % count], 1);
    return *routed_[best];
}

Lane& TopicSender::choose_keyed(std::uint64_t key_hash) noexcept {
    return *routed_[key_hash % routed_.size()];
}

Lane* TopicSender::find(const QueueId& id) noexcept {
    const auto found = lanes_.find({id.broker, id.queue});
    const bool is_known = found != lanes_.end() && id.topic == topic_;
    return is_known && found->second->is_routed ? found->second : nullptr;
}

Lane& TopicSender::choose_other(const Lane& failed, SteadyTime now) noexcept {
    const std::size_t count = routed_.size();
    Lane* elsewhere = nullptr;
    for (std::size_t i = 1; i <= count; ++i) {
        Lane* lane = routed_[(current_ + i) % count];
        if (lane->broker == failed.broker) {
            continue;
        }
        if (lane->broker->is_available(now)) {
            return *lane;
        }
        elsewhere = elsewhere == nullptr ? lane : elsewhere;
    }
    if (failed.is_routed || elsewhere == nullptr) {
        for (Lane* lane : routed_) {
            if (lane == &failed) {
                return *lane;
            }
        }
    }
    return elsewhere != nullptr ? *elsewhere : *routed_.front();
}

}  // namespace gantry::client

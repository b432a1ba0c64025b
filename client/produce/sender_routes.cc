// SPDX-License-Identifier: Apache-2.0
// The part of a producer's engine that follows routes, and masters from broker to broker.
#include "client/core/runtime.h"
#include "client/produce/sender.h"

#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kRouteRetry{100};

}  // namespace

/// A broker without a master keeps what is meant for it: it waits for a link, or the next one.
SendBroker& Sender::broker_in_loop(const BrokerRoute& route) {
    std::unique_ptr<SendBroker>& broker = brokers_[route.name];
    if (broker == nullptr) {
        broker = std::make_unique<SendBroker>();
        broker->name = route.name;
    }
    if (route.epoch < broker->epoch) {  // the route of another topic was newer
        return *broker;
    }
    broker->epoch = route.epoch;
    const bool was_headless = std::exchange(broker->is_headless, route.master().empty());
    if (broker->is_headless) {
        return *broker;
    }
    const bool has_moved = broker->address != route.master();
    if (has_moved) {
        broker->set_address(route.master());
        broker->channel = &slot_.channel(broker->address, channel_owner_);
    }
    if (has_moved || was_headless) {
        broker->succeeded();
        broker->has_moved = true;
    }
    return *broker;
}

/// What waits to be sent again to a broker that has a master again need not wait any longer.
void Sender::wake_moved_in_loop() {
    for (auto& [name, topic] : topics_) {
        topic.for_each_lane([this](Lane& lane) {
            if (lane.broker == nullptr || !lane.broker->has_moved || lane.waiting.empty()) {
                return;
            }
            for (Frame* frame = &lane.waiting.front(); frame != nullptr;
                 frame = frame->next.get()) {
                frame->not_before = {};
            }
            mark_busy_in_loop(lane);
        });
    }
    for (auto& [name, broker] : brokers_) {
        broker->has_moved = false;
    }
}

/// Whether the frame was meant for a master that has gone since. Nothing was stored, and the
/// deadline is the limit, not the number of attempts: there is another one, or will be.
bool Sender::has_moved(const Frame& frame) noexcept {
    return frame.broker->is_headless || frame.broker->epoch != frame.master_epoch;
}

void Sender::ask_route_in_loop(TopicSender& topic) {
    if (std::exchange(topic.is_asking, true)) {
        return;
    }
    runtime_.routes().get(
        topic.topic(), true, [self = shared_from_this(), &topic](Result<RoutePtr> route) {
            auto answer = std::make_shared<Result<RoutePtr>>(std::move(route));
            self->slot_.post([self, &topic, answer] { self->routed_in_loop(topic, *answer); });
        });
}

void Sender::routed_in_loop(TopicSender& topic, const Result<RoutePtr>& route) {
    topic.is_asking = false;
    if (is_shut_) {
        return;
    }
    if (!route) {
        topic.route_error = Error{
            Errc::kGone, "no route for topic " + topic.topic() + ": " + to_string(route.error())};
        if (route.error().code == Errc::kNotFound) {
            for (Parked& parked : std::exchange(topic.parked, {})) {
                complete_in_loop(parked.outgoing, route.error());
            }
            return;
        }
        arm_in_loop(std::chrono::steady_clock::now() + kRouteRetry);
        return;
    }
    if (!topic.has_route()) {
        set_route_in_loop(topic, *route);
    }
}

void Sender::route_changed_in_loop(const RoutePtr& route) {
    const auto found = topics_.find(route->topic);
    if (!is_shut_ && found != topics_.end()) {
        set_route_in_loop(found->second, route);
    }
}

void Sender::set_route_in_loop(TopicSender& topic, const RoutePtr& route) {
    const std::vector<Lane*> dropped = topic.set_route(
        route, [this](const BrokerRoute& broker) -> SendBroker& { return broker_in_loop(broker); });
    for (Lane* lane : dropped) {
        move_frames_in_loop(topic, *lane);
    }
    wake_moved_in_loop();
    for (Parked& parked : std::exchange(topic.parked, {})) {
        place_in_loop(topic, parked);
    }
}

void Sender::move_frames_in_loop(TopicSender& topic, Lane& dropped) {
    if (topic.lanes().empty()) {
        return;
    }
    FrameQueue staying;
    FrameQueue moving = std::move(dropped.waiting);
    while (!moving.empty()) {
        FramePtr frame = moving.pop_front();
        if (frame->kind == SendKind::kQueue || frame->is_numbered) {
            staying.push_back(std::move(frame));
            continue;
        }
        for (Outgoing& outgoing : frame->sends) {
            Parked parked{std::move(outgoing), nullptr};
            place_in_loop(topic, parked);
        }
        frame->sends.clear();
        pool_.give(std::move(frame));
    }
    dropped.waiting = std::move(staying);
}

}  // namespace gantry::client

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/core/routes.h"
#include "client/produce/send_frame.h"
#include "common/result.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::client {

/// A message that waits for its topic's route, with the queue its caller named, if any.
struct Parked {
    Outgoing outgoing;
    std::unique_ptr<QueueId> queue;
};

/// The queues of one topic, as one producer uses them: its lanes, and the choice among them.
///
/// Choice    free messages stay on one queue until its frame is sealed or sent, then move to the
///           next in turn whose broker is available and has room: so batches form by themselves.
/// Threads   the producer's loop.
class alignas(64) TopicSender {
public:
    TopicSender(std::string topic, std::uint32_t frames_in_flight_max)
        : topic_(std::move(topic)), frames_in_flight_max_(frames_in_flight_max) {}

    const std::string& topic() const noexcept { return topic_; }

    bool has_route() const noexcept { return route_ != nullptr; }

    const RoutePtr& route() const noexcept { return route_; }

    /// Lanes of the writable queues, in the order of route()->write_queues.
    const std::vector<Lane*>& lanes() const noexcept { return routed_; }

    /// Lays out the lanes anew. `broker_of` gives the state kept for a broker. Returns lanes that
    /// are out of the route now.
    template <class BrokerOf>
    std::vector<Lane*> set_route(RoutePtr route, BrokerOf&& broker_of) {
        std::vector<Lane*> dropped = std::move(routed_);
        for (Lane* lane : dropped) {
            lane->is_routed = false;
        }
        route_ = std::move(route);
        routed_ = lanes_of(route_->write_queues);
        for (std::size_t i = 0; i < routed_.size(); ++i) {
            routed_[i]->is_routed = true;
            routed_[i]->broker = &broker_of(*route_->find_broker(route_->write_queues[i].broker));
        }
        std::erase_if(dropped, [](const Lane* lane) { return lane->is_routed; });
        return dropped;
    }

    /// A queue for one more free message. The route has at least one.
    Lane& choose_free(SendKind kind, SteadyTime now) noexcept;
    Lane& choose_keyed(std::uint64_t key_hash) noexcept;
    /// Null: not among the writable queues.
    Lane* find(const QueueId& id) noexcept;
    /// Where a failed free frame goes: another broker if one is available.
    Lane& choose_other(const Lane& failed, SteadyTime now) noexcept;

    /// Calls `each(Lane&)` for every lane, routed or not.
    template <class Each>
    void for_each_lane(Each&& each) {
        for (const auto& [id, lane] : lanes_) {
            each(*lane);
        }
    }

private:
    std::vector<Lane*> lanes_of(const std::vector<QueueId>& queues);
    bool has_room(const Lane& lane, SteadyTime now) const noexcept;

    // What every send reads comes first, in one cache line.
    const std::string topic_;
    std::vector<Lane*> routed_;
    std::uint32_t current_ = 0;
    const std::uint32_t frames_in_flight_max_;
    RoutePtr route_;
    std::map<std::pair<std::string, std::int32_t>, Lane*> lanes_;  ///< by broker and queue
    std::vector<std::vector<Lane>> memory_;  ///< of the lanes, side by side; never grown

public:
    // Last, out of the way of the line above.
    std::vector<Parked> parked;  ///< messages that wait for the route
    bool is_asking = false;      ///< for the route
    Error route_error{Errc::kGone, "no nameserver has answered yet"};
};

}  // namespace gantry::client

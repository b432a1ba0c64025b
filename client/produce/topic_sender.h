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
class TopicSender {
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
        routed_.clear();
        route_ = std::move(route);
        for (const QueueId& id : route_->write_queues) {
            Lane& lane = lane_of(id);
            lane.is_routed = true;
            lane.broker = &broker_of(*route_->find_broker(id.broker));
            routed_.push_back(&lane);
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

    std::vector<Parked> parked;  ///< messages that wait for the route
    bool is_asking = false;      ///< for the route
    Error route_error{Errc::kGone, "no nameserver has answered yet"};

private:
    Lane& lane_of(const QueueId& id);
    bool has_room(const Lane& lane, SteadyTime now) const noexcept;

    const std::string topic_;
    const std::uint32_t frames_in_flight_max_;
    RoutePtr route_;
    std::vector<Lane*> routed_;
    std::map<std::pair<std::string, std::int32_t>, std::unique_ptr<Lane>> lanes_;
    std::size_t current_ = 0;
};

}  // namespace gantry::client

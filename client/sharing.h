// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/result.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::client {

/// How the members of a consumer group share the queues of a topic out. Each member computes its
/// share alone, from the queues and the members that the brokers list: all members, stock clients
/// too, must share in the same way, or queues go to two or to nobody.
///
///   kAverage         contiguous ranges, the first members one queue more   AVG
///   kCircle          queue i to member i modulo their number               AVG_BY_CIRCLE
///   kConsistentHash  the member next on a ring; few queues move when a     CONSISTENT_HASH
///                    member comes or goes, the shares differ in size
///   kFixed           those named in `fixed`, whoever else there is         CONFIG
///   kZone            queues of a zone to the members in it, those of a     MACHINE_ROOM_NEARBY
///                    zone without members to all; average within
///
/// The right column names the stock client's strategy with the same result.
///
/// kBroker (push consumers): each broker deals its own queues out, and hands one over when its
/// owner has finished what it was given. While members are there that share in another way, and at
/// brokers that cannot, it is kAverage.
struct Sharing {
    /// The way, see above.
    enum class Kind : std::uint8_t { kAverage, kCircle, kConsistentHash, kFixed, kZone, kBroker };

    Kind kind = Kind::kAverage;

    /// With kind kBroker.
    static Sharing by_broker() {
        Sharing sharing;
        sharing.kind = Kind::kBroker;
        return sharing;
    }

    /// kFixed: this member's queues. Those that do not exist wait until they do. A topic none of
    /// whose queues is named, such as the group's retry topic, is shared by average.
    std::vector<QueueId> fixed;
    /// kZone: where a broker of that name is, and the client with that id. Called in the client's
    /// control loop; must not block, nor throw.
    std::function<std::string(std::string_view broker)> zone_of_broker;
    std::function<std::string(std::string_view client_id)> zone_of_client;
};

/// kRefused: kFixed without queues, kZone without a function that it needs.
Status check_sharing(const Sharing& sharing);

/// The share of `self` when `queues`, all of one topic, are dealt out to `members`. The order of
/// either does not matter. Empty when `self` is no member.
std::vector<QueueId> share_of(const Sharing& sharing,
                              std::vector<QueueId> queues,
                              std::vector<std::string> members,
                              const std::string& self);

}  // namespace gantry::client

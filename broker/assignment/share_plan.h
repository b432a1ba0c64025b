// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gantry::broker {

/// Nobody, where a member is meant.
inline constexpr std::size_t kNobody = static_cast<std::size_t>(-1);

/// One topic's queues of one broker, and the members that read the topic, by their place in the
/// sorted list of client ids.
struct SharePlanInput {
    std::vector<std::size_t> owners;  ///< by queue; kNobody: free
    std::size_t members = 0;
    /// Place of the first member to get one queue more than others.
    std::size_t first = 0;
    /// Nobody else deals out queues of the topic: who has one more keeps it, whatever `first` says.
    /// Otherwise the extra queues of several brokers have to go to different members.
    bool is_only_here = true;
};

/// Who is to have each queue: shares differ by at most one, and of all such ways it is one that
/// takes the fewest queues away. kNobody for every queue when there are no members.
///
/// Order     a member keeps its queues of the smallest numbers; free ones go to the members that
///           lack some, from `first` on.
std::vector<std::size_t> plan_shares(const SharePlanInput& input);

/// `first` of a topic: the brokers' windows of extra queues follow one another, and begin at
/// another member for another topic. `queues_before`: of brokers before this one.
std::size_t first_member(std::string_view topic, std::size_t queues_before, std::size_t members);

}  // namespace gantry::broker

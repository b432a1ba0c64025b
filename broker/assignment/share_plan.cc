// SPDX-License-Identifier: Apache-2.0
#include "broker/assignment/share_plan.h"

#include <algorithm>
#include <numeric>

namespace gantry::broker {
namespace {

/// FNV-1a: the same on every broker.
std::uint64_t hash_of(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const char c : text) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    }
    return hash;
}

/// Members in the order in which they get one queue more.
std::vector<std::size_t> order_of(const SharePlanInput& input) {
    std::vector<std::size_t> order(input.members);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::rotate(order.begin(),
                order.begin() + static_cast<std::ptrdiff_t>(input.first % input.members),
                order.end());
    if (input.is_only_here) {
        std::vector<std::size_t> held(input.members);
        for (const std::size_t owner : input.owners) {
            if (owner != kNobody) {
                ++held[owner];
            }
        }
        std::stable_sort(order.begin(), order.end(), [&held](std::size_t a, std::size_t b) {
            return held[a] > held[b];
        });
    }
    return order;
}

}  // namespace

std::vector<std::size_t> plan_shares(const SharePlanInput& input) {
    std::vector<std::size_t> plan(input.owners.size(), kNobody);
    if (input.members == 0) {
        return plan;
    }
    const std::vector<std::size_t> order = order_of(input);
    std::vector<std::size_t> room(input.members, input.owners.size() / input.members);
    for (std::size_t i = 0; i < input.owners.size() % input.members; ++i) {
        ++room[order[i]];
    }
    for (std::size_t queue = 0; queue < plan.size(); ++queue) {
        const std::size_t owner = input.owners[queue];
        if (owner != kNobody && room[owner] > 0) {
            plan[queue] = owner;
            --room[owner];
        }
    }
    auto next = order.begin();
    for (std::size_t& owner : plan) {
        if (owner != kNobody) {
            continue;
        }
        while (room[*next] == 0) {
            ++next;
        }
        owner = *next;
        --room[owner];
    }
    return plan;
}

std::size_t first_member(std::string_view topic, std::size_t queues_before, std::size_t members) {
    return members == 0 ? 0 : (queues_before % members + hash_of(topic) % members) % members;
}

}  // namespace gantry::broker

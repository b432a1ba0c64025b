// SPDX-License-Identifier: Apache-2.0
#include "client/sharing.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace gantry::client {
namespace {

using Queues = std::vector<QueueId>;
using Members = std::vector<std::string>;

/// Points of a member on the ring.
constexpr int kRingPoints = 10;

Queues average(const Queues& queues, const Members& members, std::size_t self) {
    const std::size_t each = queues.size() / members.size();
    const std::size_t extra = queues.size() % members.size();
    const std::size_t begin = self * each + std::min(self, extra);
    const std::size_t count = each + (self < extra ? 1U : 0U);
    const auto first = queues.begin() + static_cast<std::ptrdiff_t>(begin);
    return {first, first + static_cast<std::ptrdiff_t>(count)};
}

Queues circle(const Queues& queues, const Members& members, std::size_t self) {
    Queues share;
    for (std::size_t i = self; i < queues.size(); i += members.size()) {
        share.push_back(queues[i]);
    }
    return share;
}

/// The stock client's: the first four bytes of the MD5, big-endian.
std::uint32_t ring_hash(const std::string& key) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int bytes = 0;
    EVP_Digest(key.data(), key.size(), digest.data(), &bytes, EVP_md5(), nullptr);
    std::uint32_t hash = 0;
    for (std::size_t i = 0; i < sizeof(hash); ++i) {
        hash = (hash << 8U) | digest[i];
    }
    return hash;
}

/// The text the stock client hashes.
std::string ring_key(const QueueId& queue) {
    return "MessageQueue [topic=" + queue.topic + ", brokerName=" + queue.broker +
           ", queueId=" + std::to_string(queue.queue) + "]";
}

Queues consistent_hash(const Queues& queues, const Members& members, std::size_t self) {
    std::map<std::uint32_t, std::size_t> ring;
    for (std::size_t member = 0; member < members.size(); ++member) {
        for (int point = 0; point < kRingPoints; ++point) {
            ring[ring_hash(members[member] + "-" + std::to_string(point))] = member;
        }
    }
    Queues share;
    for (const QueueId& queue : queues) {
        const auto next = ring.lower_bound(ring_hash(ring_key(queue)));
        if ((next == ring.end() ? ring.begin() : next)->second == self) {
            share.push_back(queue);
        }
    }
    return share;
}

Queues fixed(const Queues& queues, const Queues& wanted, const Members& members, std::size_t self) {
    Queues share;
    bool is_named = false;
    for (const QueueId& queue : wanted) {
        is_named = is_named || (!queues.empty() && queue.topic == queues.front().topic);
        if (std::binary_search(queues.begin(), queues.end(), queue)) {
            share.push_back(queue);
        }
    }
    return is_named ? share : average(queues, members, self);
}

Queues by_zone(const Sharing& sharing,
               const Queues& queues,
               const Members& members,
               std::size_t self) {
    std::map<std::string, Members> members_of;
    for (const std::string& member : members) {
        members_of[sharing.zone_of_client(member)].push_back(member);
    }
    std::map<std::string, Queues> queues_of;
    for (const QueueId& queue : queues) {
        queues_of[sharing.zone_of_broker(queue.broker)].push_back(queue);
    }
    const std::string own = sharing.zone_of_client(members[self]);
    Queues share;
    for (const auto& [zone, its_queues] : queues_of) {
        Queues part;
        if (zone == own) {
            const Members& near = members_of[zone];
            const auto at = std::find(near.begin(), near.end(), members[self]);
            part = average(its_queues, near, static_cast<std::size_t>(at - near.begin()));
        } else if (members_of.count(zone) == 0) {
            part = average(its_queues, members, self);
        }
        share.insert(share.end(), part.begin(), part.end());
    }
    return share;
}

}  // namespace

Status check_sharing(const Sharing& sharing) {
    if (sharing.kind == Sharing::Kind::kFixed && sharing.fixed.empty()) {
        return Error{Errc::kRefused, "sharing.fixed is empty: kFixed needs at least one queue"};
    }
    if (sharing.kind == Sharing::Kind::kZone &&
        (!sharing.zone_of_broker || !sharing.zone_of_client)) {
        return Error{Errc::kRefused,
                     std::string("sharing.") +
                         (sharing.zone_of_broker ? "zone_of_client" : "zone_of_broker") +
                         " is not set: kZone needs it"};
    }
    return ok();
}

std::vector<QueueId> share_of(const Sharing& sharing,
                              std::vector<QueueId> queues,
                              std::vector<std::string> members,
                              const std::string& self) {
    std::sort(queues.begin(), queues.end());
    std::sort(members.begin(), members.end());
    members.erase(std::unique(members.begin(), members.end()), members.end());
    const auto found = std::find(members.begin(), members.end(), self);
    if (found == members.end()) {
        return {};
    }
    const auto index = static_cast<std::size_t>(found - members.begin());
    switch (sharing.kind) {
        case Sharing::Kind::kAverage:
        case Sharing::Kind::kBroker:
            break;
        case Sharing::Kind::kCircle:
            return circle(queues, members, index);
        case Sharing::Kind::kConsistentHash:
            return consistent_hash(queues, members, index);
        case Sharing::Kind::kFixed:
            return fixed(queues, sharing.fixed, members, index);
        case Sharing::Kind::kZone:
            return by_zone(sharing, queues, members, index);
    }
    return average(queues, members, index);
}

}  // namespace gantry::client

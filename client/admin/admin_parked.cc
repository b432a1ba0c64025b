// SPDX-License-Identifier: Apache-2.0
// The part of AdminClient that deals with parked keys.
#include "client/admin/admin_state.h"
#include "client/admin_client.h"
#include "protocol/wire/group.pb.h"
#include "protocol/wire/names.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace gantry::client {
namespace {

/// Of ChangeParkedKeyRequest.
constexpr std::int32_t kRelease = 1;
constexpr std::int32_t kDrop = 4;

/// A parked key and the address of its broker.
struct Found {
    ParkedKey parked;
    std::string address;
};

Result<std::vector<Found>> find_parked(AdminCalls& calls, const ParkedChoice& which) {
    GANTRY_TRY(wire::check_group_name(which.group));
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, calls.brokers());
    std::vector<Found> found;
    for (const BrokerAddress& broker : brokers) {
        if (broker.broker_id != 0) {
            continue;
        }
        wire::ParkedKeysRequest fields;
        fields.set_group(which.group);
        GANTRY_ASSIGN_OR_RETURN(const wire::ParkedKeyList list,
                                calls.ask_body<wire::ParkedKeyList>(
                                    broker.address, wire::RequestCode::kListParkedKeys, &fields));
        for (const auto& entry : list.keys()) {
            const bool is_wanted = (which.topic.empty() || entry.topic() == which.topic) &&
                                   (which.key.empty() || entry.key() == which.key);
            if (is_wanted) {
                found.push_back({{{entry.topic(), broker.broker, entry.queueid()},
                                  entry.key(),
                                  entry.count(),
                                  entry.first(),
                                  entry.since(),
                                  entry.isreleased()},
                                 broker.address});
            }
        }
    }
    return found;
}

Result<std::size_t> change_parked(AdminCalls& calls,
                                  const ParkedChoice& which,
                                  std::int32_t action) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<Found> found, find_parked(calls, which));
    if (found.empty()) {
        return Error{Errc::kNotFound,
                     "group " + which.group + " has no parked key" +
                         (which.key.empty() ? "" : " \"" + which.key + '"') +
                         (which.topic.empty() ? "" : " of topic " + which.topic)};
    }
    for (const Found& one : found) {
        wire::ChangeParkedKeyRequest fields;
        fields.set_group(which.group);
        fields.set_topic(one.parked.queue.topic);
        fields.set_queueid(one.parked.queue.queue);
        fields.set_key(one.parked.key);
        fields.set_action(action);
        const Status changed =
            calls.ask_status(one.address, wire::RequestCode::kChangeParkedKey, &fields);
        if (!changed && changed.error().code != Errc::kNotFound) {  // another was quicker
            return changed.error();
        }
    }
    return found.size();
}

}  // namespace

Result<std::vector<ParkedKey>> AdminClient::list_parked(const ParkedChoice& which) {
    GANTRY_ASSIGN_OR_RETURN(std::vector<Found> found, find_parked(state_->calls, which));
    std::vector<ParkedKey> keys;
    for (Found& one : found) {
        keys.push_back(std::move(one.parked));
    }
    std::sort(keys.begin(), keys.end(), [](const ParkedKey& a, const ParkedKey& b) {
        return std::tie(a.queue, a.key) < std::tie(b.queue, b.key);
    });
    return keys;
}

Result<std::size_t> AdminClient::release_parked(const ParkedChoice& which) {
    return change_parked(state_->calls, which, kRelease);
}

Result<std::size_t> AdminClient::drop_parked(const ParkedChoice& which) {
    return change_parked(state_->calls, which, kDrop);
}

}  // namespace gantry::client

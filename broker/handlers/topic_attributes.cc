// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/topic_attributes.h"

#include "protocol/wire/topic.pb.h"
#include "storage/retention/retention_policy.h"
#include "storage/topic_table.h"

#include <algorithm>
#include <array>
#include <string>

namespace gantry::broker {

namespace {

constexpr std::array<std::string_view, 8> kKnown{storage::kReplicationAttribute,
                                                 storage::retention_attribute::kMs,
                                                 storage::retention_attribute::kBytes,
                                                 storage::retention_attribute::kUntilConsumed,
                                                 "cleanup.policy",
                                                 "message.type",
                                                 "queue.type",
                                                 "reserve.time"};

Error refused(std::string_view change, std::string_view why) {
    return {Errc::kRefused, "attribute change \"" + std::string(change) + "\" " + std::string(why)};
}

Status apply_change(std::string_view change, wire::TopicConfig& topic) {
    const bool is_set = change.starts_with('+');
    if (!is_set && !change.starts_with('-')) {
        return refused(change, "starts with neither + nor -");
    }
    const std::size_t equals = std::min(change.find('='), change.size());
    const std::string key(change.substr(1, equals - 1));
    if (std::find(kKnown.begin(), kKnown.end(), key) == kKnown.end()) {
        return refused(change, "names no attribute of a topic");
    }
    if (is_set != (equals < change.size())) {
        return refused(change, is_set ? "has no value" : "has a value");
    }
    if (is_set && key == storage::kReplicationAttribute) {
        const std::string_view value = change.substr(equals + 1);
        if (value != "sync" && value != "async") {
            return refused(change, "is neither sync nor async");
        }
    }
    if (is_set) {
        (*topic.mutable_attributes())[key] = std::string(change.substr(equals + 1));
    } else {
        topic.mutable_attributes()->erase(key);
    }
    return ok();
}

}  // namespace

Status change_attributes(std::string_view changes,
                         const storage::RetentionOptions& defaults,
                         wire::TopicConfig& topic) {
    wire::TopicConfig changed = topic;
    while (!changes.empty()) {
        const std::size_t end = std::min(changes.find(','), changes.size());
        if (end > 0) {
            GANTRY_TRY(apply_change(changes.substr(0, end), changed));
        }
        changes.remove_prefix(std::min(end + 1, changes.size()));
    }
    GANTRY_TRY(storage::retention_of(changed, defaults));
    topic = std::move(changed);
    return ok();
}

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/state.pb.h"
#include "storage/types.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::storage {

/// Topics, groups and committed offsets: a fold over the records of the state topic in the log.
///
///   commit(changes) -> one record in the log -> applied to memory -> Appended (ack when durable)
///
/// Threads   any; one mutex inside.
/// Errors    commit: what append gives (kDiskFull, kReadOnly, kClosed); then nothing was applied.
///           kRefused: an illegal change (queue numbers, perm), names field, value and limit.
/// Limits    queue numbers 1..65536 a topic (0 allowed for one of read/write); names as checked by
///           the broker.
class StateMachine {
public:
    StateMachine() = default;
    StateMachine(const StateMachine&) = delete;
    StateMachine& operator=(const StateMachine&) = delete;
    virtual ~StateMachine() = default;

    /// Logs and applies the changes, all or none.
    virtual Result<Appended> commit(const wire::StateRecord& changes) = 0;

    virtual std::optional<wire::TopicConfig> topic(std::string_view name) const = 0;
    virtual std::vector<wire::TopicConfig> topics() const = 0;
    virtual wire::DataVersion topic_version() const = 0;
    virtual std::optional<wire::SubscriptionGroupConfig> group(std::string_view name) const = 0;
    virtual std::vector<wire::SubscriptionGroupConfig> groups() const = 0;
    /// The committed offset, nothing when never committed.
    virtual std::optional<std::int64_t> offset(std::string_view group,
                                               std::string_view topic,
                                               std::int32_t queue_id) const = 0;
    virtual std::vector<wire::OffsetPut> offsets_of_group(std::string_view group) const = 0;
    virtual std::vector<wire::OffsetPut> offsets_of_topic(std::string_view topic) const = 0;
};

}  // namespace gantry::storage

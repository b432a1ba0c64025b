// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/wire/state.pb.h"
#include "storage/by_name.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gantry::storage {

/// Committed offsets by group, topic and queue: two hash look-ups and a binary search; 16 bytes an
/// entry beyond the names. Not thread-safe.
class OffsetTable {
public:
    /// Sets an offset; any value, also below the one before.
    void put(const wire::OffsetPut& put);
    /// Forgets all offsets of the topic, in every group.
    void remove_topic(std::string_view topic);
    /// Forgets all offsets of the group.
    void remove_group(std::string_view group);
    /// Nothing when none was committed.
    std::optional<std::int64_t> find(std::string_view group,
                                     std::string_view topic,
                                     std::int32_t queue_id) const;
    /// All of the group, in no order of topics, by queue id within a topic.
    std::vector<wire::OffsetPut> of_group(std::string_view group) const;
    /// All of the topic, group by group. Looks into every group.
    std::vector<wire::OffsetPut> of_topic(std::string_view topic) const;
    /// Calls `each` for every offset; it must not change the table.
    void for_each(const std::function<void(const wire::OffsetPut&)>& each) const;

private:
    using Queues = std::vector<std::pair<std::int32_t, std::int64_t>>;  ///< by queue id
    using Topics = ByName<Queues>;

    ByName<Topics> groups_;
};

}  // namespace gantry::storage

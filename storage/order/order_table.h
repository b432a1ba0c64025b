// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/mutex.h"
#include "common/result.h"
#include "protocol/wire/state.pb.h"
#include "storage/order/parked_table.h"
#include "storage/order/queue_lock_table.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace gantry::storage {

/// What ordered consumption needs of the state: who may consume which queue, and which keys are
/// parked.
///
/// Threads   any.
class OrderTable {
public:
    OrderTable() = default;
    OrderTable(const OrderTable&) = delete;
    OrderTable& operator=(const OrderTable&) = delete;

    /// Whether a change that is one of this table's may be applied. kRefused.
    static Status check(const wire::StateChange& change);
    /// Changes nothing when the change is not one of this table's.
    void apply(const wire::StateChange& change, WallMs at_ms);
    /// Forgets what is of the topic.
    void remove_topic(std::string_view topic);
    /// Forgets what is of the group.
    void remove_group(std::string_view group);
    /// Writes all of it into the snapshot.
    void save(wire::StateSnapshot& snapshot) const;
    /// kCorrupt.
    Status restore(const wire::StateSnapshot& snapshot);

    /// Who may consume the queue in order; nothing when nobody was granted it.
    std::optional<wire::QueueLockPut> lock(std::string_view group,
                                           std::string_view topic,
                                           std::int32_t queue_id) const;
    /// The token of that grant; 0 when there is none.
    std::int64_t lock_token(std::string_view group,
                            std::string_view topic,
                            std::int32_t queue_id) const;
    /// Of the newest grant there was.
    std::int64_t last_lock_token() const;

    /// Keys whose messages the group has put aside, sorted; with a topic: of that queue.
    std::vector<ParkedInfo> parked_keys(std::string_view group,
                                        std::string_view topic,
                                        std::int32_t queue_id) const;
    /// One of them; nothing when it is not parked.
    std::optional<ParkedInfo> parked_key(const ParkedName& name) const;
    /// Messages that are put aside, of all groups.
    std::size_t parked_count() const;

private:
    mutable Mutex mutex_;
    QueueLockTable locks_ GANTRY_GUARDED_BY(mutex_);
    ParkedTable parked_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/counters.h"
#include "broker/delivery/group_registry.h"
#include "broker/delivery/queue_notices.h"
#include "broker/flow/flow_control.h"
#include "broker/order/queue_locks.h"
#include "broker/replication/replica_info.h"
#include "broker/settings.h"
#include "broker/work_pool.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "protocol/net/memory_meter.h"
#include "protocol/wire/record.h"
#include "storage/store.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gantry::broker {

class LoopState;
class Registrar;
class PopService;
class ShareService;
class TimerService;
class TransactionChecker;
class TransactionService;

/// What every handler of one broker works with. Owned by Broker; set up before the loops run and
/// taken down after they stopped, so the pointers never change under a handler.
struct Context {
    Context(const BrokerOptions& o, Clock& c, MetricRegistry& m)
        : options(o),
          clock(c),
          metrics(m),
          counters(m),
          sql_filters(o.filter_sql),
          groups(c, sql_filters),
          locks(c),
          lost_notices(c, "consumer told of lost messages"),
          jump_notices(c, "offset out of range"),
          flow(o),
          memory(o.memory_bytes_max),
          acks_are_async(o.replication.acks == "async"),
          pool(static_cast<std::size_t>(o.query_threads), kPoolTasksMax) {}

    static constexpr std::size_t kPoolTasksMax = 100'000;

    const BrokerOptions& options;
    Clock& clock;
    MetricRegistry& metrics;
    Counters counters;
    filter::SqlFilters sql_filters;
    GroupRegistry groups;
    QueueLocks locks;
    QueueNotices lost_notices;
    QueueNotices jump_notices;
    FlowControl flow;
    net::MemoryMeter memory;
    AloneReplica alone;
    ReplicaInfo* replica = &alone;  ///< never null
    const bool acks_are_async;      ///< replication.acks
    storage::Store* store = nullptr;
    Registrar* registrar = nullptr;
    TimerService* timers = nullptr;
    PopService* pops = nullptr;
    ShareService* shares = nullptr;
    TransactionService* transactions = nullptr;
    TransactionChecker* transaction_checker = nullptr;
    std::vector<LoopState*> loops;
    std::string address;    ///< host:port as routed to clients
    wire::Host store_host;  ///< the same, in record form
    WallMs start_ms = 0;
    std::atomic<bool> is_stopping{false};
    WorkPool pool;  ///< last: its threads end before anything they use
};

}  // namespace gantry::broker

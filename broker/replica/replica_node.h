// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replica/control.h"
#include "broker/replica/local_copy.h"
#include "broker/replica/role_state.h"
#include "broker/serving/client_port.h"
#include "broker/settings.h"
#include "broker/work_pool.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/result.h"
#include "storage/store.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace gantry::broker {

/// One member of a group of brokers that keep the same log: its copy of the log and the serving
/// layer on it, and the control of its role.
///
/// Threads   start, stop: any. The rest: any.
/// Errors    start: kRefused for settings, kConflict when a port is in use or another process has
///           the store, what Store::open gives.
/// Lifetime  what Parts name outlives it.
class ReplicaNode {
    struct Private {};

public:
    /// What it is made of.
    struct Parts {
        const BrokerOptions& options;
        Clock& clock;
        FileSystem& files;
        MetricRegistry& metrics;
        const ClientPort& place;
    };

    /// For start only.
    ReplicaNode(Private, const Parts& parts);
    ~ReplicaNode();
    ReplicaNode(const ReplicaNode&) = delete;
    ReplicaNode& operator=(const ReplicaNode&) = delete;

    /// Opens the copy, serves as a slave, and joins the group.
    static Result<std::unique_ptr<ReplicaNode>> start(const Parts& parts);

    /// Waits until it follows a master or is one, and a nameserver knows that, at most `limit`.
    void wait_until_settled(std::chrono::milliseconds limit);

    /// Hands over, leaves the group, answers what waits, closes the store. Idempotent. Blocks.
    void stop();

    /// Empty when it does what its role is, else why not.
    std::string why_not_ready() const;

    /// For tests in the same process, while no role changes.
    storage::Store& store() noexcept { return *copy_.store(); }

private:
    Status open();
    Status make_control();
    void become_another_copy();
    Status on_role_thread(const std::function<Status()>& work);
    void add_gauges();
    std::shared_ptr<Control> control() const;

    const Parts parts_;
    std::string secret_;
    std::uint16_t replication_port_;
    RoleState role_;
    LocalCopy copy_;
    mutable Mutex mutex_;  ///< of the pointer only
    std::shared_ptr<Control> control_ GANTRY_GUARDED_BY(mutex_);
    std::atomic<bool> is_stopping_{false};
    bool is_running_ = false;
    WorkPool role_thread_;  ///< last: ends before what it uses
};

}  // namespace gantry::broker

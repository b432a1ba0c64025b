// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/boot_clock.h"
#include "broker/replication/replica_info.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/mutex.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

namespace gantry::broker {

/// What a member of a group is at the moment, as its control loop last said and its serving layer
/// reads on every request.
///
/// A master acknowledges only while its lease lives: that is read off the clock on each question,
/// so that a control loop that is late, or a process that was stopped, makes no difference.
///
/// Threads   any.
class RoleState final : public ReplicaInfo {
public:
    using StatusDone = std::function<void(wire::ReplicaStatus)>;
    using PromoteDone = std::function<void(Result<wire::PromoteResponse>)>;

    /// Who answers questions of operators, later; nobody is asked any more when set_operator({})
    /// has returned.
    struct Operator {
        std::function<void(StatusDone)> status;
        std::function<void(const wire::PromoteRequest&, PromoteDone)> promote;
    };

    explicit RoleState(std::int64_t member) : member_(member) {}

    ReplicaRole role() const noexcept override;

    std::int64_t epoch() const noexcept override { return epoch_.load(); }

    std::int64_t member() const noexcept override { return member_; }

    std::uint32_t in_sync() const noexcept override { return in_sync_.load(); }

    LogOffset acknowledged() const noexcept override { return LogOffset(acknowledged_.load()); }

    bool may_acknowledge() const noexcept override;

    std::int64_t reading_slave() const noexcept override { return reading_slave_.load(); }

    std::string master_address() const override;
    std::string replication_address() const override;
    void status(StatusDone done) override;
    void promote(const wire::PromoteRequest& request, PromoteDone done) override;

    /// A slave that obeys `epoch`; nothing is acknowledged from now on.
    void be_slave(std::int64_t epoch);
    /// Unless it was deposed as that meanwhile.
    void be_master(std::int64_t epoch);
    /// Is a slave from now on, and never again master of `epoch` or one before.
    void depose(std::int64_t epoch);

    /// A master that takes nothing new, as if it were a slave, and acknowledges what it has.
    void leave() { is_leaving_.store(true); }

    /// By the boot-time clock.
    void set_lease(SteadyTime until) { lease_until_.store(until.time_since_epoch().count()); }

    /// Readers see it; also on a slave.
    void set_confirmed(LogOffset to) { confirmed_.store(to.value); }

    LogOffset confirmed() const noexcept { return LogOffset(confirmed_.load()); }

    /// Of a master; see the questions of the same names.
    void set_copies(std::uint32_t in_sync, LogOffset acknowledged, std::int64_t reading_slave);
    /// Where clients reach the master.
    void set_master_address(const std::string& address);
    /// Where members reach this one.
    void set_replication_address(const std::string& address);
    /// Whom status() and promote() ask from now on.
    void set_operator(Operator who);

private:
    const std::int64_t member_;
    BootClock clock_;
    std::atomic<bool> is_master_{false};
    std::atomic<bool> is_leaving_{false};
    std::atomic<std::int64_t> epoch_{0};
    std::atomic<std::int64_t> lease_until_{0};
    std::atomic<std::uint32_t> in_sync_{0};
    std::atomic<std::int64_t> acknowledged_{0};
    std::atomic<std::int64_t> reading_slave_{-1};
    std::atomic<std::int64_t> confirmed_{0};
    mutable Mutex mutex_;
    std::string master_address_ GANTRY_GUARDED_BY(mutex_);
    std::string replication_address_ GANTRY_GUARDED_BY(mutex_);
    std::int64_t deposed_ GANTRY_GUARDED_BY(mutex_) = 0;
    Operator operator_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::broker

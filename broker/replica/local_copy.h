// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replica/role_state.h"
#include "broker/replication/group_state.h"
#include "broker/serving/client_port.h"
#include "broker/serving/progress_relay.h"
#include "broker/serving/serving.h"
#include "broker/settings.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/result.h"
#include "protocol/wire/replication.pb.h"
#include "storage/replica/replica_log.h"
#include "storage/replica/storage_id.h"
#include "storage/replica/store_cut.h"
#include "storage/store.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace gantry::broker {

/// A member's own copy of the group's log, with its identity, and the serving layer on it: the
/// steps of a role change that block.
///
///   open -> serve (slave) -> lead -> serve (master) -> close -> [cut, plant] -> open -> ...
///
/// Threads   one, but for store, on_progress, wake_serving, why_not_ready. Blocks on the disk, and
/// while the
///           loops of a serving layer end.
/// Errors    those of the store; after one the copy is as far as it came, and open() may be tried.
/// Lifetime  what Parts name outlives it.
class LocalCopy {
public:
    /// What it is made of.
    struct Parts {
        const BrokerOptions& options;
        Clock& clock;
        FileSystem& files;
        MetricRegistry& metrics;
        const ClientPort& place;
        RoleState& role;
    };

    explicit LocalCopy(const Parts& parts);
    ~LocalCopy();
    LocalCopy(const LocalCopy&) = delete;
    LocalCopy& operator=(const LocalCopy&) = delete;

    /// Opens the store as a follower's, and what says which copy it is.
    Status open();
    /// Ends the serving layer there is and starts one in the role that `change` makes the broker
    /// have in between: no request meets a serving layer of another role.
    Status serve(const std::function<void()>& change);
    void stop_serving(Serving::Ending ending);
    /// Ends serving, then the store.
    Status close();

    /// Lower epochs are not obeyed any more.
    Status promise(std::int64_t epoch);
    /// Starts an epoch: the place of its record. The epoch is promised first.
    Result<storage::Appended> lead(std::int64_t epoch, bool loss_accepted);
    /// Ends the closed log at `at`.
    Result<storage::StoreCut> cut(LogOffset at);
    /// Puts the closed store aside; the next open() makes another copy, with another id.
    Result<storage::StoreCut> put_aside();
    /// Plants a seed into the closed store, which is empty.
    Status plant(const wire::StoreSeed& seed);

    MemberId id() const noexcept;
    std::int64_t promised_epoch() const noexcept;
    bool was_renewed() const noexcept;

    /// Null: it is closed.
    storage::Store* store() const noexcept { return open_store_.load(); }

    /// Called by the store's threads after its watermarks moved, from the next open() on.
    void on_progress(std::function<void()> receiver) { progress_->set(std::move(receiver)); }

    /// The serving layer looks anew at what it may answer. Any thread.
    void wake_serving() const { to_serving_->report(); }

    std::string why_not_ready() const;

private:
    storage::StoreOptions store_options_of() const;

    const Parts parts_;
    std::optional<storage::StorageIdentity> identity_;
    std::shared_ptr<ProgressRelay> progress_;  ///< to who controls it
    std::shared_ptr<ProgressRelay> to_serving_;
    std::unique_ptr<storage::Store> store_;
    std::uint64_t gauges_ = 0;  ///< where those of the store begin
    std::atomic<storage::Store*> open_store_{nullptr};
    mutable Mutex mutex_;  ///< of the pointer only
    std::unique_ptr<Serving> serving_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::broker

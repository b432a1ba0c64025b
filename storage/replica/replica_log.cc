// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/replica_log.h"

#include "common/log.h"
#include "common/mutex.h"
#include "storage/replica/log_follower.h"
#include "storage/replica/log_pieces.h"
#include "storage/replica/seed.h"
#include "storage/store_parts.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");
constexpr const char* kFollowing = "this broker is a slave: only its master appends";

}  // namespace

struct ReplicaLog::State {
    explicit State(Store::Parts& store)
        : parts(store),
          role(store.options.is_follower ? Role::kFollowing : Role::kLeading),
          follower(store),
          pieces(store) {}

    void refuse(const std::string& reason) {
        parts.log->refuse_appends(Error{Errc::kReadOnly, reason});
        parts.state->set_read_only(reason);
    }

    void allow() {
        parts.state->set_read_only({});
        parts.log->refuse_appends(std::nullopt);
    }

    std::string fenced_because() const {
        const MutexLock lock(why_mutex);
        return why;
    }

    Store::Parts& parts;
    std::atomic<Role> role;
    Mutex mutex;  ///< one change of the log by others at a time
    LogFollower follower;
    mutable LogPieces pieces;
    mutable Mutex why_mutex;
    std::string why GANTRY_GUARDED_BY(why_mutex);  ///< of the fence
};

ReplicaLog::ReplicaLog(Store::Parts& parts) : state_(std::make_unique<State>(parts)) {}

ReplicaLog::~ReplicaLog() = default;

Status ReplicaLog::open() {
    if (role() != Role::kFollowing) {
        return ok();
    }
    state_->refuse(kFollowing);
    return state_->follower.open();
}

Status ReplicaLog::close() {
    const MutexLock lock(state_->mutex);
    return role() == Role::kFollowing ? state_->follower.drop_partial() : ok();
}

ReplicaLog::Role ReplicaLog::role() const noexcept {
    return state_->role.load(std::memory_order_acquire);
}

EpochList ReplicaLog::epochs() const {
    return state_->parts.state->epochs();
}

Status ReplicaLog::append_raw(LogOffset at, Bytes bytes) {
    const MutexLock lock(state_->mutex);
    if (role() != Role::kFollowing) {
        return Error{Errc::kConflict, "the store does not follow a leader"};
    }
    return state_->follower.receive(at, bytes);
}

LogOffset ReplicaLog::received() const noexcept {
    return role() == Role::kFollowing ? state_->follower.received() : state_->parts.log->appended();
}

Result<Appended> ReplicaLog::lead(const wire::EpochPut& epoch) {
    State& state = *state_;
    const MutexLock lock(state.mutex);
    if (role() == Role::kFenced) {
        return Error{Errc::kConflict, state.fenced_because()};
    }
    if (const std::int64_t known = newest_epoch(epochs()); known >= epoch.epoch()) {
        return Error{Errc::kConflict,
                     "epoch " + std::to_string(epoch.epoch()) + " is not behind epoch " +
                         std::to_string(known) + " of the log"};
    }
    const bool is_following = role() == Role::kFollowing;
    if (is_following) {
        GANTRY_TRY(state.follower.drop_partial());
    }
    wire::StateRecord changes;
    wire::EpochPut& put = *changes.add_changes()->mutable_epochput();
    put = epoch;
    put.set_start(state.parts.log->appended().value);
    GANTRY_ASSIGN_OR_RETURN(const Appended appended,
                            is_following ? state.follower.append_state(changes.SerializeAsString())
                                         : state.parts.state->commit(changes));
    state.parts.log->set_epochs(epochs());
    GANTRY_TRY(state.parts.log->wait_flushed(appended.end));
    auto expected = Role::kFollowing;
    state.role.compare_exchange_strong(expected, Role::kLeading, std::memory_order_acq_rel);
    if (is_following) {
        state.allow();
    }
    if (role() == Role::kFenced) {  // meanwhile
        state.refuse(state.fenced_because());
        return Error{Errc::kConflict, state.fenced_because()};
    }
    kLog.info("epoch begun", {{"epoch", epoch.epoch()}, {"at", appended.first.value}});
    return appended;
}

void ReplicaLog::fence(std::string why) {
    {
        const MutexLock lock(state_->why_mutex);
        state_->why = why;
    }
    state_->role.store(Role::kFenced, std::memory_order_release);
    state_->refuse(why);
}

void ReplicaLog::confirm(LogOffset to) {
    state_->parts.log->confirm(to);
}

Result<LogPiece> ReplicaLog::piece(LogOffset at, std::uint64_t bytes_max) const {
    return state_->pieces.get(at, bytes_max);
}

bool ReplicaLog::needs_seed() const {
    return storage::needs_seed(state_->parts);
}

Result<wire::StoreSeed> ReplicaLog::seed() const {
    return make_seed(state_->parts);
}

LogOffset ReplicaLog::placed_end() const noexcept {
    return std::max(state_->parts.log->appended(), state_->follower.folding_to());
}

bool ReplicaLog::is_broken() const noexcept {
    return state_->follower.is_broken();
}

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "common/result.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace gantry::storage {
class StateMachine;
}

namespace gantry::broker {

/// Which client of a group may consume which queue in order. A lock lapses when its holder does not
/// renew it within its lease; then another client may get it, under a larger token.
///
///   free --lock by a, token 1--> a's --unlock--> free
///                                 | `-- lock by a: renewed, token 1
///                                 `---- lease over, lock by b --> b's, token 2; 1 is fenced
///
/// Fencing   requests with a token are refused unless it is that of the current holder: what a
///           holder that was stalled past its lease still sends changes nothing.
/// Restart   grants and releases are records of the log, renewals are not: after a restart each
///           holder has its whole lease again.
/// Stalled   who lets a watched lock lapse is not alive: stalled() tells of it once.
/// Threads   any.
class QueueLocks {
public:
    static constexpr std::chrono::milliseconds kLifetime{60'000};  ///< of stock clients' locks

    explicit QueueLocks(const Clock& clock) : clock_(clock), start_(clock.steady()) {}

    /// Where grants are kept, before the first call below.
    void set_state(storage::StateMachine& state) {
        state_ = &state;
        start_ = clock_.steady();
    }

    /// A queue and the group that locks it. The names are views: they last for the call.
    struct Name {
        std::string_view group;
        std::string_view topic;
        std::int32_t queue_id = 0;
    };

    /// What came of a try.
    struct Grant {
        std::int64_t token = 0;  ///< 0: another client holds it
        LogOffset end;           ///< what has to be durable before the client hears of it
    };

    /// Takes or renews the lock. Errors of the store, for a new grant only; kRefused: a name, or a
    /// queue number below 0.
    Result<Grant> lock(const Name& name,
                       std::string_view client_id,
                       std::chrono::milliseconds lease = kLifetime,
                       bool is_watched = false);
    /// Gives it up, if that client holds it; what has to be durable then. Errors of the store.
    Result<LogOffset> unlock(const Name& name, std::string_view client_id);

    /// A client of a group that let a lease lapse.
    struct Stalled {
        std::string group;
        std::string client_id;
    };

    /// Holders of watched locks that lapsed since the last call.
    std::vector<Stalled> stalled();

    /// Whether a request under that token has to be refused; never under token 0.
    bool is_fenced(const Name& name, std::int64_t token) const;
    /// Says so.
    std::string remark(const Name& name, std::int64_t token) const;

private:
    using Key = std::tuple<std::string, std::string, std::int32_t>;

    struct Lease {
        SteadyTime renewed;
        SteadyTime end;
        bool is_watched = false;
    };

    const Clock& clock_;
    storage::StateMachine* state_ = nullptr;
    SteadyTime start_;
    Mutex mutex_;
    std::map<Key, Lease> leases_ GANTRY_GUARDED_BY(mutex_);  // renewed since start_
};

}  // namespace gantry::broker

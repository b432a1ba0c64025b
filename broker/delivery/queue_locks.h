// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/mutex.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

namespace gantry::broker {

/// Which client of a group may consume which queue in order (requests 41 and 42). A lock lapses
/// when its holder does not renew it for 60 s.
///
/// Threads   any.
class QueueLocks {
public:
    static constexpr std::chrono::seconds kLifetime{60};

    explicit QueueLocks(const Clock& clock) : clock_(clock) {}

    /// A queue and the group that locks it. The names are views: they last for the call.
    struct Name {
        std::string_view group;
        std::string_view topic;
        std::int32_t queue_id = 0;
    };

    /// Takes or renews the lock; false while another client holds it.
    bool lock(const Name& name, std::string_view client_id);
    /// Gives it up, if that client holds it.
    void unlock(const Name& name, std::string_view client_id);

private:
    struct Holder {
        std::string client_id;
        SteadyTime renewed;
    };

    using Key = std::tuple<std::string, std::string, std::int32_t>;

    const Clock& clock_;
    Mutex mutex_;
    std::map<Key, Holder> held_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/wire/group.pb.h"
#include "tests/client/fake_cluster.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace gantry::client::test {

/// Locks of queues at a fake broker, without an end of their leases, and parked keys.
///
/// Threads   made and destroyed in the test's; the rest in the broker's loop, see
///           FakeCluster::run. Outlives the clients of the cluster.
class FakeLocks {
public:
    using Key = std::pair<std::string, std::int32_t>;  ///< topic, queue

    struct Holder {
        std::string client;
        std::int64_t token = 0;
    };

    struct Parked {
        std::vector<std::int64_t> offsets;
        bool is_released = false;
    };

    /// Takes over what the broker does not know itself.
    explicit FakeLocks(FakeCluster& cluster, std::size_t broker = 0);

    /// Another client has the queue from now on.
    void take_away(const Key& key);

    std::map<Key, Holder> held;
    std::map<std::string, Parked> parked;  ///< by key, of all queues
    std::vector<std::string> log;          ///< "lock T 0", "unlock T 0"; renewals are not there
    std::int64_t last_token = 0;
    std::int64_t lease = 0;  ///< that was asked for last
    bool is_silent = false;  ///< answers nothing

private:
    bool answer(const net::Received& frame);
    void list_parked(const net::Received& frame);
    void change_parked(const net::Received& frame);

    FakeBroker& broker_;
};

}  // namespace gantry::client::test

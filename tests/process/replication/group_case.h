// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/harness/faults/not_run.h"
#include "tests/harness/replication/replicated_group.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace gantry::harness {

inline constexpr std::chrono::seconds kSoon{12};

/// A group that runs, or null where there is no etcd: the case has said so and ends.
inline std::unique_ptr<ReplicatedGroup> group_or_not_run(const ReplicatedGroup::Options& options) {
    if (options.etcd > 0 && !EtcdCluster::is_installed()) {
        say_not_run("etcd is not installed (Debian: etcd-server)");
        return nullptr;
    }
    auto started = ReplicatedGroup::start(options);
    REQUIRE_MESSAGE(started.has_value(), (started ? "" : to_string(started.error())));
    return std::move(started).value();
}

/// Roles given by an operator, two copies; broker 0 is master.
inline ReplicatedGroup::Options two_static(std::int64_t in_sync_min = 2) {
    ReplicatedGroup::Options options;
    options.members = 2;
    options.etcd = 0;
    options.in_sync_min = in_sync_min;
    return options;
}

template <class T>
void require_good(const Result<T>& result) {
    REQUIRE_MESSAGE(result.has_value(), (result ? "" : to_string(result.error())));
}

inline std::size_t require_master(ReplicatedGroup& group) {
    const auto master = group.master();
    REQUIRE(master.has_value());
    return *master;
}

/// All are in sync, have the same bytes, and serve every acknowledged message once, in order.
inline void require_whole(ReplicatedGroup& group) {
    require_good(group.wait_in_sync(group.size()));
    require_good(group.wait_same_logs());
    for (std::size_t i = 0; i < group.size(); ++i) {
        require_good(group.check(i));
        if (i > 0) {
            require_good(group.compare_logs(0, i));
        }
    }
}

}  // namespace gantry::harness

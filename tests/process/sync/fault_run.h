// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/process/sync/sync_fixture.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace gantry::harness {

/// What a fault run is to do.
struct FaultRunOptions {
    std::uint64_t seed = 0;
    std::chrono::milliseconds length{6'000};     ///< of the load and the faults
    std::chrono::milliseconds pause_max{400};    ///< between two faults
    std::chrono::milliseconds silence_max{500};  ///< of a link that drops or holds what it gets
    int per_second = 1'000;                      ///< messages sent to the source
    /// Brokers of each side: one is started again where it was killed; more are a replicated group
    /// whose members elect a master by etcd.
    std::size_t members = 1;
    std::function<void(const std::string&)> say = [](const std::string& /*line*/) {};
};

/// What it came to.
struct FaultRunReport {
    std::uint64_t seed = 0;
    double seconds = 0;
    std::int64_t acknowledged = 0;    ///< by the source
    std::int64_t originals = 0;       ///< in the source
    std::int64_t copies = 0;          ///< in the target
    std::map<std::string, int> done;  ///< faults by kind
    CopyFaults faults;

    /// One line of JSON.
    std::string json() const;
};

/// Two clusters, two daemons between them, a link to the target that goes through proxies, and a
/// producer at the source. At random a daemon, the master of the source or of the target, or all
/// three are killed by SIGKILL, and the link is cut, falls silent, or holds one direction. Then
/// everything is healed, waits until the target has as much as the source, and compares them.
/// Fails the test where something does not start or settle.
FaultRunReport run_faults(const FaultRunOptions& options);

}  // namespace gantry::harness

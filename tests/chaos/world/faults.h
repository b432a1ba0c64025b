// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/random.h"
#include "common/result.h"
#include "tests/chaos/world/world.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace gantry::chaos {

/// Something bad that is done to a world. World::mend takes it back.
struct FaultKind {
    const char* name;
    std::uint32_t weight;             ///< how often, beside the others
    std::chrono::milliseconds least;  ///< how long it lasts
    std::chrono::milliseconds most;
    /// What it was done to, for the log; kUnsupported: not on this machine.
    Result<std::string> (*make)(World& world, Random& random);
};

/// All there are.
const std::vector<FaultKind>& fault_kinds();

/// One fault of a schedule.
struct PlannedFault {
    const FaultKind* kind = nullptr;
    std::chrono::milliseconds pause{0};  ///< before it, after the last one was taken back
    std::chrono::milliseconds length{0};
    std::uint64_t seed = 0;  ///< of what the fault itself draws
};

/// Faults for `length`, the same for the same seed: those of `names` (all when empty), each by its
/// weight; in between pauses of `pause_max` at most. kRefused: no fault has such a name.
Result<std::vector<PlannedFault>> plan_faults(std::uint64_t seed,
                                              std::chrono::milliseconds length,
                                              std::chrono::milliseconds pause_max,
                                              const std::vector<std::string>& names);

}  // namespace gantry::chaos

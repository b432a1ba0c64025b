// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/model/fail_over_model.h"

#include <cstdint>
#include <string>

namespace gantry::model {

/// What a look at many states found.
struct Exploration {
    std::uint64_t states = 0;       ///< different ones; of walks: steps
    std::uint64_t transitions = 0;  ///< tried and possible
    std::uint32_t depth = 0;        ///< steps from the start, at most
    bool is_exhausted = false;      ///< there are no more
    std::string violation;          ///< empty: none
    std::string trace;              ///< the steps to it, and the state there
    std::uint32_t trace_steps = 0;
};

/// Visits states breadth-first until all are seen, `states_max` are, or one violates a rule: then
/// the trace is a shortest one. States are remembered as 64-bit hashes of all their bytes, about
/// 24 bytes each; two states taken for one are to be expected in one of 100,000 runs of 10 million
/// states.
Exploration explore(const FailOverModel& model, std::uint64_t states_max);

/// `walks` random walks of at most `steps_max` steps, by that seed.
Exploration walk(const FailOverModel& model,
                 std::uint64_t seed,
                 std::uint64_t walks,
                 std::uint32_t steps_max);

}  // namespace gantry::model

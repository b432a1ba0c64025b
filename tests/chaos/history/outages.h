// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/chaos/history/history.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gantry::chaos {

/// A fault, from when it was made to when its place was whole again.
struct FaultSpan {
    std::string kind;
    std::int64_t from = 0;  ///< as now_us()
    std::int64_t to = 0;
};

/// How long nobody could send, by kind of fault.
struct Outage {
    std::string kind;
    std::size_t count = 0;
    std::int64_t median_ms = 0;
    std::int64_t max_ms = 0;
};

/// Of each fault the longest time, begun while it lasted, in which no send was acknowledged to
/// anybody; in the order of kinds' names. A fault that nobody noticed counts with what lay between
/// two sends anyway.
std::vector<Outage> outages(const History& history, const std::vector<FaultSpan>& faults);

/// As a table.
std::string report(const std::vector<Outage>& outages);

}  // namespace gantry::chaos

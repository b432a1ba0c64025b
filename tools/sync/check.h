// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "sync/config/config.h"

#include <string>

namespace gantry::sync {

/// What a check has found.
struct Checked {
    /// A table of routes and topics, then notes, then what is wrong, line by line, or "good".
    std::string text;
    std::size_t problems = 0;
};

/// Holds routes against the live clusters: whether they answer, which topics there are, which are
/// missing at the target, whether the filter is one. Changes nothing. Blocks.
Checked check_routes(const SyncConfig& config);

}  // namespace gantry::sync

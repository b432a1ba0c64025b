// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/options.h"
#include "bench/report.h"

namespace gantry::bench {

/// Runs the command against the cluster; blocks until it is done. Errors: what the client gives
/// when nameserver, broker or topic cannot be reached or made.
Result<Report> run(const Options& options);

}  // namespace gantry::bench

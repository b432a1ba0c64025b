// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>

namespace gantry::harness {

/// A port that nobody has at the moment, below those that the system gives to connections: nobody
/// gets it by chance while its daemon is down.
Result<std::uint16_t> free_port();

}  // namespace gantry::harness

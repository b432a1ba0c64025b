// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/net/channel.h"

#include <chrono>
#include <optional>

namespace gantry::client {

/// When to come again, if the answer is that a limit of rates or of memory is reached.
std::optional<std::chrono::milliseconds> retry_after_of(const Result<net::Received>& result);

}  // namespace gantry::client

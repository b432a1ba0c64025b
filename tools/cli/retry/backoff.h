// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/admin_client.h"
#include "common/result.h"

#include <string>

namespace gantry::cli {

/// A retry backoff of "default", "10s,1m,5m" (first, second, third and further retries) or
/// "exponential:INITIAL,MAX,MULTIPLIER" ("exponential:5s,2h,2"). Times are a number and one of ms,
/// s, m, h. kRefused: something else.
Result<client::RetryBackoff> parse_backoff(const std::string& text);

/// The same as text that parse_backoff takes.
std::string backoff_text(const client::RetryBackoff& backoff);

}  // namespace gantry::cli

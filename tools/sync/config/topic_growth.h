// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sync/config/config.h"

#include <optional>
#include <string>
#include <vector>

namespace gantry::sync {

/// Routes that take each other's topics and rename them make ever new topics: T is copied as S-T,
/// that comes back, and goes out as S-S-T. Follows an example of each pattern through all routes
/// that may create topics. Nothing: none grows without end; else a sentence that names the route
/// and the first topics.
///
/// Limits    sees the routes of one file only. Names end at 127 bytes: what comes to that after
///           fewer than four names is left to the broker, which refuses the next one.
std::optional<std::string> find_topic_growth(const std::vector<RouteConfig>& routes);

}  // namespace gantry::sync

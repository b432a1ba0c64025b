// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "sync/report/route_stats.h"

#include <string>
#include <vector>

namespace gantry::sync {

/// Reports as a daemon serves them.
std::string status_json(const std::vector<RouteReport>& reports, WallMs now);

/// The same as a table for people. kCorrupt: not what status_json writes.
Result<std::string> status_table(const std::string& json);

/// The body of GET `path` at "host:port". kRefused: no such address. kGone: nobody
/// listens there. kIo: an answer that is not 200, or none.
Result<std::string> http_get(const std::string& address, const std::string& path);

}  // namespace gantry::sync

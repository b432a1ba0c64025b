// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/replication_server.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/wire/replication.pb.h"

#include <string>

namespace gantry::broker {

/// Asks the member at `address` for the log bytes that `request` names by group, offset, length (at
/// most 4 MiB) and this broker's epochs; who asks is filled in. The bytes that come are of the same
/// history, durable there, and as long as asked for. On the loop; `done` comes once, later.
/// kConflict: the histories differ there. kNotFound: the member has deleted them. kCorrupt: they
/// are damaged there too, or on the way. kRefused, kDenied, kTimeout, kGone.
void fetch_range(net::EventLoop& loop,
                 const LinkOptions& options,
                 const std::string& address,
                 wire::LogRangeRequest request,
                 UniqueFunction<void(Result<std::string>)> done);

}  // namespace gantry::broker

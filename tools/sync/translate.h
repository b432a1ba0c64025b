// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "sync/config/config.h"

#include <string>
#include <string_view>

namespace gantry::sync {

/// Where a consumer group that has come so far at a route's source goes on at its target: in each
/// target queue at the first message whose original the group has not committed. What other
/// queues, or producers at the target, have put between may come to it a second time; nothing that
/// it has not had is passed over. `apply`: the offsets are committed there, where they are ahead of
/// what the group has; its members at the target must not run meanwhile.
///
/// With a route back of the same topics, messages first sent at the target count by their copies at
/// the source.
///
/// Returns a table of queues and offsets. Blocks. kNotFound: no such route, or the group has
/// committed nothing. Errors of the clusters.
Result<std::string> translate(const SyncConfig& config,
                              std::string_view route,
                              const std::string& group,
                              bool apply);

}  // namespace gantry::sync

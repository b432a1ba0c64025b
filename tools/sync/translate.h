// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "sync/config/config.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::sync {

/// Whether a translation is committed at the target.
///
///   kNot         it is only shown
///   kIfStopped   unless members of the group run at the target, which would commit over it
///   kAnyway      whoever runs
enum class Apply : std::uint8_t { kNot, kIfStopped, kAnyway };

/// Where a consumer group that has come so far at a route's source goes on at its target: in each
/// target queue at the first message whose original the group has not committed. What other
/// queues, or producers at the target, have put between may come to it a second time; nothing that
/// it has not had is passed over. Applied, offsets are committed there where they are ahead of what
/// the group has.
///
/// With a route back of the same topics, messages first sent at the target count by their copies at
/// the source.
///
/// Returns a table of queues, with their offset, and what the group has there before. Blocks.
/// kNotFound: no such route, or the group has committed nothing. kConflict: members run. Errors of
/// the clusters.
Result<std::string> translate(const SyncConfig& config,
                              std::string_view route,
                              const std::string& group,
                              Apply apply);

}  // namespace gantry::sync

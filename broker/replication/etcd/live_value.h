// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/coordinator.h"
#include "common/result.h"

#include <string>
#include <string_view>

namespace gantry::broker {

/// What the key live/<member> holds: JSON, docs/formats/group-state.md.
std::string encode_live(const LiveMember& member);
/// kCorrupt.
Result<LiveMember> decode_live(std::string_view bytes);

}  // namespace gantry::broker

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/state.pb.h"

namespace gantry::storage {

/// Whether every change is legal. kRefused: names the field, its value and the limit.
Status check_changes(const wire::StateRecord& changes);

/// As check_changes, of all that a snapshot of the state holds beside its tables.
Status check_snapshot(const wire::StateSnapshot& snapshot);

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "storage/store_parts.h"

namespace gantry::storage {

/// Brings consume queues, key index and state machine in step with the log, finds its end and
/// starts it there. Time is proportional to the log behind the checkpoint.
///
///   checkpoint          damage or end
///      o-------------------o- - - - -
///      | walked: size, magic, position, body CRC; units, keys and state rebuilt
///
/// kCorrupt: damage that must not be cut off: see docs/durability.md.
Status recover(Store::Parts& parts, bool is_clean, RecoveryReport& report);

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/result.h"
#include "storage/types.h"

namespace gantry::storage {

/// Reads all of a run from its file, as for one that is not mapped; `into` has the run's length.
/// Blocks. kIo names length and log offset: the disk cannot read it, or the file is too short.
Status read_run(const LogRun& run, MutableBytes into);

}  // namespace gantry::storage

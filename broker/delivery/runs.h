// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "storage/types.h"

namespace gantry::net {
class OutputQueue;
}

namespace gantry::broker {

/// Puts the records of a read behind what is to be sent: short runs copied, longer ones by
/// reference, long ones from their file.
void append_runs(net::OutputQueue& output, const storage::ReadResult& found);

/// Whether every run's bytes can be looked at.
bool are_in_memory(const storage::ReadResult& found);

/// Reads the runs whose bytes are not in memory; they are then. Blocks on the disk. kIo.
Status load_runs(storage::ReadResult& found);

}  // namespace gantry::broker

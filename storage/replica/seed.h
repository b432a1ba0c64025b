// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/result.h"
#include "protocol/wire/replication.pb.h"
#include "storage/store.h"
#include "storage/types.h"

namespace gantry::storage {

/// What an empty follower needs beside the log from its first byte on: the state whose records are
/// deleted, and where queues stand whose messages are. The state is durable and confirmed. Any
/// thread; blocks on the disk. kBusy: the in-sync set does not confirm it in time. kRefused:
/// segments of the log differ in size, which cannot be followed. A seed serves as long as its first
/// byte is not deleted.
Result<wire::StoreSeed> make_seed(Store& store);
/// The same; for the room's own sources.
Result<wire::StoreSeed> make_seed(Store::Parts& parts);
/// See ReplicaLog::needs_seed.
bool needs_seed(const Store::Parts& parts);

/// Makes an empty closed store out of a seed: its first byte is seed.first(), where the leader's
/// bytes are then appended. Until those reach seed.state().logoffset() they are indexed, and not
/// folded. A stop at any point leaves a store that is empty or planted. kConflict: the store is not
/// empty, or another process has it. kRefused: store.segment_bytes differ; names both.
Status plant_seed(FileSystem& files, const StoreOptions& options, const wire::StoreSeed& seed);

}  // namespace gantry::storage

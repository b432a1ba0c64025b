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
/// thread; blocks on the disk.
Result<wire::StoreSeed> make_seed(Store& store);

/// Makes an empty store out of a seed: its first byte is seed.first(), where the leader's bytes are
/// then appended. Until those reach seed.state().logoffset() they are indexed, and not folded.
/// kConflict: the store is not empty. kRefused: store.segment_bytes differ; names both.
Status plant_seed(FileSystem& files, const StoreOptions& options, const wire::StoreSeed& seed);

}  // namespace gantry::storage

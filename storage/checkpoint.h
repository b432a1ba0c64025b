// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"

#include <filesystem>
#include <optional>

namespace gantry::storage {

/// From where a start has to replay the log: everything below is in the consume queues, the key
/// index and the newest snapshot, and durable. After a clean stop it is the end of the log.
/// Layout: docs/formats/commit-log.md.
struct Checkpoint {
    LogOffset at;
};

/// Writes the checkpoint atomically and durably.
Status save_checkpoint(FileSystem& files,
                       const std::filesystem::path& path,
                       const Checkpoint& checkpoint);

/// Nothing when there is none, or when it is not one of ours or damaged: then the log is replayed
/// from its first record. kIo: it cannot be read.
Result<std::optional<Checkpoint>> load_checkpoint(FileSystem& files,
                                                  const std::filesystem::path& path);

}  // namespace gantry::storage

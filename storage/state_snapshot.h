// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/state.pb.h"

#include <filesystem>
#include <string>
#include <vector>

namespace gantry::storage {

/// Snapshot files of the state machine: <directory>/<20 digits of the log offset>.snapshot, a
/// StateSnapshot message and an XXH3 of it. Layout: docs/formats/state.md. Calls block on the disk.
struct LoadedSnapshot {
    wire::StateSnapshot snapshot;  ///< empty, offset 0, when none was usable
    bool found = false;
    std::string note;  ///< names the files that were damaged and passed over; empty when none
};

/// Writes the snapshot atomically and durably, keeps the two newest, removes older ones. The log
/// must be durable up to snapshot.logOffset before.
Status save_snapshot(FileSystem& files,
                     const std::filesystem::path& directory,
                     const wire::StateSnapshot& snapshot);

/// The newest snapshot that is whole, passing over damaged ones. kIo: the directory cannot be read.
Result<LoadedSnapshot> load_snapshot(FileSystem& files, const std::filesystem::path& directory);

/// Log offsets of the snapshots that are whole, newest first. kIo: the directory cannot be read.
Result<std::vector<LogOffset>> whole_snapshots(FileSystem& files,
                                               const std::filesystem::path& directory);

/// File names of the snapshots that are damaged. Changes nothing. kIo: the directory cannot be
/// read.
Result<std::vector<std::string>> damaged_snapshots(FileSystem& files,
                                                   const std::filesystem::path& directory);

}  // namespace gantry::storage

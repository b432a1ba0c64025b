// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/record.h"
#include "storage/check/store_check.h"
#include "storage/import/import_mark.h"
#include "storage/replica/planted_mark.h"

#include <filesystem>
#include <optional>
#include <vector>

namespace gantry::storage {

/// What a closed store says of the first part of its log: that RocketMQ wrote it, or that it came
/// from a leader whose log begins later.
struct FirstMarks {
    std::optional<ImportMark> imported;
    std::optional<PlantedMark> planted;

    /// Reads both files, and holds the snapshots against the state the store was planted with. What
    /// is wrong is added to `findings`, and left out here: without it the store does not open. kIo:
    /// the snapshots cannot be read. Blocks on the disk.
    static Result<FirstMarks> load(FileSystem& files,
                                   const std::filesystem::path& store,
                                   std::vector<Finding>& findings);

    /// Whether the record at `at` is a message of no queue.
    bool is_unlisted(const wire::Record& record, LogOffset at) const;
    /// Where the log begins while it has no segment.
    LogOffset first() const noexcept;
};

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/result.h"
#include "storage/import/import_scan.h"
#include "storage/import/rocketmq_config.h"
#include "storage/import/rocketmq_queues.h"
#include "storage/log/segment.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string_view>

namespace gantry::storage {

/// Who is told how far an import is: the stage's name, what is done of it and what there is.
using ImportProgress =
    std::function<void(std::string_view stage, std::uint64_t done, std::uint64_t total)>;

/// A RocketMQ store as it stands on the disk, read and judged; nothing of it is changed.
struct ImportSource {
    std::filesystem::path directory;
    SegmentList list;
    std::shared_ptr<SegmentSet> segments;
    RocketMqConfig config;
    RocketMqQueues queues;
    ScannedLog log;
    bool was_stopped_cleanly = false;
};

/// Opens the store of a RocketMQ 4.x or 5.x broker and walks its log once.
///
/// Threads   one; blocks on the disk.
/// Errors    kNotFound: no commitlog there, or none with a segment. kConflict: a RocketMQ broker
///           has it open. kRefused: a store of another kind (DLedger, Gantry's own). kIo.
Result<ImportSource> read_source(FileSystem& files,
                                 const std::filesystem::path& directory,
                                 const ImportProgress& on_progress);

}  // namespace gantry::storage

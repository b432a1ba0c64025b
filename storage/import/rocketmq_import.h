// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/file_system.h"
#include "common/result.h"
#include "storage/import/import_copy.h"
#include "storage/import/import_plan.h"
#include "storage/import/import_source.h"
#include "storage/import/import_verify.h"

#include <cstdint>
#include <filesystem>
#include <vector>

namespace gantry::storage {

/// What to import, and where to.
struct ImportOptions {
    std::filesystem::path source{};     ///< RocketMQ's storePathRootDir
    std::filesystem::path directory{};  ///< the new store; missing or empty
    bool is_linked = false;             ///< full segments become hard links
    bool is_dry = false;                ///< only says what would be done
    ImportProgress on_progress{};
};

/// What an import did, or would do.
struct ImportReport {
    bool was_stopped_cleanly = false;
    bool is_dry = false;
    LogOffset first, end;
    std::uint64_t records = 0;
    CopiedLog log;
    ImportPlan plan;
    ImportVerification verification;

    bool is_good() const noexcept { return verification.differences_total == 0; }
};

/// Makes a store of a RocketMQ store: its log bytes at their log offsets, so that message ids and
/// queue offsets stay what they are, its topics, groups and committed offsets as state records
/// behind them. Then reads every message back.
///
///   read source -> plan -> copy to <directory>.importing -> recover, append state, close ->
///   reopen, verify -> rename to <directory>
///
/// Nothing of the source is changed. `directory` appears whole or not at all; what an interrupted
/// import left is removed by the next one.
///
/// Threads   one; blocks on the disk.
/// Errors    of read_source. kRefused: `directory` is not empty. kConflict: another import runs.
///           kCorrupt: the source's log is damaged in the middle, each place named. kDiskFull:
///           not enough space, with numbers. kIo. A report that is not good is no error; the store
///           is left at <directory>.importing.
Result<ImportReport> import_rocketmq(FileSystem& files, Clock& clock, const ImportOptions& options);

}  // namespace gantry::storage

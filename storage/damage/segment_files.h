// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "common/result.h"
#include "storage/damage/quarantine.h"
#include "storage/log/commit_log.h"

#include <filesystem>

namespace gantry::storage {

/// What the files of the log have to be compared with.
struct ExpectedFiles {
    std::filesystem::path directory;
    bool refuses = false;  ///< a missing file is an error, not a lost range
    LogOffset durable;     ///< how far the log was durable once
    LogOffset newest;      ///< what checkpoint and snapshots know of
};

/// Takes what no segment file holds, although it was durable once, as lost.
///
/// Errors    kCorrupt, with the file's name: a file has the name of another segment, or is a copy
///           of one; there is no file at all; a gap behind which nothing was ever durable; with
///           `refuses` any gap that is not known as lost. kIo: a file cannot be read.
Status check_segment_files(const CommitLog& log,
                           const ExpectedFiles& expected,
                           Quarantine& quarantine);

}  // namespace gantry::storage

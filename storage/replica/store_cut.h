// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/types.h"

#include <cstdint>
#include <filesystem>

namespace gantry::storage {

/// What a cut took off a log.
struct StoreCut {
    std::uint64_t bytes = 0;     ///< behind the cut, without zeros at the end
    std::filesystem::path kept;  ///< the file they are kept in; empty: there were none
};

/// Ends the log of a closed store at `at`, where a frame ends, for good: the bytes behind are
/// copied to `cut/<offset>-<n>` in the store's directory and synced, then removed durably, their
/// sums first, so that no stop brings them back. The next open rebuilds what knows of them, from a
/// snapshot below `at`, or from the log's first record. Frames end at every end and epoch start of
/// a log; of one that is cut in two the next open takes off the rest too. A stop at any point
/// leaves a store that opens, cut or not, and may be cut again. kConflict: another process has the
/// store. kRefused: `at` is below the log's first byte, or below every state that stands for
/// deleted log: then all of it has to be put aside. Not meant for logs that RocketMQ wrote to at
/// `at`.
Result<StoreCut> cut_store(FileSystem& files, const StoreOptions& options, LogOffset at);

/// Puts a whole closed store aside, as `cut/all-<n>` in its directory, for an empty one in its
/// place; its storage id goes too. For a log that has nothing in common with the leader's. Segments
/// in directories of their own go to `cut-all-<n>` there. A stop in between leaves a store that
/// opens, under another id, and may be put aside again. kConflict: another process has the store.
Result<StoreCut> put_store_aside(FileSystem& files, const StoreOptions& options);

}  // namespace gantry::storage

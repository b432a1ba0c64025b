// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"

#include <filesystem>

namespace gantry::storage {

/// How far the log of a store is known to have been durable, from its checkpoint and the newest
/// checksums of blocks; 0 when nothing says. Bytes below it are never written again, so they may be
/// read while a broker runs. Changes nothing. kIo: the disk fails.
Result<LogOffset> durable_end(FileSystem& files, const std::filesystem::path& store);

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/result.h"

#include <filesystem>

namespace gantry::storage {

/// Files of a store that nobody has open. All of them block on the disk.

/// Removes a file; none is no error. Not durable until its directory is synced.
Status remove_if_there(FileSystem& files, const std::filesystem::path& path);

/// Removes what is in a directory without folders, durably; no such directory is no error.
Status remove_files_of(FileSystem& files, const std::filesystem::path& directory);

/// Makes a directory and those it is in, if they are missing, and their names durable: what is
/// synced in it later is lost with the name.
Status make_directory(FileSystem& files, const std::filesystem::path& directory);

}  // namespace gantry::storage

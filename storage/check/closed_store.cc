// SPDX-License-Identifier: Apache-2.0
#include "storage/check/closed_store.h"

#include <string>
#include <vector>

namespace gantry::storage {

Status remove_if_there(FileSystem& files, const std::filesystem::path& path) {
    return files.exists(path) ? files.remove(path) : ok();
}

Status remove_files_of(FileSystem& files, const std::filesystem::path& directory) {
    if (!files.exists(directory)) {
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.list(directory));
    for (const std::string& name : names) {
        GANTRY_TRY(files.remove(directory / name));
    }
    return files.sync_directory(directory);
}

Status make_directory(FileSystem& files, const std::filesystem::path& directory) {
    if (directory.empty() || files.exists(directory)) {
        return ok();
    }
    const std::filesystem::path parent = directory.parent_path();
    GANTRY_TRY(make_directory(files, parent));
    GANTRY_TRY(files.create_directories(directory));
    return files.sync_directory(parent.empty() ? std::filesystem::path(".") : parent);
}

}  // namespace gantry::storage

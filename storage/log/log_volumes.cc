// SPDX-License-Identifier: Apache-2.0
#include "storage/log/log_volumes.h"

#include "common/bytes.h"

#include <algorithm>
#include <string>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNoteName = "volumes";
constexpr std::string_view kMark = "files of a gantry log\n";
constexpr std::uint64_t kNoteBytesMax = 1 << 20;

bool contains(const std::vector<fs::path>& directories, const fs::path& directory) {
    return std::find(directories.begin(), directories.end(), directory) != directories.end();
}

Status check_is_there(FileSystem& files, const fs::path& directory, bool is_marked) {
    if (files.exists(is_marked ? directory / kVolumeMark : directory)) {
        return ok();
    }
    return Error{Errc::kNotFound,
                 "log directory " + directory.string() +
                     " of this store is missing or not mounted; its part of the log would look "
                     "lost"};
}

/// A directory may leave the store when none of the log is in it.
Status check_is_empty(FileSystem& files, const fs::path& directory, bool is_marked) {
    if (is_marked) {
        GANTRY_TRY(check_is_there(files, directory, is_marked));
    } else if (!files.exists(directory)) {
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.list(directory));
    if (std::none_of(names.begin(), names.end(), [](const std::string& name) {
            return parse_segment_name(name).has_value();
        })) {
        return ok();
    }
    return Error{
        Errc::kRefused,
        "store.log_directories lacks " + directory.string() + ", which holds files of the log"};
}

Status make_directory(FileSystem& files, const fs::path& directory) {
    GANTRY_TRY(files.create_directories(directory));
    GANTRY_TRY(write_file_atomically(files, directory / kVolumeMark, as_bytes(kMark)));
    return files.sync_directory(directory.parent_path());
}

}  // namespace

Result<std::vector<fs::path>> noted_log_directories(FileSystem& files, const fs::path& store) {
    std::vector<fs::path> directories;
    Result<std::string> note = read_file(files, store / kNoteName, kNoteBytesMax);
    if (!note && note.error().code != Errc::kNotFound) {
        return std::move(note).error();
    }
    if (!note) {
        return std::vector<fs::path>{store / "commitlog"};
    }
    for (std::size_t at = 0; at < note->size();) {
        const std::size_t end = std::min(note->find('\n', at), note->size());
        if (end > at) {
            directories.emplace_back(note->substr(at, end - at));
        }
        at = end + 1;
    }
    if (directories.empty()) {
        return Error{Errc::kCorrupt, (store / kNoteName).string() + " names no directory"};
    }
    return directories;
}

Result<SegmentList> list_log_of(FileSystem& files, const fs::path& store) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<fs::path> directories,
                            noted_log_directories(files, store));
    return list_segments(files, directories);
}

Result<std::vector<fs::path>> open_log_directories(FileSystem& files,
                                                   const fs::path& store,
                                                   const std::vector<fs::path>& wanted) {
    const std::vector<fs::path> directories =
        wanted.empty() ? std::vector<fs::path>{store / "commitlog"} : wanted;
    GANTRY_ASSIGN_OR_RETURN(const std::vector<fs::path> noted, noted_log_directories(files, store));
    const bool has_note = files.exists(store / kNoteName);
    for (const fs::path& directory : noted) {
        if (contains(directories, directory)) {
            if (has_note) {
                GANTRY_TRY(check_is_there(files, directory, true));
            }
        } else {
            GANTRY_TRY(check_is_empty(files, directory, has_note));
        }
    }
    if (wanted.empty() && !has_note) {
        GANTRY_TRY(files.create_directories(directories.front()));
        return directories;
    }
    for (const fs::path& directory : directories) {
        if (!has_note || !contains(noted, directory)) {
            GANTRY_TRY(make_directory(files, directory));
        }
    }
    std::string note;
    for (const fs::path& directory : directories) {
        note += directory.string() + '\n';
    }
    if (!has_note || noted != directories) {
        GANTRY_TRY(write_file_atomically(files, store / kNoteName, as_bytes(note)));
    }
    return directories;
}

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/state_snapshot.h"

#include "common/failpoint/failpoint.h"
#include "storage/files/message_file.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

constexpr std::uint32_t kMagic = 0x47535450U;  // GSTP
constexpr std::size_t kKept = 2;
constexpr std::string_view kSuffix = ".snapshot";
constexpr std::size_t kDigits = 20;

std::string name_of(std::int64_t log_offset) {
    std::array<char, 40> name{};
    std::snprintf(
        name.data(), name.size(), "%020lld%s", static_cast<long long>(log_offset), kSuffix.data());
    return name.data();
}

bool is_snapshot_name(const std::string& name) {
    return name.size() == kDigits + kSuffix.size() && name.substr(kDigits) == kSuffix &&
           name.find_first_not_of("0123456789") == kDigits;
}

/// Names of the snapshot files, newest first.
Result<std::vector<std::string>> list_snapshots(FileSystem& files,
                                                const std::filesystem::path& directory) {
    GANTRY_ASSIGN_OR_RETURN(std::vector<std::string> names, files.list(directory));
    names.erase(std::remove_if(names.begin(),
                               names.end(),
                               [](const std::string& name) { return !is_snapshot_name(name); }),
                names.end());
    std::sort(names.rbegin(), names.rend());
    return names;
}

Result<wire::StateSnapshot> load_one(FileSystem& files, const std::filesystem::path& path) {
    wire::StateSnapshot snapshot;
    GANTRY_TRY(load_message(files, path, kMagic, snapshot));
    if (path.filename() != name_of(snapshot.logoffset())) {
        return Error{Errc::kCorrupt, path.string() + ": its log offset is not that of its name"};
    }
    return snapshot;
}

}  // namespace

Status save_snapshot(FileSystem& files,
                     const std::filesystem::path& directory,
                     const wire::StateSnapshot& snapshot) {
    GANTRY_TRY(files.create_directories(directory));
    GANTRY_TRY(save_message(files, directory / name_of(snapshot.logoffset()), kMagic, snapshot));
    GANTRY_FAILPOINT_TRY("snapshot.saved");
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, list_snapshots(files, directory));
    for (std::size_t i = kKept; i < names.size(); ++i) {
        GANTRY_TRY(files.remove(directory / names[i]));
    }
    return ok();
}

Result<LoadedSnapshot> load_snapshot(FileSystem& files, const std::filesystem::path& directory) {
    LoadedSnapshot loaded;
    GANTRY_TRY(files.create_directories(directory));
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, list_snapshots(files, directory));
    for (const std::string& name : names) {
        Result<wire::StateSnapshot> snapshot = load_one(files, directory / name);
        if (snapshot) {
            loaded.snapshot = std::move(snapshot).value();
            loaded.found = true;
            break;
        }
        loaded.note += (loaded.note.empty() ? "" : "; ") + snapshot.error().detail;
    }
    return loaded;
}

Result<std::vector<LogOffset>> whole_snapshots(FileSystem& files,
                                               const std::filesystem::path& directory) {
    std::vector<LogOffset> whole;
    if (!files.exists(directory)) {
        return whole;
    }
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, list_snapshots(files, directory));
    for (const std::string& name : names) {
        if (const auto snapshot = load_one(files, directory / name)) {
            whole.emplace_back(snapshot->logoffset());
        }
    }
    return whole;
}

Result<std::vector<std::string>> damaged_snapshots(FileSystem& files,
                                                   const std::filesystem::path& directory) {
    std::vector<std::string> damaged;
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, list_snapshots(files, directory));
    for (const std::string& name : names) {
        if (!load_one(files, directory / name)) {
            damaged.push_back(name);
        }
    }
    return damaged;
}

}  // namespace gantry::storage

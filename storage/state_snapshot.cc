// SPDX-License-Identifier: Apache-2.0
#include "storage/state_snapshot.h"

#include "common/bytes.h"
#include "common/checksum.h"
#include "common/failpoint/failpoint.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

constexpr std::uint32_t kMagic = 0x47535450U;  // GSTP
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kHashBytes = 8;
constexpr std::size_t kKept = 2;
constexpr std::uint64_t kFileBytesMax = std::uint64_t{1} << 30U;
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

Result<wire::StateSnapshot> parse_snapshot(Bytes file) {
    if (file.size() < kHeaderBytes + kHashBytes) {
        return Error{Errc::kCorrupt, std::to_string(file.size()) + " B are too few"};
    }
    const Bytes hashed = file.first(file.size() - kHashBytes);
    if (load_be<std::uint64_t>(file.data() + hashed.size()) != xxh3(hashed)) {
        return Error{Errc::kCorrupt, "checksum does not match"};
    }
    if (load_be<std::uint32_t>(file.data()) != kMagic ||
        load_be<std::uint32_t>(file.data() + 4) != kVersion) {
        return Error{Errc::kCorrupt, "unknown format or version"};
    }
    const Bytes message = hashed.subspan(kHeaderBytes);
    wire::StateSnapshot snapshot;
    if (!snapshot.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
        return Error{Errc::kCorrupt, "does not parse"};
    }
    return snapshot;
}

Result<wire::StateSnapshot> load_one(FileSystem& files, const std::filesystem::path& path) {
    GANTRY_ASSIGN_OR_RETURN(const std::string file, read_file(files, path, kFileBytesMax));
    GANTRY_ASSIGN_OR_RETURN(wire::StateSnapshot snapshot, parse_snapshot(as_bytes(file)));
    if (path.filename() != name_of(snapshot.logoffset())) {
        return Error{Errc::kCorrupt, "log offset is not that of the file name"};
    }
    return snapshot;
}

}  // namespace

Status save_snapshot(FileSystem& files,
                     const std::filesystem::path& directory,
                     const wire::StateSnapshot& snapshot) {
    GANTRY_TRY(files.create_directories(directory));
    std::string file(kHeaderBytes, '\0');
    auto* const header = reinterpret_cast<std::byte*>(file.data());
    store_be(header, kMagic);
    store_be(header + 4, kVersion);
    if (!snapshot.AppendToString(&file) || file.size() + kHashBytes > kFileBytesMax) {
        return Error{Errc::kRefused,
                     "state snapshot of " + std::to_string(snapshot.ByteSizeLong()) + " B > " +
                         std::to_string(kFileBytesMax) + " B"};
    }
    const std::uint64_t hash = xxh3(as_bytes(file));
    file.resize(file.size() + kHashBytes);
    store_be(reinterpret_cast<std::byte*>(file.data()) + file.size() - kHashBytes, hash);
    GANTRY_TRY(
        write_file_atomically(files, directory / name_of(snapshot.logoffset()), as_bytes(file)));
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
        loaded.note += (loaded.note.empty() ? "" : "; ") + name + ": " + snapshot.error().detail;
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

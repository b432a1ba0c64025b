// SPDX-License-Identifier: Apache-2.0
#include "storage/repair/unfolded.h"

#include "common/log.h"
#include "storage/log/segment.h"
#include "storage/number_file.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

constexpr std::string_view kMagic = "GANTRYUF";
constexpr const char* kName = "unfolded";

Result<std::optional<LogOffset>> load(FileSystem& files, const std::filesystem::path& store) {
    GANTRY_ASSIGN_OR_RETURN(const auto numbers, load_numbers(files, store / kName, kMagic, 1));
    return numbers ? std::optional(LogOffset(numbers->front())) : std::nullopt;
}

/// Removes the snapshots behind `from`; whether what is left can be folded on from.
Result<bool> remove_snapshots(FileSystem& files,
                              const std::filesystem::path& directory,
                              LogOffset from,
                              LogOffset log_first) {
    if (!files.exists(directory)) {
        return true;
    }
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.list(directory));
    std::vector<std::string> newer;
    bool has_older = log_first == LogOffset(0);
    for (const std::string& name : names) {
        const auto at = parse_segment_name(std::string_view(name).substr(0, name.find('.')));
        if (at && *at > from) {
            newer.push_back(name);
        }
        has_older = has_older || (at && *at <= from);
    }
    for (const std::string& name : has_older ? newer : std::vector<std::string>()) {
        GANTRY_TRY(files.remove(directory / name));
    }
    GANTRY_TRY(files.sync_directory(directory));
    return has_older;
}

}  // namespace

Status fold_mended(FileSystem& files,
                   const std::filesystem::path& store,
                   const LostRanges& lost,
                   LogOffset log_first) {
    GANTRY_ASSIGN_OR_RETURN(const std::optional<LogOffset> from, load(files, store));
    if (!from || find_lost(*lost.snapshot(), *from, *from + 1) != nullptr) {
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(const bool can_fold,
                            remove_snapshots(files, store / "state", *from, log_first));
    if (can_fold) {
        kLog.info("state is folded again from a part of the log that was mended",
                  {{"from", from->value}});
    } else {
        kLog.error("changes of topics, groups or offsets stay lost: no snapshot before is left",
                   {{"from", from->value}});
    }
    GANTRY_TRY(files.remove(store / kName));
    return files.sync_directory(store);
}

Status note_unfolded(FileSystem& files,
                     const std::filesystem::path& store,
                     const LostRanges& lost,
                     LogOffset folded_from) {
    const auto list = lost.snapshot();
    const auto behind = std::find_if(
        list->begin(), list->end(), [&](const LostRange& range) { return range.to > folded_from; });
    if (behind == list->end()) {
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(const std::optional<LogOffset> known, load(files, store));
    const LogOffset from = known ? std::min(*known, behind->from) : behind->from;
    return known == from ? ok()
                         : save_numbers(files, store / kName, kMagic, std::array{from.value});
}

}  // namespace gantry::storage

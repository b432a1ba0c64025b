// SPDX-License-Identifier: Apache-2.0
#include "storage/retention/retention_clock.h"

#include "storage/files/number_file.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace gantry::storage {
namespace {

constexpr std::string_view kMagic = "GANTRYRC";

}  // namespace

RetentionClock::RetentionClock(WallMs wall,
                               std::optional<WallMs> before,
                               std::int64_t slack_ms) noexcept
    : now_(before ? std::min(wall, *before + slack_ms) : wall) {}

WallMs RetentionClock::advance(WallMs wall, std::chrono::milliseconds elapsed) noexcept {
    now_ = std::min(wall, now_ + kSpeedMax * elapsed.count());
    return now_;
}

Status save_retention_clock(FileSystem& files, const std::filesystem::path& path, WallMs now) {
    return save_numbers(files, path, kMagic, std::array{now});
}

RetentionClock load_retention_clock(FileSystem& files,
                                    const std::filesystem::path& path,
                                    WallMs wall,
                                    std::int64_t slack_ms) {
    const auto saved = load_numbers(files, path, kMagic, 1);
    const bool is_there = saved && *saved;
    return {wall, is_there ? std::optional((*saved)->front()) : std::nullopt, slack_ms};
}

}  // namespace gantry::storage

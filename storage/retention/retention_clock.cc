// SPDX-License-Identifier: Apache-2.0
#include "storage/retention/retention_clock.h"

#include "common/bytes.h"
#include "common/checksum.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>

namespace gantry::storage {
namespace {

constexpr std::string_view kMagic = "GANTRYRC";
constexpr std::size_t kTimeAt = 8;
constexpr std::size_t kSumAt = 16;
constexpr std::size_t kClockBytes = 24;

std::optional<WallMs> load(FileSystem& files, const std::filesystem::path& path) {
    const Result<std::string> content = read_file(files, path, kClockBytes);
    if (!content || content->size() != kClockBytes ||
        !std::string_view(*content).starts_with(kMagic)) {
        return std::nullopt;
    }
    const Bytes bytes = as_bytes(*content);
    if (load_be<std::uint64_t>(bytes.data() + kSumAt) != xxh3(bytes.first(kSumAt))) {
        return std::nullopt;
    }
    return load_be<std::int64_t>(bytes.data() + kTimeAt);
}

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
    std::array<std::byte, kClockBytes> bytes{};
    std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
    store_be<std::int64_t>(bytes.data() + kTimeAt, now);
    store_be<std::uint64_t>(bytes.data() + kSumAt, xxh3(Bytes(bytes).first(kSumAt)));
    return write_file_atomically(files, path, bytes);
}

RetentionClock load_retention_clock(FileSystem& files,
                                    const std::filesystem::path& path,
                                    WallMs wall,
                                    std::int64_t slack_ms) {
    return {wall, load(files, path), slack_ms};
}

}  // namespace gantry::storage

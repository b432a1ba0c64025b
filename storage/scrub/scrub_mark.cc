// SPDX-License-Identifier: Apache-2.0
#include "storage/scrub/scrub_mark.h"

#include "storage/files/number_file.h"

#include <array>
#include <string_view>

namespace gantry::storage {
namespace {

// Numbers: begun ms, done ms, segment, end.
constexpr std::string_view kMagic = "GANTRYSM";
constexpr std::size_t kCount = 4;

}  // namespace

std::optional<ScrubMark> load_scrub_mark(FileSystem& files, const std::filesystem::path& path) {
    const auto numbers = load_numbers(files, path, kMagic, kCount);
    if (!numbers || !*numbers) {
        return std::nullopt;
    }
    const auto& read = **numbers;
    return ScrubMark{read[0], read[1], LogOffset(read[2]), LogOffset(read[3])};
}

Status save_scrub_mark(FileSystem& files,
                       const std::filesystem::path& path,
                       const ScrubMark& mark) {
    return save_numbers(
        files,
        path,
        kMagic,
        std::array{mark.begun_ms, mark.done_ms, mark.segment.value, mark.end.value});
}

}  // namespace gantry::storage

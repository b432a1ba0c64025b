// SPDX-License-Identifier: Apache-2.0
#include "storage/checkpoint.h"

#include "storage/files/number_file.h"

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gantry::storage {
namespace {

constexpr std::string_view kMagic = "GANTRYCP";

}  // namespace

Status save_checkpoint(FileSystem& files,
                       const std::filesystem::path& path,
                       const Checkpoint& checkpoint) {
    return save_numbers(files, path, kMagic, std::array{checkpoint.at.value});
}

Result<std::optional<Checkpoint>> load_checkpoint(FileSystem& files,
                                                  const std::filesystem::path& path) {
    GANTRY_ASSIGN_OR_RETURN(const std::optional<std::vector<std::int64_t>> numbers,
                            load_numbers(files, path, kMagic, 1));
    return numbers ? std::optional(Checkpoint{LogOffset(numbers->front())}) : std::nullopt;
}

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/result.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace gantry::storage {

/// A few numbers in a file that is replaced as a whole.
///
///   magic, 8 bytes | i64 ... | u64 XXH3 of everything before          all big-endian
///
/// Makes them durable. Blocks. Errors of the disk.
Status save_numbers(FileSystem& files,
                    const std::filesystem::path& path,
                    std::string_view magic,
                    std::span<const std::int64_t> numbers);

/// The `count` numbers; nothing when there is no such file, or it is damaged or another one's.
/// kIo: it cannot be read.
Result<std::optional<std::vector<std::int64_t>>> load_numbers(FileSystem& files,
                                                              const std::filesystem::path& path,
                                                              std::string_view magic,
                                                              std::size_t count);

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/checkpoint.h"

#include "common/bytes.h"
#include "common/checksum.h"

#include <array>
#include <cstring>
#include <string>
#include <string_view>

namespace gantry::storage {
namespace {

constexpr std::string_view kMagic = "GANTRYCP";
constexpr std::size_t kOffsetAt = 8;
constexpr std::size_t kSumAt = 16;
constexpr std::size_t kCheckpointBytes = 24;
constexpr std::size_t kFileBytesMax = 4'096;

}  // namespace

Status save_checkpoint(FileSystem& files,
                       const std::filesystem::path& path,
                       const Checkpoint& checkpoint) {
    std::array<std::byte, kCheckpointBytes> bytes{};
    std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
    store_be<std::int64_t>(bytes.data() + kOffsetAt, checkpoint.at.value);
    store_be<std::uint64_t>(bytes.data() + kSumAt, xxh3(Bytes(bytes).first(kSumAt)));
    return write_file_atomically(files, path, bytes);
}

Result<std::optional<Checkpoint>> load_checkpoint(FileSystem& files,
                                                  const std::filesystem::path& path) {
    Result<std::string> content = read_file(files, path, kFileBytesMax);
    if (!content) {
        if (content.error().code == Errc::kNotFound || content.error().code == Errc::kRefused) {
            return std::optional<Checkpoint>();
        }
        return std::move(content).error();
    }
    const Bytes bytes = as_bytes(*content);
    if (bytes.size() != kCheckpointBytes || !std::string_view(*content).starts_with(kMagic) ||
        load_be<std::uint64_t>(bytes.data() + kSumAt) != xxh3(bytes.first(kSumAt))) {
        return std::optional<Checkpoint>();
    }
    return std::optional<Checkpoint>(
        Checkpoint{LogOffset(load_be<std::int64_t>(bytes.data() + kOffsetAt))});
}

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/files/number_file.h"

#include "common/bytes.h"
#include "common/check.h"
#include "common/checksum.h"

#include <cstring>
#include <string>

namespace gantry::storage {
namespace {

constexpr std::size_t kMagicBytes = 8;
constexpr std::size_t kNumberBytes = 8;
constexpr std::size_t kSumBytes = 8;
constexpr std::size_t kFileBytesMax = 4'096;

using Numbers = std::vector<std::int64_t>;

}  // namespace

Status save_numbers(FileSystem& files,
                    const std::filesystem::path& path,
                    std::string_view magic,
                    std::span<const std::int64_t> numbers) {
    GANTRY_ASSERT(magic.size() == kMagicBytes);
    const std::size_t sum_at = kMagicBytes + numbers.size() * kNumberBytes;
    std::vector<std::byte> bytes(sum_at + kSumBytes);
    std::memcpy(bytes.data(), magic.data(), magic.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        store_be<std::int64_t>(bytes.data() + kMagicBytes + i * kNumberBytes, numbers[i]);
    }
    store_be<std::uint64_t>(bytes.data() + sum_at, xxh3(Bytes(bytes).first(sum_at)));
    return write_file_atomically(files, path, bytes);
}

Result<std::optional<Numbers>> load_numbers(FileSystem& files,
                                            const std::filesystem::path& path,
                                            std::string_view magic,
                                            std::size_t count) {
    Result<std::string> content = read_file(files, path, kFileBytesMax);
    if (!content) {
        if (content.error().code == Errc::kNotFound || content.error().code == Errc::kRefused) {
            return std::optional<Numbers>();
        }
        return std::move(content).error();
    }
    const Bytes bytes = as_bytes(*content);
    const std::size_t sum_at = kMagicBytes + count * kNumberBytes;
    if (bytes.size() != sum_at + kSumBytes || !std::string_view(*content).starts_with(magic) ||
        load_be<std::uint64_t>(bytes.data() + sum_at) != xxh3(bytes.first(sum_at))) {
        return std::optional<Numbers>();
    }
    Numbers numbers(count);
    for (std::size_t i = 0; i < count; ++i) {
        numbers[i] = load_be<std::int64_t>(bytes.data() + kMagicBytes + i * kNumberBytes);
    }
    return std::optional(std::move(numbers));
}

}  // namespace gantry::storage

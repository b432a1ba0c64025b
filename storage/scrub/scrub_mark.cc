// SPDX-License-Identifier: Apache-2.0
#include "storage/scrub/scrub_mark.h"

#include "common/bytes.h"
#include "common/checksum.h"

#include <array>
#include <cstring>
#include <string>
#include <string_view>

namespace gantry::storage {
namespace {

// magic | i64 begun ms | i64 done ms | i64 segment | i64 end | u64 XXH3 of everything before
constexpr std::string_view kMagic = "GANTRYSM";
constexpr std::size_t kSumAt = 40;
constexpr std::size_t kBytes = 48;

}  // namespace

std::optional<ScrubMark> load_scrub_mark(FileSystem& files, const std::filesystem::path& path) {
    const Result<std::string> content = read_file(files, path, kBytes);
    if (!content || content->size() != kBytes || content->compare(0, 8, kMagic) != 0) {
        return std::nullopt;
    }
    const Bytes bytes = as_bytes(*content);
    if (load_be<std::uint64_t>(bytes.data() + kSumAt) != xxh3(bytes.first(kSumAt))) {
        return std::nullopt;
    }
    return ScrubMark{load_be<std::int64_t>(bytes.data() + 8),
                     load_be<std::int64_t>(bytes.data() + 16),
                     LogOffset(load_be<std::int64_t>(bytes.data() + 24)),
                     LogOffset(load_be<std::int64_t>(bytes.data() + 32))};
}

Status save_scrub_mark(FileSystem& files,
                       const std::filesystem::path& path,
                       const ScrubMark& mark) {
    std::array<std::byte, kBytes> bytes{};
    std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
    store_be<std::int64_t>(bytes.data() + 8, mark.begun_ms);
    store_be<std::int64_t>(bytes.data() + 16, mark.done_ms);
    store_be<std::int64_t>(bytes.data() + 24, mark.segment.value);
    store_be<std::int64_t>(bytes.data() + 32, mark.end.value);
    store_be<std::uint64_t>(bytes.data() + kSumAt, xxh3(Bytes(bytes).first(kSumAt)));
    return write_file_atomically(files, path, bytes);
}

}  // namespace gantry::storage

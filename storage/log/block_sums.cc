// SPDX-License-Identifier: Apache-2.0
#include "storage/log/block_sums.h"

#include "common/bytes.h"
#include "common/checksum.h"
#include "common/failpoint/failpoint.h"

#include <algorithm>
#include <array>

namespace gantry::storage {
namespace {

// Slot: i64 log offset | u32 bytes | u32 epoch | u64 XXH3 of the bytes | u64 XXH3 of these 24.
constexpr std::size_t kBytesAt = 8;
constexpr std::size_t kEpochAt = 12;
constexpr std::size_t kSumAt = 16;
constexpr std::size_t kCheckAt = 24;
static_assert(kCheckAt + 8 == BlockSums::kSlotBytes);

constexpr std::uint64_t kFileBytesMax = std::uint64_t{64} << 20U;

using Slot = std::array<std::byte, BlockSums::kSlotBytes>;

Slot encode(const BlockSum& block) noexcept {
    Slot slot{};
    store_be<std::int64_t>(slot.data(), block.at.value);
    store_be<std::uint32_t>(slot.data() + kBytesAt, block.bytes);
    store_be<std::uint32_t>(slot.data() + kEpochAt, block.epoch);
    store_be<std::uint64_t>(slot.data() + kSumAt, block.sum);
    store_be<std::uint64_t>(slot.data() + kCheckAt, xxh3(Bytes(slot).first(kCheckAt)));
    return slot;
}

}  // namespace

Status BlockSums::open() {
    return files_.create_directories(directory_);
}

Result<File*> BlockSums::file_of(LogOffset segment_base) {
    if (open_file_ == nullptr || open_base_ != segment_base) {
        open_file_.reset();
        GANTRY_ASSIGN_OR_RETURN(
            open_file_,
            files_.open(directory_ / segment_name(segment_base), FileSystem::Open::kCreate));
        open_base_ = segment_base;
    }
    return open_file_.get();
}

Status BlockSums::add(const Segment& segment,
                      LogOffset from,
                      LogOffset to,
                      const EpochList& epochs) {
    const std::uint64_t first = bytes_between(segment.base(), from) / kBlockBytes;
    const std::uint64_t last = (bytes_between(segment.base(), to) - 1) / kBlockBytes;
    std::vector<std::byte> slots;
    slots.reserve((last - first + 1) * kSlotBytes);
    for (std::uint64_t i = first; i <= last; ++i) {
        BlockSum block;
        block.at = segment.base() + static_cast<std::int64_t>(i * kBlockBytes);
        block.bytes = static_cast<std::uint32_t>(
            std::min<std::uint64_t>(kBlockBytes, bytes_between(block.at, to)));
        if (segment.is_mapped()) {
            block.sum = xxh3({segment.memory(block.at), block.bytes});
        } else {
            block_.resize(block.bytes);
            GANTRY_TRY(segment.file().read_at(i * kBlockBytes, block_));
            block.sum = xxh3(block_);
        }
        block.epoch = static_cast<std::uint32_t>(epoch_at(epochs, block.end() - 1));
        const Slot slot = encode(block);
        slots.insert(slots.end(), slot.begin(), slot.end());
    }
    GANTRY_FAILPOINT_TRY("flush.sums");
    GANTRY_ASSIGN_OR_RETURN(File* const file, file_of(segment.base()));
    return file->write_at(first * kSlotBytes, slots);
}

Result<std::vector<BlockSum>> BlockSums::load(LogOffset segment_base) const {
    std::vector<BlockSum> sums;
    Result<std::string> content =
        read_file(files_, directory_ / segment_name(segment_base), kFileBytesMax);
    if (!content) {
        if (content.error().code == Errc::kNotFound) {
            return sums;
        }
        return std::move(content).error();
    }
    Bytes left = as_bytes(*content);
    for (std::int64_t i = 0; left.size() >= kSlotBytes; ++i, left = left.subspan(kSlotBytes)) {
        BlockSum block;
        block.at = LogOffset(load_be<std::int64_t>(left.data()));
        block.bytes = load_be<std::uint32_t>(left.data() + kBytesAt);
        block.epoch = load_be<std::uint32_t>(left.data() + kEpochAt);
        block.sum = load_be<std::uint64_t>(left.data() + kSumAt);
        const bool is_whole =
            load_be<std::uint64_t>(left.data() + kCheckAt) == xxh3(left.first(kCheckAt));
        if (is_whole && block.at == segment_base + i * std::int64_t{kBlockBytes} &&
            block.bytes > 0 && block.bytes <= kBlockBytes) {
            sums.push_back(block);
        }
    }
    return sums;
}

Result<std::vector<LogOffset>> BlockSums::segments() const {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.list(directory_));
    std::vector<LogOffset> bases;
    for (const std::string& name : names) {
        if (const std::optional<LogOffset> base = parse_segment_name(name)) {
            bases.push_back(*base);
        }
    }
    return bases;
}

Status BlockSums::cut(LogOffset tail) {
    open_file_.reset();
    GANTRY_ASSIGN_OR_RETURN(const std::vector<LogOffset> bases, segments());
    bool has_removed = false;
    // From the last one on, so that a stop in between leaves no sums behind a gap.
    for (auto base = bases.rbegin(); base != bases.rend(); ++base) {
        if (*base >= tail) {
            GANTRY_TRY(remove(*base));
            has_removed = true;
            continue;
        }
        const std::uint64_t whole_slots = bytes_between(*base, tail) / kBlockBytes;
        GANTRY_ASSIGN_OR_RETURN(File* const file, file_of(*base));
        GANTRY_ASSIGN_OR_RETURN(const std::uint64_t size, file->size());
        if (size > whole_slots * kSlotBytes) {
            // A sum of bytes that are cut must not outlive them: others will stand in their place.
            GANTRY_TRY(file->truncate(whole_slots * kSlotBytes));
            GANTRY_TRY(file->sync_data());
        }
        break;
    }
    return has_removed ? files_.sync_directory(directory_) : ok();
}

Status BlockSums::remove_deleted(const std::vector<LogOffset>& segment_bases) {
    for (const LogOffset base : segment_bases) {
        const std::filesystem::path path = directory_ / segment_name(base);
        if (files_.exists(path)) {
            GANTRY_TRY(files_.remove(path));
        }
    }
    return files_.sync_directory(directory_);
}

Status BlockSums::remove(LogOffset segment_base) {
    if (open_file_ != nullptr && open_base_ == segment_base) {
        open_file_.reset();
    }
    const std::filesystem::path path = directory_ / segment_name(segment_base);
    return files_.exists(path) ? files_.remove(path) : ok();
}

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/index/key_index_file.h"

#include "common/check.h"
#include "common/checksum.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace gantry::storage {
namespace {

constexpr std::uint32_t kMagic = 0x474B4958U;  // GKIX
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderPageBytes = 4'096;
constexpr std::size_t kHeaderBytes = 128;
constexpr std::size_t kHashAt = 120;
constexpr std::size_t kSlotBytes = 4;
constexpr std::size_t kEntryBytes = 24;
constexpr std::uint32_t kEntriesMax = std::uint32_t{1} << 30U;
constexpr std::uint32_t kSlotsExact = 1;
constexpr std::uint32_t kWasFlushed = 2;
constexpr std::int64_t kRemoved = -1;  ///< log offset of an entry that was truncated

/// Whole seconds from `base` to `at`, rounded down, within what an entry can hold.
std::int32_t seconds_between(WallMs base, WallMs at) noexcept {
    constexpr std::int64_t kFar = std::int64_t{1} << 50U;
    const std::int64_t ms = std::clamp(at, -kFar, kFar) - std::clamp(base, -kFar, kFar);
    const std::int64_t seconds = ms / 1'000 - (ms % 1'000 < 0 ? 1 : 0);
    return static_cast<std::int32_t>(
        std::clamp<std::int64_t>(seconds,
                                 std::numeric_limits<std::int32_t>::min(),
                                 std::numeric_limits<std::int32_t>::max()));
}

}  // namespace

std::array<std::byte, 128> KeyIndexFile::encode(const Facts& facts) noexcept {
    std::array<std::byte, kHeaderBytes> header{};
    std::byte* const at = header.data();
    store_be(at, kMagic);
    store_be(at + 4, kVersion);
    store_be(at + 8, facts.slots);
    store_be(at + 12, facts.entries);
    store_be(at + 16, facts.count);
    const std::uint32_t flags =
        (facts.slots_are_exact ? kSlotsExact : 0U) | (facts.was_flushed ? kWasFlushed : 0U);
    store_be(at + 20, flags);
    store_be(at + 24, facts.base_ms);
    store_be(at + 32, facts.begin_ms);
    store_be(at + 40, facts.end_ms);
    store_be(at + 48, facts.last);
    store_be(at + kHashAt, xxh3(Bytes(at, kHashAt)));
    return header;
}

bool KeyIndexFile::decode(Bytes header, Facts* facts) noexcept {
    const std::byte* const at = header.data();
    if (header.size() < kHeaderBytes ||
        load_be<std::uint64_t>(at + kHashAt) != xxh3(header.first(kHashAt)) ||
        load_be<std::uint32_t>(at) != kMagic || load_be<std::uint32_t>(at + 4) != kVersion) {
        return false;
    }
    facts->slots = load_be<std::uint32_t>(at + 8);
    facts->entries = load_be<std::uint32_t>(at + 12);
    facts->count = load_be<std::uint32_t>(at + 16);
    const auto flags = load_be<std::uint32_t>(at + 20);
    facts->slots_are_exact = (flags & kSlotsExact) != 0;
    facts->was_flushed = (flags & kWasFlushed) != 0;
    facts->base_ms = load_be<std::int64_t>(at + 24);
    facts->begin_ms = load_be<std::int64_t>(at + 32);
    facts->end_ms = load_be<std::int64_t>(at + 40);
    facts->last = load_be<std::int64_t>(at + 48);
    return facts->slots > 0 && facts->entries > 0 && facts->entries <= kEntriesMax &&
           facts->slots <= kEntriesMax && facts->count <= facts->entries;
}

std::uint64_t KeyIndexFile::file_bytes(const Facts& facts) noexcept {
    return kHeaderPageBytes + std::uint64_t{facts.slots} * kSlotBytes +
           std::uint64_t{facts.entries} * kEntryBytes;
}

Result<std::shared_ptr<KeyIndexFile>> KeyIndexFile::create(FileSystem& files,
                                                           const std::filesystem::path& path,
                                                           std::uint32_t entries) {
    if (entries == 0 || entries > kEntriesMax) {
        return Error{Errc::kRefused,
                     "index file of " + std::to_string(entries) + " entries, not within 1 to " +
                         std::to_string(kEntriesMax)};
    }
    Facts facts;
    facts.entries = entries;
    facts.slots = entries / 2 + 1;
    GANTRY_ASSIGN_OR_RETURN(std::unique_ptr<File> file,
                            files.open(path, FileSystem::Open::kCreate));
    // What an earlier file of that name held must not be taken for slots.
    GANTRY_TRY(file->truncate(0));
    GANTRY_TRY(file->allocate(file_bytes(facts)));
    GANTRY_ASSIGN_OR_RETURN(Mapping mapping, file->map(file_bytes(facts), true));
    GANTRY_TRY(mapping.populate_for_write(0, kHeaderPageBytes + facts.slots * kSlotBytes));
    std::shared_ptr<KeyIndexFile> self(new KeyIndexFile(path, std::move(file), std::move(mapping)));
    self->facts_ = facts;
    const auto header = encode(facts);
    std::copy(header.begin(), header.end(), self->mapping_.data());
    return self;
}

Result<std::shared_ptr<KeyIndexFile>> KeyIndexFile::open(FileSystem& files,
                                                         const std::filesystem::path& path) {
    GANTRY_ASSIGN_OR_RETURN(std::unique_ptr<File> file,
                            files.open(path, FileSystem::Open::kReadWrite));
    std::array<std::byte, kHeaderBytes> header{};
    GANTRY_ASSIGN_OR_RETURN(const std::size_t read, file->read_at(0, header));
    if (header == std::array<std::byte, kHeaderBytes>{}) {
        return Error{Errc::kNotFound, "index file " + path.string() + ": no header"};
    }
    Facts facts;
    if (!decode(Bytes(header).first(read), &facts)) {
        return Error{Errc::kCorrupt, "index file " + path.string() + ": bad header"};
    }
    GANTRY_ASSIGN_OR_RETURN(const std::uint64_t size, file->size());
    if (size < file_bytes(facts)) {
        return Error{Errc::kCorrupt,
                     "index file " + path.string() + " has " + std::to_string(size) + " B < " +
                         std::to_string(file_bytes(facts)) + " B"};
    }
    // A hole in the file would kill the process at a store on a full disk.
    GANTRY_TRY(file->allocate(file_bytes(facts)));
    GANTRY_ASSIGN_OR_RETURN(Mapping mapping, file->map(file_bytes(facts), true));
    std::shared_ptr<KeyIndexFile> self(new KeyIndexFile(path, std::move(file), std::move(mapping)));
    self->facts_ = facts;
    if (!facts.slots_are_exact) {
        self->rebuild_slots();
        return self;
    }
    self->facts_.slots_are_exact = false;
    if (!self->is_full()) {
        // Durable before the first put: its slot must not be believed after a crash.
        const auto open_header = encode(self->facts_);
        std::copy(open_header.begin(), open_header.end(), self->mapping_.data());
        GANTRY_TRY(self->file_->sync_data());
    }
    return self;
}

KeyIndexFile::~KeyIndexFile() {
    if (facts_.was_flushed && flushed_changes_ == changes_) {
        Facts closed = facts_;
        closed.slots_are_exact = true;
        const auto header = encode(closed);
        std::copy(header.begin(), header.end(), mapping_.data());
    }
}

std::byte* KeyIndexFile::slot_of(std::uint64_t hash) const noexcept {
    const std::uint64_t slot = ((hash >> 32U) * facts_.slots) >> 32U;
    return mapping_.data() + kHeaderPageBytes + slot * kSlotBytes;
}

std::byte* KeyIndexFile::entry_at(std::uint32_t number) const noexcept {
    return mapping_.data() + kHeaderPageBytes + std::uint64_t{facts_.slots} * kSlotBytes +
           std::uint64_t{number - 1} * kEntryBytes;
}

void KeyIndexFile::put(std::uint64_t hash, LogOffset at, WallMs store_ms) noexcept {
    GANTRY_ASSERT(!is_full());
    if (facts_.count == 0) {
        facts_.base_ms = store_ms;
    }
    std::byte* const slot = slot_of(hash);
    std::byte* const entry = entry_at(facts_.count + 1);
    store_be(entry, hash);
    store_be(entry + 8, at.value);
    store_be(entry + 16, seconds_between(facts_.base_ms, store_ms));
    std::memcpy(entry + 20, slot, kSlotBytes);
    store_be(slot, ++facts_.count);
    facts_.begin_ms = std::min(facts_.begin_ms, store_ms);
    facts_.end_ms = std::max(facts_.end_ms, store_ms);
    facts_.last = std::max(facts_.last, at.value);
    ++changes_;
}

std::uint32_t KeyIndexFile::head_of(const KeyIndex::Query& query) const noexcept {
    if (facts_.count == 0 || query.end < facts_.begin_ms || query.begin > facts_.end_ms) {
        return 0;
    }
    const auto head = load_be<std::uint32_t>(slot_of(query.hash));
    return head <= facts_.count ? head : 0;
}

void KeyIndexFile::walk(std::uint32_t head,
                        const KeyIndex::Query& query,
                        std::vector<LogOffset>* found) const {
    const std::int32_t begin = seconds_between(facts_.base_ms, query.begin);
    const std::int32_t end = seconds_between(facts_.base_ms, query.end);
    while (head != 0 && found->size() < query.count_max) {
        const std::byte* const entry = entry_at(head);
        const auto seconds = load_be<std::int32_t>(entry + 16);
        const auto at = load_be<std::int64_t>(entry + 8);
        if (load_be<std::uint64_t>(entry) == query.hash && at != kRemoved && seconds >= begin &&
            seconds <= end) {
            found->emplace_back(at);
        }
        // Chains lead to older entries only; anything else is damage.
        const auto previous = load_be<std::uint32_t>(entry + 20);
        head = previous < head ? previous : 0;
    }
}

void KeyIndexFile::rebuild_slots() noexcept {
    std::memset(mapping_.data() + kHeaderPageBytes, 0, std::size_t{facts_.slots} * kSlotBytes);
    for (std::uint32_t number = 1; number <= facts_.count; ++number) {
        std::byte* const entry = entry_at(number);
        std::byte* const slot = slot_of(load_be<std::uint64_t>(entry));
        std::memcpy(entry + 20, slot, kSlotBytes);
        store_be(slot, number);
    }
    facts_.slots_are_exact = false;
    ++changes_;
}

void KeyIndexFile::truncate_after(LogOffset end) noexcept {
    if (facts_.last < end.value) {
        return;
    }
    std::uint32_t kept = 0;
    facts_.last = -1;
    for (std::uint32_t number = 1; number <= facts_.count; ++number) {
        std::byte* const entry = entry_at(number);
        const auto at = load_be<std::int64_t>(entry + 8);
        if (at >= end.value) {
            store_be(entry + 8, kRemoved);
        } else if (at != kRemoved) {
            kept = number;
            facts_.last = std::max(facts_.last, at);
        }
    }
    facts_.count = kept;
    rebuild_slots();
}

KeyIndexFile::Flush KeyIndexFile::begin_flush() const noexcept {
    Facts facts = facts_;
    facts.slots_are_exact = is_full();
    facts.was_flushed = true;
    return {encode(facts), changes_, !facts_.was_flushed || changes_ != flushed_changes_};
}

Status KeyIndexFile::make_durable(const Flush& flush) {
    GANTRY_TRY(file_->sync_data());
    std::copy(flush.header.begin(), flush.header.end(), mapping_.data());
    return file_->sync_data();
}

}  // namespace gantry::storage

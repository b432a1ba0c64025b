// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/planted_mark.h"

#include "common/bytes.h"
#include "common/checksum.h"

#include <cstddef>

namespace gantry::storage {
namespace {

constexpr std::uint32_t kMagic = 0x47504C54U;  // GPLT
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kHashBytes = 8;
constexpr std::uint64_t kFileBytesMax = std::uint64_t{1} << 30U;
constexpr const char* kName = "planted";

Result<wire::StoreSeed> parse(Bytes file) {
    if (file.size() < kHeaderBytes + kHashBytes) {
        return Error{Errc::kCorrupt, std::to_string(file.size()) + " B are too few"};
    }
    const Bytes hashed = file.first(file.size() - kHashBytes);
    if (load_be<std::uint64_t>(file.data() + hashed.size()) != xxh3(hashed)) {
        return Error{Errc::kCorrupt, "its checksum does not match"};
    }
    if (load_be<std::uint32_t>(file.data()) != kMagic ||
        load_be<std::uint32_t>(file.data() + 4) != kVersion) {
        return Error{Errc::kCorrupt, "unknown format or version"};
    }
    const Bytes message = hashed.subspan(kHeaderBytes);
    wire::StoreSeed seed;
    if (!seed.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
        return Error{Errc::kCorrupt, "it does not parse"};
    }
    return seed;
}

}  // namespace

PlantedMark::PlantedMark(wire::StoreSeed seed) : seed_(std::move(seed)) {
    const std::int64_t until = seed_.state().logoffset();
    seed_.mutable_state()->Clear();
    seed_.mutable_state()->set_logoffset(until);
    seed_.clear_imported();
    for (const wire::StoreSeed::Queue& queue : seed_.queues()) {
        lives_from_[queue.topic()][queue.queueid()] = queue.from();
    }
}

Result<std::optional<PlantedMark>> PlantedMark::load(FileSystem& files,
                                                     const std::filesystem::path& store) {
    if (!files.exists(store / kName)) {
        return std::optional<PlantedMark>();
    }
    GANTRY_ASSIGN_OR_RETURN(const std::string file, read_file(files, store / kName, kFileBytesMax));
    Result<wire::StoreSeed> seed = parse(as_bytes(file));
    if (!seed) {
        return Error{seed.error().code, (store / kName).string() + ": " + seed.error().detail};
    }
    return std::optional<PlantedMark>(PlantedMark(std::move(seed).value()));
}

Status PlantedMark::save(FileSystem& files, const std::filesystem::path& store) const {
    std::string file(kHeaderBytes, '\0');
    auto* const header = reinterpret_cast<std::byte*>(file.data());
    store_be(header, kMagic);
    store_be(header + 4, kVersion);
    if (!seed_.AppendToString(&file) || file.size() + kHashBytes > kFileBytesMax) {
        return Error{Errc::kRefused,
                     (store / kName).string() + " of " + std::to_string(seed_.ByteSizeLong()) +
                         " B > " + std::to_string(kFileBytesMax) + " B"};
    }
    const std::uint64_t hash = xxh3(as_bytes(file));
    file.resize(file.size() + kHashBytes);
    store_be(reinterpret_cast<std::byte*>(file.data()) + file.size() - kHashBytes, hash);
    return write_file_atomically(files, store / kName, as_bytes(file));
}

bool PlantedMark::is_unlisted(const wire::Record& record, LogOffset at) const {
    if (at >= until()) {
        return false;
    }
    const auto topic = lives_from_.find(record.topic);
    if (topic == lives_from_.end()) {
        return true;
    }
    const auto queue = topic->second.find(record.queue_id);
    return queue == topic->second.end() || at.value < queue->second;
}

}  // namespace gantry::storage

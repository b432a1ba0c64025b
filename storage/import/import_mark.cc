// SPDX-License-Identifier: Apache-2.0
#include "storage/import/import_mark.h"

#include "common/bytes.h"
#include "common/checksum.h"

#include <cstddef>

namespace gantry::storage {
namespace {

constexpr std::uint32_t kMagic = 0x47494D50U;  // GIMP
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kHashBytes = 8;
constexpr std::uint64_t kFileBytesMax = std::uint64_t{1} << 30U;
constexpr const char* kName = "imported";

Result<wire::ImportedLog> parse(Bytes file) {
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
    wire::ImportedLog log;
    if (!log.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
        return Error{Errc::kCorrupt, "it does not parse"};
    }
    return log;
}

}  // namespace

bool is_kept_from_queues(std::int32_t sys_flag) noexcept {
    const std::int32_t kind = sys_flag & wire::sys_flag::kTransactionMask;
    return kind == wire::sys_flag::kTransactionPrepared ||
           kind == wire::sys_flag::kTransactionRollback;
}

ImportMark::ImportMark(wire::ImportedLog log) : log_(std::move(log)) {
    for (const wire::ImportedQueue& queue : log_.queues()) {
        if (queue.livesfrom() > 0) {
            lives_from_[queue.topic()][queue.queueid()] = queue.livesfrom();
        }
    }
}

Result<std::optional<ImportMark>> ImportMark::load(FileSystem& files,
                                                   const std::filesystem::path& store) {
    if (!files.exists(store / kName)) {
        return std::optional<ImportMark>();
    }
    GANTRY_ASSIGN_OR_RETURN(const std::string file, read_file(files, store / kName, kFileBytesMax));
    Result<wire::ImportedLog> log = parse(as_bytes(file));
    if (!log) {
        return Error{log.error().code, (store / kName).string() + ": " + log.error().detail};
    }
    return std::optional<ImportMark>(ImportMark(std::move(log).value()));
}

Status ImportMark::save(FileSystem& files, const std::filesystem::path& store) const {
    std::string file(kHeaderBytes, '\0');
    auto* const header = reinterpret_cast<std::byte*>(file.data());
    store_be(header, kMagic);
    store_be(header + 4, kVersion);
    if (!log_.AppendToString(&file) || file.size() + kHashBytes > kFileBytesMax) {
        return Error{Errc::kRefused,
                     (store / kName).string() + " of " + std::to_string(log_.ByteSizeLong()) +
                         " B > " + std::to_string(kFileBytesMax) + " B"};
    }
    const std::uint64_t hash = xxh3(as_bytes(file));
    file.resize(file.size() + kHashBytes);
    store_be(reinterpret_cast<std::byte*>(file.data()) + file.size() - kHashBytes, hash);
    return write_file_atomically(files, store / kName, as_bytes(file));
}

bool ImportMark::is_unlisted(const wire::Record& record, LogOffset at) const {
    if (is_kept_from_queues(record.sys_flag)) {
        return true;
    }
    const auto topic = lives_from_.find(record.topic);
    if (topic == lives_from_.end()) {
        return false;
    }
    const auto queue = topic->second.find(record.queue_id);
    return queue != topic->second.end() && at.value < queue->second;
}

}  // namespace gantry::storage

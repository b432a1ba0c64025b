// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/storage_id.h"

#include "common/bytes.h"
#include "common/checksum.h"
#include "common/log.h"
#include "common/random.h"
#include "storage/check/closed_store.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

constexpr std::string_view kMagic = "GANTRYRI";
constexpr std::size_t kIdAt = 8;
constexpr std::size_t kEpochAt = 16;
constexpr std::size_t kLengthAt = 24;
constexpr std::size_t kBootAt = 28;
constexpr std::size_t kSumBytes = 8;
constexpr std::size_t kBootBytesMax = 256;
constexpr std::uint64_t kFileBytesMax = 4'096;

struct Stored {
    std::uint64_t id = 0;
    std::int64_t promised_epoch = 0;
    std::string boot_id;
};

/// Nothing when it is not whole.
std::optional<Stored> parse(Bytes file) {
    if (file.size() < kBootAt + kSumBytes || as_text(file.first(kMagic.size())) != kMagic) {
        return std::nullopt;
    }
    const Bytes summed = file.first(file.size() - kSumBytes);
    const auto length = load_be<std::uint32_t>(file.data() + kLengthAt);
    if (load_be<std::uint64_t>(file.data() + summed.size()) != xxh3(summed) ||
        kBootAt + length != summed.size()) {
        return std::nullopt;
    }
    return Stored{load_be<std::uint64_t>(file.data() + kIdAt),
                  load_be<std::int64_t>(file.data() + kEpochAt),
                  std::string(as_text(summed.subspan(kBootAt)))};
}

std::uint64_t new_id() noexcept {
    return std::max<std::uint64_t>(random_seed(), 1);
}

}  // namespace

StorageIdentity::StorageIdentity(FileSystem& files, StoreOptions options) noexcept
    : files_(&files), path_(std::move(options.directory) / "replica" / "identity") {}

Result<StorageIdentity> StorageIdentity::open(FileSystem& files,
                                              const StoreOptions& options,
                                              const std::string& boot_id) {
    StorageIdentity identity(files, options);
    identity.boot_id_ = boot_id.substr(0, kBootBytesMax);
    GANTRY_TRY(make_directory(files, identity.path_.parent_path()));
    const bool had_file = files.exists(identity.path_);
    std::optional<Stored> stored;
    if (had_file) {
        GANTRY_ASSIGN_OR_RETURN(const std::string file,
                                read_file(files, identity.path_, kFileBytesMax));
        stored = parse(as_bytes(file));
    }
    identity.promised_epoch_ = stored ? stored->promised_epoch : 0;
    const bool was_stopped = !files.exists(options.directory / "abort");
    const bool may_have_lost = stored && options.flush == FlushMode::kAsync && !was_stopped &&
                               stored->boot_id != identity.boot_id_;
    if (stored && !may_have_lost) {
        identity.id_ = stored->id;
        return stored->boot_id == identity.boot_id_ ? Result<StorageIdentity>(std::move(identity))
                                                    : saved(std::move(identity));
    }
    identity.id_ = new_id();
    identity.was_renewed_ = had_file;
    if (had_file) {
        kLog.warn("the storage id is new: this copy counts as another one",
                  {{"file", identity.path_.string()},
                   {"reason",
                    stored ? "the machine stopped without a clean stop of the broker, which does "
                             "not sync what it acknowledges"
                           : "the file is damaged"}});
    }
    return saved(std::move(identity));
}

Result<StorageIdentity> StorageIdentity::saved(StorageIdentity identity) {
    GANTRY_TRY(identity.save());
    return identity;
}

Status StorageIdentity::promise(std::int64_t epoch) {
    if (epoch <= promised_epoch_) {
        return ok();
    }
    const std::int64_t before = std::exchange(promised_epoch_, epoch);
    Status done = save();
    if (!done) {
        promised_epoch_ = before;
    }
    return done;
}

Status StorageIdentity::save() const {
    std::vector<std::byte> bytes(kBootAt + boot_id_.size() + kSumBytes);
    std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
    store_be<std::uint64_t>(bytes.data() + kIdAt, id_);
    store_be<std::int64_t>(bytes.data() + kEpochAt, promised_epoch_);
    store_be<std::uint32_t>(bytes.data() + kLengthAt, static_cast<std::uint32_t>(boot_id_.size()));
    std::memcpy(bytes.data() + kBootAt, boot_id_.data(), boot_id_.size());
    const std::size_t sum_at = bytes.size() - kSumBytes;
    store_be<std::uint64_t>(bytes.data() + sum_at, xxh3(Bytes(bytes).first(sum_at)));
    return write_file_atomically(*files_, path_, bytes);
}

}  // namespace gantry::storage

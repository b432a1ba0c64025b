// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/result.h"
#include "storage/types.h"

#include <cstdint>
#include <filesystem>
#include <string>

namespace gantry::storage {

/// Which incarnation of a store's files this is, and the newest epoch its owner has promised to
/// obey. A member of an in-sync set is one by its storage id, so a store that may have lost what it
/// acknowledged must not keep it: the id is new when the directory is, and, without sync flush,
/// when the stop before was no clean one and the machine has started since.
///
///   replica/identity:  replaced atomically, durable; layout in docs/formats/replica.md
///
/// Threads   one at a time. Blocks on the disk. Lifetime: `files` outlives it.
class StorageIdentity {
public:
    /// Loads it or makes a new one; call before the store is opened. `boot_id` names the machine's
    /// run (/proc/sys/kernel/random/boot_id). kCorrupt: the file is damaged: a new id is taken, and
    /// told by was_renewed; never an error.
    static Result<StorageIdentity> open(FileSystem& files,
                                        const StoreOptions& options,
                                        const std::string& boot_id);

    std::uint64_t id() const noexcept { return id_; }

    bool was_renewed() const noexcept { return was_renewed_; }

    std::int64_t promised_epoch() const noexcept { return promised_epoch_; }

    /// Frames and requests of lower epochs are refused from now on; durable when it returns. Lower
    /// than before: changes nothing.
    Status promise(std::int64_t epoch);

private:
    StorageIdentity(FileSystem& files, StoreOptions options) noexcept;
    Status save() const;
    static Result<StorageIdentity> saved(StorageIdentity identity);

    FileSystem* files_;
    std::filesystem::path path_;
    std::string boot_id_;
    std::uint64_t id_ = 0;
    std::int64_t promised_epoch_ = 0;
    bool was_renewed_ = false;
};

}  // namespace gantry::storage

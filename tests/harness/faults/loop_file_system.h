// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace gantry::harness {

/// An ext4 file system on a loop device whose bytes lie on a tmpfs. With less room there than the
/// file system believes to have, writing back fails as it does on a broken disk.
///
/// Needs root and a free loop device: kDenied without. Seen by this thread and its children only.
class LoopFileSystem {
    struct Private {};

public:
    /// What it looks like.
    struct Options {
        std::uint64_t disk_bytes = 64U << 20U;
        std::uint64_t backing_bytes = 0;     ///< room on the tmpfs; 0: enough
        std::vector<std::string> make = {};  ///< further arguments of mkfs.ext4
    };

    /// Makes and mounts it below `directory`, which is made.
    static Result<std::unique_ptr<LoopFileSystem>> mount(const std::filesystem::path& directory,
                                                         const Options& options);

    /// For mount only.
    LoopFileSystem(Private, std::filesystem::path directory);
    ~LoopFileSystem();
    LoopFileSystem(const LoopFileSystem&) = delete;
    LoopFileSystem& operator=(const LoopFileSystem&) = delete;

    /// Gives the tmpfs that many bytes.
    Status give_backing(std::uint64_t bytes);
    /// Unmounts and mounts again: what is read then comes from the device. Nobody uses it.
    Status remount();

    std::filesystem::path path() const { return directory_ / "disk"; }

private:
    Status mount_disk();
    Status unmount_disk();
    Status limit_requests();

    std::filesystem::path directory_;
};

}  // namespace gantry::harness

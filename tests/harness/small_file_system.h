// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>
#include <filesystem>
#include <memory>

namespace gantry::harness {

/// Makes the mounts of this thread and of the processes it starts their own from here on. kDenied
/// without the right to.
Status leave_mounts_of_others();

/// A file system in memory that can be full or read-only, mounted on a directory of its own for
/// this thread and the processes it starts; nobody else sees it, and it goes with them.
///
/// Needs the right to mount: that of root, or of user namespaces, which the system gives to
/// processes with one thread only. kDenied without; a test that needs it fails then.
class SmallFileSystem {
    struct Private {};

public:
    /// Mounts `bytes` of room on `directory`, which is made.
    static Result<std::unique_ptr<SmallFileSystem>> mount(const std::filesystem::path& directory,
                                                          std::uint64_t bytes);

    /// For mount only.
    SmallFileSystem(Private, std::filesystem::path directory);
    ~SmallFileSystem();
    SmallFileSystem(const SmallFileSystem&) = delete;
    SmallFileSystem& operator=(const SmallFileSystem&) = delete;

    /// Bytes that are free now.
    std::uint64_t free_bytes() const;
    /// Takes all room but `bytes`, in a file called "ballast"; kIo when there is no more than that.
    Status leave_free(std::uint64_t bytes);
    /// Gives back what leave_free took.
    void give_room();
    /// No more is written from now on.
    Status make_read_only();

    const std::filesystem::path& path() const noexcept { return directory_; }

private:
    std::filesystem::path directory_;
};

}  // namespace gantry::harness

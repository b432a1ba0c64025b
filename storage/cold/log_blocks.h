// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/result.h"
#include "storage/log/segment.h"

#include <atomic>
#include <cstdint>

namespace gantry::storage {

/// Reads blocks of segment files so that they do not stay in the page cache, which belongs to the
/// tail of the log: past it where the file system can do that (O_DIRECT), else through it, with the
/// pages dropped at once.
///
/// Threads   any. All calls block on the disk.
/// Errors    kIo: what the disk says.
class LogBlocks {
public:
    explicit LogBlocks(bool is_direct) noexcept : is_direct_(is_direct) {}

    /// Fills `into`, which lies at a page address and is whole pages long, from `offset`, which is
    /// a multiple of the page size; shorter at the end of the file.
    Result<std::size_t> read(const Segment& segment, std::uint64_t offset, MutableBytes into);

private:
    std::atomic<bool> is_direct_;
};

/// The open file once more, for reads past the page cache (O_DIRECT). -1 with errno: the file
/// system cannot do that (EINVAL), or no descriptor is left. The caller closes it.
int open_direct(int fd) noexcept;

/// Fills `into` from a descriptor that open_direct gave; addresses and sizes as for LogBlocks. The
/// bytes read, fewer at the end of the file; -1 with errno.
std::int64_t read_direct(int fd, std::uint64_t offset, MutableBytes into) noexcept;

}  // namespace gantry::storage

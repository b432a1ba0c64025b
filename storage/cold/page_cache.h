// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace gantry::storage {

/// Whether all of [offset, offset + length) of a file is in the page cache, so that reading it does
/// not wait for the disk. Asks the kernel: cachestat (Linux 6.5; 0.4 us and 12 ns a page), else a
/// read of a byte of each page that refuses to wait. In doubt not. Does not block.
bool is_cached(int fd, std::uint64_t offset, std::uint64_t length) noexcept;

/// Units of a consume queue that a read looks for in memory, and brings in, at once.
inline constexpr std::size_t kUnitsAhead = 4'096;

/// Has the mapped pages read from the disk (MADV_POPULATE_READ, Linux 5.14; else nothing). Blocks.
/// What the disk does not give stays out, and is a fault for who touches it.
void bring_in(const void* memory, std::uint64_t length) noexcept;

/// Whether the mapped memory is backed by pages that are there (mincore). Does not block.
bool is_resident(const void* memory, std::uint64_t length) noexcept;

}  // namespace gantry::storage

// SPDX-License-Identifier: Apache-2.0
#include "storage/cold/page_cache.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

namespace gantry::storage {
namespace {

constexpr std::uint64_t kPageBytes = 4'096;

/// linux/mman.h of 6.5; Debian 12 has older headers and may have an older kernel.
struct CacheStatRange {
    std::uint64_t offset;
    std::uint64_t length;
};

struct CacheStat {
    std::uint64_t cached_pages;
    std::uint64_t dirty_pages;
    std::uint64_t writeback_pages;
    std::uint64_t evicted_pages;
    std::uint64_t recently_evicted_pages;
};

constexpr long kCacheStatCall = 451;

/// One byte of every page, without waiting.
bool can_be_read_now(int fd, std::uint64_t offset, std::uint64_t length) noexcept {
    const std::uint64_t end = offset + length;
    for (std::uint64_t at = offset; at < end; at = (at / kPageBytes + 1) * kPageBytes) {
        std::byte byte{};
        const iovec into{.iov_base = &byte, .iov_len = 1};
        if (::preadv2(fd, &into, 1, static_cast<off_t>(at), RWF_NOWAIT) != 1) {
            return false;
        }
    }
    return true;
}

}  // namespace

bool is_cached(int fd, std::uint64_t offset, std::uint64_t length) noexcept {
    if (length == 0) {
        return true;
    }
    CacheStatRange range{offset, length};
    CacheStat stat{};
    if (::syscall(kCacheStatCall, fd, &range, &stat, 0U) == 0) {
        const std::uint64_t last = (offset + length - 1) / kPageBytes;
        return stat.cached_pages > last - offset / kPageBytes;
    }
    return can_be_read_now(fd, offset, length);
}

void bring_in(const void* memory, std::uint64_t length) noexcept {
    constexpr int kPopulateRead = 22;
    const auto begin = reinterpret_cast<std::uintptr_t>(memory);
    const std::uintptr_t page = begin / kPageBytes * kPageBytes;
    static_cast<void>(
        ::madvise(reinterpret_cast<void*>(page), begin + length - page, kPopulateRead));
}

bool is_resident(const void* memory, std::uint64_t length) noexcept {
    const auto begin = reinterpret_cast<std::uintptr_t>(memory);
    std::uintptr_t at = begin / kPageBytes * kPageBytes;
    const std::uintptr_t end = begin + length;
    std::array<unsigned char, 256> pages;
    while (at < end) {
        const std::size_t step = std::min<std::size_t>(end - at, pages.size() * kPageBytes);
        const std::size_t count = (step + kPageBytes - 1) / kPageBytes;
        if (::mincore(reinterpret_cast<void*>(at), step, pages.data()) != 0 ||
            !std::all_of(pages.begin(),
                         pages.begin() + static_cast<std::ptrdiff_t>(count),
                         [](unsigned char page) { return (page & 1U) != 0; })) {
            return false;
        }
        at += count * kPageBytes;
    }
    return true;
}

}  // namespace gantry::storage

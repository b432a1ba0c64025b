// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/spare_memory.h"

#include <algorithm>
#include <cstdio>
#include <malloc.h>
#include <memory>
#include <unistd.h>

namespace gantry::net {
namespace {

/// Pages of no file that the process has in memory; 0: the system does not say.
std::size_t resident_bytes() noexcept {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "re"),
                                                               &std::fclose);
    unsigned long resident = 0;
    unsigned long of_files = 0;
    if (file == nullptr || std::fscanf(file.get(), "%*u %lu %lu", &resident, &of_files) != 2 ||
        resident < of_files) {
        return 0;
    }
    return (resident - of_files) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::size_t spare_bytes() noexcept {
    const struct mallinfo2 heap = ::mallinfo2();
    const std::size_t in_use = heap.uordblks + heap.hblkhd;
    const std::size_t resident = resident_bytes();
    return resident > in_use ? resident - in_use : 0;
}

}  // namespace

std::size_t SpareMemory::look() noexcept {
    const std::size_t before = spare_bytes();
    tolerated_ = std::min(tolerated_, before + kept_);
    if (before <= tolerated_) {
        return 0;
    }
    ::malloc_trim(0);
    const std::size_t after = spare_bytes();
    tolerated_ = after + kept_;
    return before > after ? before - after : 0;
}

}  // namespace gantry::net

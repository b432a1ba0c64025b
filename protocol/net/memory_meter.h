// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace gantry::net {

/// Bytes that the connections of a server hold: requests that are being read, and answers that
/// wait to be written, but for those that lie in files. Counted after each pass of a connection.
///
/// Threads   any.
class MemoryMeter {
public:
    /// 0: no limit.
    explicit MemoryMeter(std::int64_t bytes_max) : bytes_max_(bytes_max) {}

    void add(std::int64_t bytes) noexcept { used_.fetch_add(bytes, std::memory_order_relaxed); }

    std::int64_t used() const noexcept { return used_.load(std::memory_order_relaxed); }

    std::int64_t bytes_max() const noexcept { return bytes_max_; }

    /// Whether there is no room beside `others` bytes held elsewhere.
    bool is_full(std::int64_t others = 0) const noexcept {
        return bytes_max_ != 0 && used() + others >= bytes_max_;
    }

private:
    std::atomic<std::int64_t> used_{0};
    const std::int64_t bytes_max_;
};

}  // namespace gantry::net

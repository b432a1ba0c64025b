// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>

namespace gantry::storage {

/// Numbers of one directory of the log.
struct VolumeNumbers {
    std::atomic<std::uint64_t> free_bytes{0};
    std::atomic<std::uint64_t> log_bytes{0};
};

/// Numbers of the log that gauges read; shared with the metric registry, which may outlive it.
struct LogNumbers {
    std::atomic<std::int64_t> first{0};
    std::atomic<std::int64_t> flushed{0};
    std::atomic<std::int64_t> appended{0};
    std::atomic<std::uint64_t> free_bytes{0};
    std::atomic<std::uint64_t> prepared_segments{0};
    std::atomic<bool> is_writable{true};
    std::deque<VolumeNumbers> volumes;  ///< as many as directories, from open on
};

}  // namespace gantry::storage

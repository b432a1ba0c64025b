// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace gantry::bench {

/// Counts latencies in log-linear buckets: 64 steps per power of two, so any value is kept within
/// 1.6 %, and the whole range of a u64 takes a fixed 29 KiB. Units: whatever is recorded, here
/// nanoseconds. Threads: one; histograms of several threads are merged.
class Histogram {
public:
    /// Counts one value, in constant time and without allocation.
    void record(std::uint64_t value) noexcept {
        ++counts_[index_of(value)];
        ++total_;
        max_ = value > max_ ? value : max_;
    }

    /// Adds the values of `other`, as if they had been recorded here.
    void merge(const Histogram& other) noexcept;

    /// Upper bound of the bucket that holds the given share (0..1) of the values; 0 when empty.
    std::uint64_t quantile(double share) const noexcept;

    std::uint64_t max() const noexcept { return max_; }

    std::uint64_t total() const noexcept { return total_; }

private:
    static constexpr unsigned kStepBits = 6;
    static constexpr std::size_t kBuckets = (64 - kStepBits + 1) << kStepBits;

    static std::size_t index_of(std::uint64_t value) noexcept {
        if (value < (std::uint64_t{1} << kStepBits)) {
            return static_cast<std::size_t>(value);
        }
        const auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kStepBits;
        return (std::size_t{shift} << kStepBits) + static_cast<std::size_t>(value >> shift);
    }

    static std::uint64_t upper_bound_of(std::size_t index) noexcept;

    std::array<std::uint64_t, kBuckets> counts_{};
    std::uint64_t total_ = 0;
    std::uint64_t max_ = 0;
};

}  // namespace gantry::bench

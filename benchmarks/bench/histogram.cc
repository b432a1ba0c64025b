// SPDX-License-Identifier: Apache-2.0
#include "bench/histogram.h"

#include <algorithm>

namespace gantry::bench {

void Histogram::merge(const Histogram& other) noexcept {
    for (std::size_t i = 0; i < kBuckets; ++i) {
        counts_[i] += other.counts_[i];
    }
    total_ += other.total_;
    max_ = std::max(max_, other.max_);
}

std::uint64_t Histogram::upper_bound_of(std::size_t index) noexcept {
    const std::size_t steps = std::size_t{1} << kStepBits;
    if (index < 2 * steps) {
        return index;
    }
    const std::size_t shift = (index >> kStepBits) - 1;
    const std::uint64_t step = index - (shift << kStepBits);
    return ((step + 1) << shift) - 1;
}

std::uint64_t Histogram::quantile(double share) const noexcept {
    if (total_ == 0) {
        return 0;
    }
    const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(total_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
        seen += counts_[i];
        if (seen > wanted || seen == total_) {
            return std::min(upper_bound_of(i), max_);
        }
    }
    return max_;
}

}  // namespace gantry::bench

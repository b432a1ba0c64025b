// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace gantry {

/// Small fast generator (SplitMix64) for choices that need no secrecy: queue picks, jitter, tests.
/// The same seed gives the same sequence on every machine. Not thread-safe.
class Random {
public:
    explicit Random(std::uint64_t seed) noexcept : state_(seed) {}

    /// Uniform over all values of 64 bits.
    std::uint64_t next() noexcept {
        state_ += 0x9E3779B97F4A7C15ULL;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
        z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
        return z ^ (z >> 31U);
    }

    /// Uniform in [0, bound); 0 when bound is 0.
    std::uint64_t below(std::uint64_t bound) noexcept {
        __extension__ using Wide = unsigned __int128;
        return static_cast<std::uint64_t>((static_cast<Wide>(next()) * bound) >> 64U);
    }

private:
    std::uint64_t state_;
};

/// A seed from the operating system.
std::uint64_t random_seed() noexcept;

}  // namespace gantry
